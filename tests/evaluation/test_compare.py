"""Folders of results against each other: by ragvlm, by hand, by another program."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaltools import rows_of, squares, suite_file
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import refuse
from test_cli import run as typed
from tiny import ColourEncoder
from typer.testing import CliRunner

import ragvlm as rv
from ragvlm.cli import app
from ragvlm.errors import InputError
from ragvlm.evaluation.compare import Comparison, compare

SIX = {"a": "s1", "b": "s1", "c": "s2", "d": "s3", "e": "s3", "f": "s4"}


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path.parent


def scored(folder: Path, scores: Mapping[str, float | None], name: str = "RadGraph") -> Path:
    rows = [{"id": i, "subject_id": SIX.get(i), "scores": {name: score}} for i, score in scores.items()]
    return jsonl(folder / "scores.jsonl", rows)


def answered(folder: Path, texts: Mapping[str, str], right: Mapping[str, str], **more: Any) -> Path:
    jsonl(folder / "predictions.jsonl", [{"id": i, "prediction": text} | more for i, text in texts.items()])
    return jsonl(folder / "references.jsonl", [{"id": i, "references": [text]} for i, text in right.items()])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    squares(folder / "corpus", 8)
    suite = suite_file(folder, "describe", top='measures = ["ROUGE-L", "BLEU-1", "unsupported sentences"]')
    return rv.evaluate(
        ["nearest", "consensus"], suite=suite, out=folder / "run", encoder=ColourEncoder(), resamples=200
    ).folder


def test_a_worked_example(tmp_path: Path) -> None:
    """Subjects' sums of a - b: s1 0.4 + 0.2, s2 0.3, s3 0.1 + 0.0, s4 0.2; mean 1.2 / 6 = 0.2.

    All are positive, so that of the 16 ways to swap only none and all reach it: p = 2 / 16. Drawn four times, the
    subject with the largest mean (s1 or s2: 0.3) gives 0.3 and s3 gives 0.05.
    """
    a = scored(tmp_path / "a", {"a": 0.9, "b": 0.7, "c": 0.8, "d": 0.6, "e": 0.5, "f": 0.7})
    b = scored(tmp_path / "b", {"f": 0.5, "e": 0.5, "d": 0.5, "c": 0.5, "b": 0.5, "a": 0.5})  # order has no part
    found = compare([a, b])
    (row,) = found.rows
    assert (found.n, found.clusters, found.left_out) == (6, 4, 0)
    assert (row.a, row.b, row.measure) == ("a: a", "b: b", "RadGraph")
    assert row.value_a.value == pytest.approx(4.2 / 6)
    assert row.value_b.value == pytest.approx(0.5)
    assert row.difference.value == pytest.approx(0.2)
    assert row.difference.exact
    assert row.difference.p == row.p_holm == 2 / 16
    assert 0.05 <= row.difference.low < 0.2 < row.difference.high <= 0.3 + 1e-12
    assert row.by_scores
    assert row.higher_is_better is None
    assert any("means of the items' own scores" in line and "RadGraph" in line for line in found.remarks)
    with pytest.raises(FrozenInstanceError):
        row.a = "c"  # type: ignore[misc]


def test_holm_runs_over_the_whole_table(tmp_path: Path) -> None:
    """p of one measure is 2 / 16, as above; of the other, where all are equal, 1. Two tests: 2 * 2 / 16, and 1."""
    better = dict(zip(SIX, (0.9, 0.7, 0.8, 0.6, 0.5, 0.7), strict=True))
    for name, scores in {"a": better, "b": dict.fromkeys(SIX, 0.5)}.items():
        rows = [{"id": i, "subject_id": SIX[i], "scores": {"X": scores[i], "Y": 1}} for i in SIX]
        jsonl(tmp_path / name / "scores.jsonl", rows)
    found = compare([tmp_path / "a", tmp_path / "b"])
    assert [(row.measure, row.difference.p, row.p_holm) for row in found.rows] == [("X", 1 / 8, 1 / 4), ("Y", 1.0, 1.0)]
    alone = compare([tmp_path / "a", tmp_path / "b"], measures=["X"])
    assert [row.p_holm for row in alone.rows] == [1 / 8]


def test_a_run_against_itself_differs_in_nothing(run: Path) -> None:
    found = compare([run, run], resamples=200)
    assert list(found.systems) == [f"{run} ({n}): {name}" for name in ("nearest", "consensus") for n in (1, 2)]
    defined = [row for row in found.rows if row.difference.n]
    assert {row.measure for row in defined} >= {"ROUGE-L", "BLEU-1"}
    for row in defined:
        assert (row.difference.value, row.difference.low, row.difference.high) == (0, 0, 0)
        assert row.difference.p == row.p_holm == 1


def test_figures_are_those_of_the_run(run: Path) -> None:
    """One folder: its systems among each other, not its baselines; as metrics.json has them."""
    found = compare([run], resamples=200, seed=0)
    metrics = rv.Results.open(run).metrics
    there = {(d["a"], d["b"], d["measure"]): d for d in metrics["differences"]}
    assert {(row.a, row.b) for row in found.rows} == {("nearest", "consensus")}
    for row in (row for row in found.rows if row.measure in {"ROUGE-L", "BLEU-1"}):
        own = metrics["systems"]["nearest"][row.measure]
        assert not row.by_scores
        assert row.higher_is_better is True
        assert (row.value_a.low, row.value_a.value, row.value_a.high) == pytest.approx(
            (own["low"], own["value"], own["high"]), abs=1e-6
        )
        kept = there["nearest", "consensus", row.measure]
        assert (row.difference.low, row.difference.high, row.difference.p) == pytest.approx(
            (kept["low"], kept["high"], kept["p"]), abs=1e-6
        )
    named = compare([run], systems=["consensus", "oracle neighbour"], measures=["rouge-l"], resamples=50)
    assert [(row.a, row.b, row.measure) for row in named.rows] == [("consensus", "oracle neighbour", "ROUGE-L")]


def test_corpus_measures_are_computed_anew(tmp_path: Path) -> None:
    """BLEU-1 of a corpus is no mean: 1 of 1 and 1 of 3 words right is 2 / 4, where the mean of scores is 2 / 3."""
    right = {"x": "nucleus", "y": "red blood cells"}
    a = answered(tmp_path / "a", {"x": "nucleus", "y": "red dots here"}, right)
    b = answered(tmp_path / "b", {"x": "nucleus", "y": "red blood cells"}, right)
    for folder, scores in ((a, (1.0, 1 / 3)), (b, (1.0, 1.0))):
        rows = [{"id": i, "scores": {"BLEU-1": score}} for i, score in zip(right, scores, strict=True)]
        jsonl(folder / "scores.jsonl", rows)
    (row,) = compare([a, b], task="describe").rows
    assert (row.value_a.value, row.by_scores) == (pytest.approx(1 / 2), False)
    (b / "predictions.jsonl").unlink()
    (row,) = compare([a, b], task="describe").rows
    assert (row.value_a.value, row.by_scores) == (pytest.approx(2 / 3), True)
    assert "aren't in" in row.reason


def test_different_items_are_named_and_refused(tmp_path: Path) -> None:
    a = scored(tmp_path / "a", {f"i{n}": n / 10 for n in range(9)})
    b = scored(tmp_path / "b", {f"i{n}": 0.1 for n in range(7, 12)})
    with pytest.raises(InputError) as caught:
        compare([a, b])
    told = str(caught.value)
    assert "'i0', 'i1', 'i2', 'i3', 'i4' and 2 more" in told
    assert "'i9', 'i10', 'i11'; --common compares the 2 that all have" in told
    assert "\n" not in told
    found = compare([a, b], common=True)
    assert (found.n, found.left_out) == (2, 10)
    assert found.rows[0].value_a.value == pytest.approx(0.75)
    assert "left out: 10 items that not all of the folders have" in found.remarks
    c = scored(tmp_path / "c", {"z": 1.0})
    with pytest.raises(InputError, match="they share none"):
        compare([a, c], common=True)


def test_other_references_are_other_items(tmp_path: Path) -> None:
    a = answered(tmp_path / "a", {"x": "one cell"}, {"x": "two cells"})
    b = answered(tmp_path / "b", {"x": "one cell"}, {"x": "three cells"})
    with pytest.raises(InputError, match=r"have different references for 'x': these aren't the same items"):
        compare([a, b], task="describe")


def test_subjects_join_whatever_a_folder_says_belongs_together(tmp_path: Path) -> None:
    """The first says a+b, the second b+c under another name: a, b and c are one cluster, d another."""
    for name, subjects in (("one", ("s1", "s1", "s2", "s3")), ("two", ("p9", "p7", "p7", "p8"))):
        rows = [{"id": i, "subject_id": s, "scores": {"X": 1}} for i, s in zip("abcd", subjects, strict=True)]
        jsonl(tmp_path / name / "scores.jsonl", rows)
    assert compare([tmp_path / "one", tmp_path / "two"]).clusters == 2
    scored(tmp_path / "three", dict.fromkeys("wxyz", 1.0), "X")
    assert compare([tmp_path / "three", tmp_path / "three"]).clusters == 4


def test_which_systems_are_compared(tmp_path: Path, run: Path) -> None:
    other = tmp_path / "other"
    right = {row["id"]: row["references"][0] for row in rows_of(run / "references.jsonl")}
    answered(other, dict.fromkeys(right, "a red square"), right, system="gpt")
    with pytest.raises(InputError, match=r"no system is in both: choose one of each .*other holds 'gpt'"):
        compare([run, other])
    found = compare([run, other], systems=["consensus"], measures=["ROUGE-L"], resamples=50)
    assert [(row.a, row.b) for row in found.rows] == [("run: consensus", "other: gpt")]
    with pytest.raises(InputError, match=r"no system 'gtp': .* holds 'nearest', 'consensus', 'nearest, no retrieval'"):
        compare([run, other], systems=["gtp"])
    with pytest.raises(InputError, match="one system can't be compared"):
        compare([other], task="describe")
    many = [scored(tmp_path / name, {"a": score, "c": 0.5}) for name, score in (("u", 0.1), ("v", 0.2), ("w", 0.3))]
    # folders of one system each are compared though each calls its own as itself
    assert [(row.a, row.b) for row in compare(many).rows] == [("u: u", "v: v"), ("u: u", "w: w")]
    assert len(compare(many, all_pairs=True).rows) == 3


@given(st.lists(st.tuples(*[st.floats(0, 1) | st.none()] * 2), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_values_and_difference_are_of_the_same_items(pairs: list[tuple[float | None, float | None]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        sides = [scored(Path(name) / s, {str(i): p[n] for i, p in enumerate(pairs)}) for n, s in enumerate("ab")]
        (there,) = compare(sides, resamples=20).rows
        (back,) = compare(sides[::-1], resamples=20).rows
    both = np.array([pair for pair in pairs if None not in pair], float).reshape(-1, 2)
    assert there.difference.n == there.value_a.n == len(both)
    if len(both):
        assert there.difference.value == pytest.approx(there.value_a.value - there.value_b.value, abs=1e-12)
        assert there.difference.value == pytest.approx(both[:, 0].mean() - both[:, 1].mean(), abs=1e-12)
        assert back.difference.value == pytest.approx(-there.difference.value, abs=1e-12)
        assert back.difference.p == pytest.approx(there.difference.p, nan_ok=True)
    else:
        assert math.isnan(there.p_holm)


def test_damaged_runs_are_one_line(tmp_path: Path, run: Path) -> None:
    def told(change: str) -> str:
        bad = shutil.copytree(run, tmp_path / change)
        if change == "unfinished":
            for name in ("scores.jsonl", "references.jsonl", "metrics.json"):
                (bad / name).unlink()
        elif change == "metrics":
            (bad / "metrics.json").write_text('{"systems": 3}')
        else:
            path = bad / f"{change}.jsonl"
            jsonl(path, rows_of(path)[1:])
        with pytest.raises(InputError) as caught:
            compare([run, bad])
        return str(caught.value)

    first = rows_of(run / "references.jsonl")[0]["id"]
    assert "the run isn't finished: give the same ragvlm eval again" in told("unfinished")
    assert "not what ragvlm writes" in told("metrics")
    assert f"predictions.jsonl and references.jsonl, system 'nearest': '{first}' only in" in told("predictions")
    assert f"predictions.jsonl and references.jsonl, system 'nearest': '{first}' only in the first" in told(
        "references"
    )
    assert f"predictions.jsonl and scores.jsonl, system 'nearest': '{first}' only in the first" in told("scores")
    with pytest.raises(InputError, match="its task is describe, not vqa"):
        compare([run], task="vqa")
    asked = answered(tmp_path / "asked", {"x": "yes"}, {"x": "no"})
    (asked / "metrics.json").write_text('{"task": "vqa", "systems": {}}')
    with pytest.raises(InputError, match="asked: its task is vqa, not describe: compare runs of one task"):
        compare([run, asked])
    with pytest.raises(InputError, match="nothing to compare"):
        compare([])


def test_kept_leaks_stay_loud(tmp_path: Path, run: Path) -> None:
    leaky = shutil.copytree(run, tmp_path / "leaky")
    metrics = json.loads((leaky / "metrics.json").read_text())
    metrics["leakage"] |= {"kept": 3, "queries": 8}
    (leaky / "metrics.json").write_text(json.dumps(metrics))
    found = compare([run, leaky], measures=["ROUGE-L"], resamples=20)
    assert found.warnings == (
        f"{leaky}: LEAKAGE: 3 of 8 queries share a subject or a picture with the index and were kept",
    )


def test_the_command(tmp_path: Path, run: Path) -> None:
    asked = ["compare", str(run), "--resamples", "50", "--measure", "ROUGE-L"]
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert found["systems"]["nearest"] == {"run": str(run), "system": "nearest"}
    (row,) = found["differences"]
    assert row["difference"] == pytest.approx(row["value_a"]["value"] - row["value_b"]["value"])
    head, line, *remarks = CliRunner().invoke(app, asked).stdout.splitlines()
    assert head.split("\t") == ["a", "b", "measure", "value of a", "value of b", "a - b [95%]", "p (Holm)"]
    assert line.startswith("nearest\tconsensus\tROUGE-L\t")
    assert remarks[0].startswith("8 items of 4 subjects in both")
    assert "no such folder" in refuse("compare", tmp_path / "none", run)
    (tmp_path / "empty").mkdir()
    assert "holds neither scores.jsonl nor predictions.jsonl" in refuse("compare", tmp_path / "empty", run)
    assert typed("compare", "--help").returncode == 0


def test_the_table_fits_into_80_columns(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from ragvlm import terminal

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    found: Comparison = compare([run], resamples=50)
    terminal.show_comparison(found)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 80
    (told,) = [line for line in lines if line.startswith("ROUGE-L")]
    assert f"{found.rows[0].difference.value:.3f} [" in told


def test_a_table_of_pandas(run: Path) -> None:
    pytest.importorskip("pandas")
    frame = compare([run], resamples=50, measures=["ROUGE-L"]).to_pandas()
    assert frame.loc[0, "measure"] == "ROUGE-L"
    assert {"value_a_value", "value_a_low", "difference", "low", "high", "p", "p_holm"} <= set(frame.columns)
