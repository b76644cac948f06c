"""Runs of a suite that can be checked by eye: what they leave, twice the same, and what they refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from evaltools import kept, rows_of, squares, suite_file, write_rows
from tiny import ColourEncoder, paint

import ragvlm as rv
from ragvlm.errors import InputError, StoreError
from ragvlm.statistics import holm

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    squares(tmp_path / "corpus")
    return suite_file(tmp_path, "describe", top='measures = ["BLEU-1", "ROUGE-L"]')


def run(suite: Path, out: str, systems: Any = (), *, page: bool = False, **options: Any) -> rv.Results:
    """A run; its ``page`` takes longer than all the rest."""
    encoder = options.pop("encoder", None) or ColourEncoder()
    with nullcontext() if page else patch("ragvlm.evaluation.run.write_report"):
        return rv.evaluate(systems, suite=suite, out=suite.parent / out, encoder=encoder, resamples=50, **options)


def said(results: rv.Results, system: str) -> dict[str, Any]:
    rows = rows_of(results.folder / "predictions.jsonl")
    return {row["id"]: row for row in rows if row["system"] == system}


def test_all_mandatory_baselines_answer_the_same_items(suite: Path) -> None:
    results = run(suite, "run")
    wanted = ["consensus", "nearest", "consensus, no retrieval", "random caption", "oracle neighbour"]
    assert list(results.metrics["systems"]) == wanted
    ids = [f"a{i:02d}" for i in range(16)]
    assert all(list(said(results, system)) == ids for system in wanted)
    # a00 is red; its own subject's a01 is hidden, and the nearest red square is the next darker one
    assert said(results, "nearest")["a00"]["prediction"] == "a red square, shade 0"
    assert said(results, "nearest")["a00"]["evidence"][0]["record_ids"][0] == "a04"
    assert {row["prediction"] for row in said(results, "consensus, no retrieval").values()} == {""}
    assert "not possible" in results.metrics["about"]["consensus, no retrieval"]["note"]
    figure = {name: of["ROUGE-L"]["value"] for name, of in results.metrics["systems"].items()}
    assert figure["consensus, no retrieval"] == 0 < figure["random caption"] < figure["nearest"]
    assert figure["nearest"] <= figure["oracle neighbour"]
    assert all(row["record_id"] != f"a{int(i[1:]) ^ 1:02d}" for i, row in said(results, "random caption").items())


def test_a_figure_is_the_mean_of_the_scores_and_lies_in_its_interval(suite: Path) -> None:
    results = run(suite, "run")
    scores = [r["scores"]["ROUGE-L"] for r in rows_of(results.folder / "scores.jsonl") if r["system"] == "nearest"]
    figure = results.metrics["systems"]["nearest"]["ROUGE-L"]
    assert figure["value"] == pytest.approx(sum(scores) / 16, abs=1e-6)
    assert figure["low"] <= figure["value"] <= figure["high"]
    assert (figure["n"], figure["clusters"]) == (16, 8)
    rows = results.metrics["differences"]
    chosen = next(r for r in rows if r["b"] == "random caption" and r["measure"] == "ROUGE-L")
    other = results.metrics["systems"]["random caption"]["ROUGE-L"]["value"]
    consensus = results.metrics["systems"]["consensus"]["ROUGE-L"]["value"]
    assert chosen["difference"] == pytest.approx(consensus - other, abs=2e-6)
    of_measure = [row for row in rows if row["measure"] == "ROUGE-L"]
    assert [row["p_holm"] for row in of_measure] == pytest.approx(holm([row["p"] for row in of_measure]), abs=1e-5)


def test_twice_the_same_files_and_a_finished_run_asks_nothing_again(suite: Path) -> None:
    first = run(suite, "one", ("consensus", "nearest"), controls=True, page=True)
    second = run(suite, "two", ("consensus", "nearest"), controls=True, page=True)
    assert kept(first.folder) == kept(second.folder)
    assert {"suite.toml", "config.json", "predictions.jsonl", "scores.jsonl", "metrics.json", "leakage.json",
            "neighbours.jsonl", "references.jsonl", "report.html"} == set(kept(first.folder))  # fmt: skip
    encoder, before = ColourEncoder(), kept(first.folder)
    run(suite, "one", ("consensus", "nearest"), controls=True, encoder=encoder)
    assert kept(first.folder) == before
    assert encoder.images == 0


SCRIPT = """
import sys
import ragvlm as rv
from tiny import ColourEncoder
rv.evaluate("consensus", suite=sys.argv[1], out=sys.argv[2], encoder=ColourEncoder(delay=0.02), resamples=50,
            controls=True)
