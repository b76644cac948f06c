"""Foreign queries: a corpus of red and green squares is asked about its own, and about what it doesn't hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from evaltools import kept, rows_of, squares, suite_file, write_rows
from reporttools import page
from tiny import ColourEncoder

import ragvlm as rv
from ragvlm.errors import CorpusError, InputError

TOP = 'measures = ["ROUGE-L"]'
BLUE = '[foreign]\ncolumn = "label"\nvalues = ["blue"]'


def run(suite: Path, out: str = "run", **options: Any) -> rv.Results:
    options = {"suite": suite, "out": suite.parent / out, "encoder": ColourEncoder(), "resamples": 50} | options
    return rv.evaluate("nearest", **options)


def figure(results: rv.Results, name: str, system: str = "nearest") -> float:
    return float(results.metrics["foreign"]["systems"][system][name]["value"])


@pytest.fixture
def held_out(tmp_path: Path) -> Path:
    squares(tmp_path / "corpus", 32)
    return suite_file(tmp_path, "describe", BLUE, top=TOP)


def test_a_kind_that_is_held_out_is_told_from_the_others(held_out: Path) -> None:
    results = run(held_out)
    assert not any("blue" in row["references"][0] for row in rows_of(results.folder / "references.jsonl"))
    asked = [row for row in rows_of(results.folder / "foreign.jsonl") if row["system"] == "nearest"]
    assert [row["id"] for row in asked] == [f"a{i:02d}" for i in range(2, 32, 4)]
    assert not any("blue" in row["prediction"] for row in asked)
    assert results.metrics["foreign"]["n"] == 8
    # nothing in the corpus is blue, so every blue square is farther from it than any other square is
    assert figure(results, "AUROC in-corpus (nonconformity)") == 1
    assert figure(results, "refused foreign (p_value < 0.05)") == 1
    assert figure(results, "refused in-corpus (p_value < 0.05)") <= 0.125
    # 24 own answers, the nearest first, each right but for the shade, then 8 that are wrong
    assert figure(results, "AURC with foreign (ROUGE-L by nonconformity)") < figure(
        results, "AURC with foreign (ROUGE-L by confidence)"
    )


def test_own_figures_are_those_without_foreign_queries(held_out: Path, tmp_path: Path) -> None:
    with_foreign = run(held_out)
    rows = [row for row in rows_of(tmp_path / "corpus" / "metadata.jsonl") if row["label"] != "blue"]
    write_rows(tmp_path / "corpus", rows)
    without = run(suite_file(tmp_path, "describe", top=TOP), "without")
    assert "foreign" not in without.metrics
    assert with_foreign.metrics["systems"] == without.metrics["systems"]
    assert with_foreign.metrics["differences"] == without.metrics["differences"]


def test_figures_are_read_by_pandas_and_by_people(held_out: Path) -> None:
    results = run(held_out)
    frame = results.to_pandas()
    told = frame[frame.measure == "AUROC in-corpus (p_value)"]
    assert set(told.system) == {"nearest", "consensus"}
    assert set(told.n) == {32}
    assert "nearest\tAUROC in-corpus (nonconformity)\t1.000" in str(results)
    html = page(results.folder)
    assert "Foreign queries" in html.headings()
    assert "24 own and 8 foreign queries" in html.text
    assert "the abstention test at 0.05 refuses" in html.text
    alts = [str(image["alt"]) for image in html.of("img")]
    assert any("Own queries answered over foreign ones" in alt for alt in alts)
    assert any("Risk over coverage, foreign queries among the own" in alt for alt in alts)
    assert "Share of the foreign queries that the abstention test refuses" in html.text


def test_twice_the_same_and_on_from_where_it_stopped(held_out: Path) -> None:
    first, path = run(held_out, "one"), held_out.parent / "two"
    run(held_out, "two")
    (path / "foreign.jsonl").write_bytes((path / "foreign.jsonl").read_bytes()[:700])
    (path / "metrics.json").unlink()
    second = run(held_out, "two")
    assert kept(first.folder) == kept(second.folder)
    assert {"foreign.jsonl", "foreign-neighbours.jsonl"} <= set(kept(first.folder))


def test_another_corpus_without_captions_and_a_copy_in_it(tmp_path: Path) -> None:
    squares(tmp_path / "corpus")
    rows = squares(tmp_path / "other", 8)
    for row in rows:
        del row["caption"]
    shutil.copy(tmp_path / "corpus" / "p03.png", tmp_path / "other" / "copy.png")
    write_rows(tmp_path / "other", [*rows[2::4], {"file_name": "copy.png", "id": "copy"}])
    # the corpus keeps its red and green squares alone
    rows = [r for r in rows_of(tmp_path / "corpus" / "metadata.jsonl") if r["label"] != "blue"]
    write_rows(tmp_path / "corpus", rows)
    results = run(suite_file(tmp_path, "describe", '[foreign]\npath = "other"\nget = "paint it"', top=TOP))
    leaks = json.loads((results.folder / "leakage.json").read_text())["foreign"]
    assert leaks["excluded"] == ["foreign/copy"]
    assert (results.metrics["foreign"]["n"], results.metrics["foreign"]["excluded"]) == (2, 1)
    assert {row["id"] for row in rows_of(results.folder / "foreign.jsonl")} == {"foreign/a02", "foreign/a06"}


def test_what_can_not_be_asked_is_one_line(tmp_path: Path) -> None:
    squares(tmp_path / "corpus")
    with pytest.raises(InputError, match=r"foreign: no record has label of mauve"):
        run(suite_file(tmp_path, "describe", BLUE.replace("blue", "mauve"), top=TOP))
    shutil.copytree(tmp_path / "corpus", tmp_path / "same")
    with pytest.raises(InputError, match=r"foreign: the index holds a picture of each of them"):
        run(suite_file(tmp_path, "describe", '[foreign]\npath = "same"\nget = "x"\nlimit = 2', top=TOP), "same-run")
    absent = suite_file(tmp_path, "describe", '[foreign]\npath = "nowhere"\nget = "paint it"', top=TOP)
    with pytest.raises(CorpusError, match=r"nowhere is not there; paint it"):
        run(absent, "absent")
