"""``ragvlm eval`` as a user types it, and runs on real pictures with the embedded encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaltools import kept, rows_of, squares, suite_file
from test_cli import refuse
from test_cli import run as typed
from tiny import ColourEncoder
from typer.testing import CliRunner

import ragvlm as rv
from ragvlm.cli import app

ROOT = Path(__file__).resolve().parents[2]


def test_the_command_prints_figures_and_leaves_a_run(tmp_path: Path) -> None:
    squares(tmp_path / "corpus", 8)
    suite = suite_file(tmp_path, "describe", top='measures = ["ROUGE-L"]')
    out = tmp_path / "run"
    options = ("--out", out, "--limit", 4, "--controls", "--resamples", 50)
    done = typed("eval", suite, "--generator", "nearest", *options)
    head, *lines = done.stdout.splitlines()
    assert head == "describe-squares: 4 items of 3 subjects"
    assert [line.split("\t")[0] for line in lines] == [
        *("nearest", "consensus", "nearest, no retrieval", "random caption", "oracle neighbour")
    ]
    assert done.stderr == f"report: {out / 'report.html'}\n"
    before = kept(out)
    # a finished run needs no model: the same process does
    asked = CliRunner().invoke(app, ["eval", str(suite), "-g", "nearest", *map(str, options), "--json"])
    again = json.loads(asked.stdout)
    assert again["folder"] == str(out)
    assert again["systems"]["nearest"]["ROUGE-L"]["n"] == 4
    assert kept(out) == before
    other = CliRunner().invoke(app, ["eval", str(suite), *map(str, options)])
    assert str(other.exception).startswith(f'{out} holds a run with systems ["nearest"], not ["consensus"]')


def test_what_can_not_be_is_one_line(tmp_path: Path) -> None:
    assert "can't be read" in refuse("eval", tmp_path / "none.toml")
    (tmp_path / "wrong.toml").write_text('name = "x"\ntask = "guess"\n')
    assert "task: is 'guess'" in refuse("eval", tmp_path / "wrong.toml")


@pytest.fixture
def data(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGVLM_DATA", str(shared_data))


def run(name: str, out: Path, systems: Any = (), **options: Any) -> rv.Results:
    return rv.evaluate(systems, suite=ROOT / "eval" / f"{name}.toml", out=out, resamples=100, **options)


@pytest.mark.usefixtures("data")
def test_cell_assays_leave_one_out_and_without_their_doubles(tmp_path: Path) -> None:
    results = run("cell-assays", tmp_path / "run", controls=True)
    leaks = json.loads((tmp_path / "run" / "leakage.json").read_text())
    doubles = [name for name in leaks["excluded"] if "PercentPositive" in name]
    assert len(doubles) == 2
    assert {leak["kind"] for leak in leaks["leaks"] if leak["id"] in doubles} == {"exact"}
    figure = {name: of["ROUGE-L"]["value"] for name, of in results.metrics["systems"].items()}
    # what is retrieved has to do with the picture, and the score with what is retrieved
    assert figure["random caption"] < figure["nearest"] <= figure["oracle neighbour"]
    assert figure["nearest, other neighbours"] < figure["nearest"]
    for row in rows_of(tmp_path / "run" / "neighbours.jsonl"):
        assert row["id"] not in {hit[0] for hit in row["hits"]}


@pytest.mark.usefixtures("data")
def test_questions_about_real_pictures(tmp_path: Path) -> None:
    # by mean colours: an embedded index of all these takes half a minute
    index = run("vqa-rad", tmp_path / "run", limit=4, encoder=ColourEncoder()).metrics
    asked = {
        "consensus",
        "consensus, no retrieval",
        "majority answer",
        "nearest answer",
        "nearest answer, question alone",
    }
    assert set(index["systems"]) == asked
    figures = next(iter(index["systems"]["majority answer"].values()))
    assert 0 < figures["value"] < 1
    assert index["clusters"] == 4 < index["n"]


@pytest.mark.usefixtures("data")
def test_real_smears_are_described_beside_their_baselines(tmp_path: Path) -> None:
    results = run("blood-cells", tmp_path / "run", "nearest", limit=6, encoder=ColourEncoder())
    # two of the six show the white cell of a picture in the index, a little to one side
    leaks = json.loads((tmp_path / "run" / "leakage.json").read_text())
    assert results.metrics["n"] == 6 - len(leaks["excluded"]) == 4
    assert all(leak["how"].startswith("the middle of the") for leak in leaks["leaks"])
    figure = {name: of["ROUGE-L"]["value"] for name, of in results.metrics["systems"].items()}
    assert figure["nearest, no retrieval"] == 0 < figure["nearest"] <= figure["oracle neighbour"] <= 1
