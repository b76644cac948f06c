"""Predictions of a run -> scores.jsonl, references.jsonl, metrics.json and, for retrieval, TREC's files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ragvlm
from ragvlm.evaluation import folder as files
from ragvlm.evaluation import foreign
from ragvlm.evaluation.bench import Bench, System
from ragvlm.evaluation.cases import Case
from ragvlm.evaluation.controls import pairs_of
from ragvlm.evaluation.journal import Journal, line_of
from ragvlm.evaluation.predicting import Progress
from ragvlm.evaluation.suite import Suite
from ragvlm.evaluation.tables import Draw, tabulate
from ragvlm.measures import Item, Measure, measure, measures
from ragvlm.measures.evidence import passages_of

_NOT_FACTS = ("id", "system", "prediction")
_NOTHING = {"describe": "", "vqa": "", "retrieve": ()}


def check_measures(suite: Suite, cases: Sequence[Case]) -> tuple[Measure, ...]:
    """The measures of the suite, else those of its task; each is tried on one case, before long work begins.

    Raises MissingExtraError with the pip command for a measure whose package is absent, and what measures raise.
    """
    chosen = tuple(measure(name, suite.task) for name in suite.measures) or measures(suite.task)
    for one in chosen:
        one.statistics([cases[0].item(_NOTHING.get(suite.task, cases[0].references))])
    return chosen


def score(
    bench: Bench,
    systems: Sequence[System],
    chosen: Sequence[Measure],
    out: Path,
    resamples: int,
    progress: Progress,
    strangers: Bench | None = None,
) -> dict[str, Any]:
    """Write the files, and give what metrics.json holds. ``strangers`` are the foreign queries."""
    answers = _answers(bench, systems, out)
    files.write_text(out / files.REFERENCES, "".join(line_of(_reference(bench, case)) for case in bench.cases))
    with progress("Scoring") as update:
        controls = {system.name for system in systems if system.role == "control"}
        draw = Draw(bench.seed, resamples)
        figures, scores = tabulate(answers, chosen, pairs_of(systems), draw, controls, update)
    rows = [
        {"id": case.id, "system": name, "scores": {m: values[place] for m, values in of_system.items()}}
        for name, of_system in scores.items()
        for place, case in enumerate(bench.cases)
    ]
    files.write_text(out / files.SCORES, "".join(map(line_of, rows)))
    if bench.suite.task == "retrieve":
        from ragvlm.evaluation.retrieving import write_trec

        write_trec(out, answers)
    metrics = _head(bench, systems, out) | {"resamples": resamples} | figures
    if strangers is not None:
        with progress("Scoring foreign queries"):
            metrics["foreign"] = foreign.figures(answers, strangers, systems, out, draw)
    files.write_json(out / files.METRICS, metrics)
    return metrics


def _answers(bench: Bench, systems: Sequence[System], out: Path) -> dict[str, list[Item]]:
    plan = [[(system.name, case.id) for case in bench.cases] for system in systems]
    rows = iter(Journal(out / files.PREDICTIONS, ("system", "id"), plan).rows)
    return {system.name: [_item(bench, case, next(rows)) for case in bench.cases] for system in systems}


def _item(bench: Bench, case: Case, row: dict[str, Any]) -> Item:
    facts = {name: value for name, value in row.items() if name not in _NOT_FACTS}
    if "evidence" in row:
        cited = dict.fromkeys(name for sentence in row["evidence"] for name in sentence["record_ids"])
        facts["passages"] = passages_of(bench.index.records[bench.rows[name]] for name in cited)
    return case.item(row["prediction"], **facts)


def _reference(bench: Bench, case: Case) -> dict[str, Any]:
    """A line of references.jsonl; what is relevant to a query stands in qrels.txt."""
    right = {} if bench.suite.task == "retrieve" else {"references": case.references}
    named = {"id": case.id, "record_id": case.record.id, "subject_id": case.cluster, "group": case.group}
    return named | right | dict(case.facts)


def _head(bench: Bench, systems: Sequence[System], out: Path) -> dict[str, Any]:
    suite = bench.suite
    found = files.read_json(out / files.LEAKAGE)
    return {
        "suite": suite.name,
        "title": suite.title,
        "task": suite.task,
        "ragvlm": ragvlm.__version__,
        "n": len(bench.cases),
        "clusters": len({case.cluster for case in bench.cases}),
        "seed": bench.seed,
        "leakage": {name: found[name] for name in ("own_subject", "queries", "leaking", "kept")},
        "about": {
            system.name: {"role": system.role, "of": system.of, "given": system.given, "note": system.note}
            for system in systems
        },
        "literature": [asdict(row) for row in suite.literature],
    }