"""


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(suite: Path) -> None:
    whole = run(suite, "whole", "consensus", controls=True)
    out = suite.parent / "killed"
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    for file in ("index", "neighbours.jsonl", "predictions.jsonl"):
        child = subprocess.Popen([sys.executable, "-c", SCRIPT, suite, out], env=env)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and child.poll() is None:
            if (out / file).exists() and (file == "index" or (out / file).stat().st_size > 300):
                break
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert not (out / "metrics.json").exists()
        if file != "index":
            with (out / file).open("ab") as stream:  # as a kill in the middle of a write leaves it
                stream.write(b'{"id": "a0')
    resumed = run(suite, "killed", "consensus", controls=True)
    assert kept(resumed.folder) == kept(whole.folder)


def test_a_copy_in_the_index_is_listed_and_excluded_or_kept_loudly(suite: Path) -> None:
    rows = squares(suite.parent / "corpus")
    (suite.parent / "corpus" / "copy.png").write_bytes((suite.parent / "corpus" / "p05.png").read_bytes())
    copy = rows[5] | {"file_name": "copy.png", "id": "copy", "subject_id": "somebody else"}
    write_rows(suite.parent / "corpus", [*rows, copy])
    results = run(suite, "run")
    report = json.loads((results.folder / "leakage.json").read_text())
    assert report["excluded"] == ["a05", "copy"]
    assert {"id": "copy", "reference_id": "a05", "kind": "exact"}.items() <= report["leaks"][-1].items()
    assert not {"a05", "copy"} & set(said(results, "consensus"))
    assert results.warning == ""
    loud = run(suite, "kept", keep_leaks=True, page=True)
    assert {"a05", "copy"} <= set(said(loud, "consensus"))
    assert loud.warning.startswith("LEAKAGE: 2 of 17 queries")
    assert "LEAKAGE" in str(loud) and "LEAKAGE" in (loud.folder / "report.html").read_text()


def test_a_folder_with_another_run_is_refused_in_one_line(suite: Path) -> None:
    run(suite, "run")
    with pytest.raises(
        InputError, match=r"holds a run with systems \[.consensus.\], not \[.nearest.\]: choose another"
    ):
        run(suite, "run", "nearest")
    with pytest.raises(InputError, match="with seed 0, not 1"):
        run(suite, "run", seed=1)
    suite.write_text(suite.read_text() + "\n# changed\n")
    with pytest.raises(InputError, match="run of another suite") as error:
        run(suite, "run")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"holds 'corpus', no run|holds 'describe.toml', no run"):
        rv.evaluate(suite=suite, out=suite.parent, encoder=ColourEncoder())


@pytest.mark.parametrize(
    ("options", "says"),
    [({"limit": 0}, "limit is 0"), ({"seed": -1}, "seed is -1"), ({"systems": "gpt"}, "unknown generator 'gpt'")],
)
def test_unusable_options_are_one_line(suite: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        run(suite, "run", **options)


def test_a_run_that_predicted_nothing_may_be_asked_for_anew(suite: Path) -> None:
    (suite.parent / "corpus" / "p03.png").rename(suite.parent / "p03.png")
    (suite.parent / "corpus" / "p03.png").write_bytes(b"no picture")
    with pytest.raises(rv.RagvlmError, match=r"p03\.png"):
        run(suite, "run")
    (suite.parent / "p03.png").replace(suite.parent / "corpus" / "p03.png")
    anew = run(suite, "run", "nearest", seed=3)
    assert kept(anew.folder) == kept(run(suite, "other", "nearest", seed=3).folder)


def test_a_line_that_was_changed_is_refused(suite: Path) -> None:
    path = run(suite, "run").folder / "predictions.jsonl"
    path.write_text(path.read_text().replace('"id": "a03"', '"id": "b03"', 1))
    with pytest.raises(StoreError, match=r"line 4: is of .*b03.*not of .*a03"):
        run(suite, "run")


def test_controls_show_what_rests_on_the_picture_and_what_on_the_retrieval(suite: Path) -> None:
    results = run(suite, "run", controls=True)
    rows = [r for r in results.metrics["differences"] if r["a"] == "consensus" and r["measure"] == "ROUGE-L"]
    shown = {row["b"]: (row["shows"], row["difference"]) for row in rows if row["shows"] in ("picture", "retrieval")}
    assert {name: shows for name, (shows, _) in shown.items()} == {
        "consensus, blank picture": "picture",
        "consensus, shuffled picture": "picture",
        "consensus, random neighbours": "retrieval",
        "consensus, other neighbours": "retrieval",
    }
    assert all(difference > 0.03 for _, difference in shown.values()), shown
    assert all(row["low"] <= row["difference"] <= row["high"] for row in rows if row["b"] in shown)
    # grey is what a picture of nothing looks like here
    blind = said(results, "consensus, blank picture")
    assert all(row["prediction"].startswith("a grey") for i, row in blind.items() if int(i[1:]) % 4 != 3)
    neighbours = {(r["picture"], r["id"]): r["hits"] for r in rows_of(results.folder / "neighbours.jsonl")}
    for (_, name), hits in neighbours.items():
        assert not {f"a{int(name[1:]):02d}", f"a{int(name[1:]) ^ 1:02d}"} & {hit[0] for hit in hits}


def test_a_describer_is_evaluated_with_its_own_index_and_options(suite: Path) -> None:
    built = run(suite, "run").folder / "index"
    index = rv.Index.open(built, encoder=ColourEncoder())
    describer = rv.Describer(index, "nearest", 2, alpha=0)
    results = rv.evaluate(describer, suite=suite, out=suite.parent / "own", resamples=50)
    assert not (results.folder / "index").exists()
    hits = [row["hits"] for row in rows_of(results.folder / "neighbours.jsonl")]
    assert {len(found) for found in hits} == {2}
    assert next(iter(results.metrics["systems"])) == "nearest"
    config = json.loads((results.folder / "config.json").read_text())
    assert config["given_index"] == index.fingerprint == config["index"]["fingerprint"]


def test_results_go_to_pandas_in_one_call(suite: Path) -> None:
    results = run(suite, "run")
    frame = results.to_pandas()
    assert list(frame.columns[:5]) == ["system", "role", "measure", "group", "value"]
    assert len(frame) == len(results.metrics["systems"]) * 2
    assert rv.Results.open(results.folder).metrics == results.metrics
    with pytest.raises(InputError, match="finish the run"):
        rv.Results.open(suite.parent)


def test_several_k_are_several_systems(suite: Path) -> None:
    suite.write_text(suite.read_text().replace("k = 3", "k = [1, 3]"))
    results = run(suite, "run", "consensus", limit=4)
    assert list(results.metrics["systems"])[:4] == ["consensus, k=1", "consensus, k=3", "nearest, k=1", "nearest, k=3"]
    assert results.metrics["n"] == 4
    one, three = said(results, "consensus, k=1"), said(results, "nearest, k=3")
    assert {i: row["prediction"] for i, row in one.items()} == {i: row["prediction"] for i, row in three.items()}


def test_a_picture_that_is_none_is_named(suite: Path) -> None:
    paint(suite.parent / "corpus" / "p03.png", "red")
    (suite.parent / "corpus" / "p03.png").write_bytes(b"no picture")
    with pytest.raises(rv.RagvlmError, match=r"p03\.png") as error:
        run(suite, "run")
    assert "\n" not in str(error.value)
