"""The parts of the report: which cases it shows, what its plots say, what it says in words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from evaltools import rows_of
from reporttools import HOSTILE, sections_of
from tiny import COLOURS

import ragvlm as rv
from ragvlm.evaluation.page import figures, plots, tables, words
from ragvlm.evaluation.page.reading import HEADLINES, Run
from ragvlm.measures import measures


@pytest.mark.parametrize("task", list(HEADLINES))
def test_every_default_measure_has_words(task: str, described: Path) -> None:
    figure = {"source": "", "higher_is_better": True, "value": 0.5}
    names = {one.name: figure for one in measures(task)}
    metrics = {"task": task, "systems": {"a": names}, "about": {"a": {"role": "system"}}}
    told = words.definitions(Run(described, rv.Results(described, metrics)))
    assert [row["name"] for row in told if not row["text"]] == []


def test_cases_are_the_best_the_worst_and_the_most_changed(described: Path) -> None:
    scores: dict[str, dict[str, float]] = {"consensus": {}, "nearest": {}}
    for row in rows_of(described / "scores.jsonl"):
        if row["system"] in scores:
            scores[row["system"]][row["id"]] = row["scores"]["ROUGE-L"]
    found = {s.title: [c["id"] for c in s.cases] + [i for _, i in s.again] for s in sections_of(described)}
    own = scores["consensus"]
    assert sorted(own[i] for i in found["Best"]) == sorted(own.values())[-3:]
    assert sorted(own[i] for i in found["Worst"]) == sorted(own.values())[:3]
    gaps = {i: abs(own[i] - scores["nearest"][i]) for i in own}
    assert sorted(gaps[i] for i in found.get("Most changed", [])) == sorted(g for g in gaps.values() if g > 0)[-3:]


def test_citations_lead_to_the_neighbours(described: Path) -> None:
    case = sections_of(described)[0].cases[0]
    said = {r["system"]: r for r in rows_of(described / "predictions.jsonl") if r["id"] == case["id"]}["consensus"]
    hits = next(r["hits"] for r in rows_of(described / "neighbours.jsonl") if r["id"] == case["id"])
    ranks = {hit[0]: rank for rank, hit in enumerate(hits, 1)}
    assert [part["ranks"] for part in case["answers"][0]["parts"]] == [
        sorted(ranks[i] for i in e["record_ids"]) for e in said["evidence"]
    ]
    assert [n["id"] for n in case["neighbours"]] == list(ranks)


def test_a_classification_has_its_plots(classified: Path) -> None:
    shown = Run.open(classified)
    found = {plot.title: plot.alt for plot in figures.class_plots(shown)}
    assert set(found) == {
        "Recall of mean by class", "Confusion matrix of mean", "Reliability of mean"
    }  # fmt: skip
    right = {row["id"]: row["references"] for row in rows_of(classified / "references.jsonl")}
    said = [r for r in rows_of(classified / "predictions.jsonl") if r["system"] == "mean"]
    named = {r["id"]: max(r["prediction"], key=r["prediction"].__getitem__) for r in said}
    hits = sum(named[i] == right[i] for i in right)
    assert f"{hits} of 16 on the diagonal" in found["Confusion matrix of mean"]
    for colour in COLOURS:
        share = np.mean([named[i] == colour for i in right if right[i] == colour])
        assert f"{colour} (n 4) {share:.3f}" in found["Recall of mean by class"]


def test_a_ranking_has_curves_of_its_measures(ranked: Path) -> None:
    metrics = json.loads((ranked / "metrics.json").read_text())["systems"]
    found = {plot.title: plot.alt for plot in figures.retrieval_plots(Run.open(ranked))}
    assert list(found) == ["Recall@K over K", "Precision@K over K"]
    ends = [metrics["image"][f"Recall@{k}"]["value"] for k in (1, 3)]
    assert f"image {ends[0]:.3f} at K = 1, {ends[1]:.3f} at K = 3" in found["Recall@K over K"]
    assert any("relevant" in str(c["answers"][0]["parts"]) for s in sections_of(ranked) for c in s.cases)


def test_risk_falls_with_coverage_where_confidence_is_right(described: Path, copied: Path) -> None:
    rows = rows_of(copied / "predictions.jsonl")
    scores = {(r["system"], r["id"]): r["scores"]["ROUGE-L"] for r in rows_of(copied / "scores.jsonl")}
    for row in rows:
        if row["system"] == "consensus":
            row["confidence"] = scores["consensus", row["id"]]
    (copied / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    alt = figures.risk_plots(Run.open(copied))[0].alt
    first, last = map(float, re.findall(r"consensus ([\d.]+) at [\d]+%, ([\d.]+) at full", alt)[0])
    own = [score for (system, _), score in scores.items() if system == "consensus"]
    assert first == pytest.approx(1 - max(own), abs=5e-4) and last == pytest.approx(1 - np.mean(own), abs=5e-4)


def test_bars_without_an_interval_and_odd_names_can_be_drawn() -> None:
    rows = [
        plots.Bar(HOSTILE, 0.5, float("nan"), float("nan")),
        plots.Bar("\u202e\x00 名", -0.1, -0.2, 0.0, main=False),
    ]
    assert plots.bars(rows, "$x_1", zero=True) == plots.bars(rows, "$x_1", zero=True)
    assert plots.bars(rows, "a") != plots.bars(rows[:1], "a")


def test_corrected_p_values_that_can_not_be_small_are_said_so(described: Path) -> None:
    shown = Run.open(described)
    # the correction runs over the differences by one measure: 20 of them can't get below 20 / 51
    rows = [row for row in shown.metrics["differences"] if row["measure"] == "ROUGE-L"]
    assert len(rows) > 3
    assert not any(row["exact"] for row in rows)
    assert tables.least_corrected(shown) == pytest.approx(len(rows) / 51)
    assert min(row["p_holm"] for row in rows) >= len(rows) / 51 - 1e-6
    assert "no corrected p-value can be below" in " ".join(words.summary(shown))
