"""Which neighbours answer a question best: by its words, by the picture, or by both?

    python benchmarks/asking.py SHARED_DATA WORK_FOLDER

SHARED_DATA holds vqa-rad and blood-cells. WORK_FOLDER keeps their indexes.

vqa-rad: each of the 1,797 train questions, answered without those of its own case. The picture's weight, the number of
voters and the temperature are chosen by Exact Match for each fifth of the cases on the other four (whose voters are all
cases but the question's own), so that no question has a part in the settings that answer it. Differences are paired,
with 95 % intervals by case.

blood-cells: questions about counts, read from the captions of the five nearest smears by the picture alone and with
the question fused; each of 80 smears against all others.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import ragvlm as rv
from ragvlm.describe import Describer
from ragvlm.images import open_image
from ragvlm.language.asking import options_of
from ragvlm.measures.base import Statistics
from ragvlm.measures.qa import normalise
from ragvlm.readers.questions import answer_of, questions_of
from ragvlm.results import Neighbour
from ragvlm.retrieve import retrieve
from ragvlm.searching import SearchOptions
from ragvlm.statistics import holm, interval, paired
from ragvlm.tasks import reading
from ragvlm.tasks.memory import PICTURE_WEIGHT, TEMPERATURE, VOTERS, QuestionMemory, shares_of, weighed
from ragvlm.types import Query

RESULTS = Path(__file__).parent / "results" / "asking.json"
SETTINGS = tuple(product((5, 20, 40), (0.0, 0.25, 0.75, 1.0, 1.5), (0.1, 0.2)))  # voters, weight, temperature
DEFAULT = (VOTERS, PICTURE_WEIGHT, TEMPERATURE)
FOLDS, EVERY, SMEARS = 5, 10**6, 80


def opened(name: str, data: Path, work: Path) -> rv.Index:
    """The index of a corpus of ``data``, subjects as they are called there."""
    return rv.Index.build(data / name, work / name, hash_subject=False)


def right(shares: dict[str, float], answer: str) -> float:
    """Whether the first of the shares equals ``answer`` by the rules of SQuAD."""
    return float(normalise(next(iter(shares), "")) == normalise(answer))


def questions(index: rv.Index) -> dict[str, Any]:
    """Exact Match of the settings chosen on other folds, of the default and of the baselines."""
    memory = QuestionMemory(index)
    scores: dict[str, list[float]] = {
        name: [] for name in (*map(str, SETTINGS), "likest questions", "majority by type")
    }
    cases, closed = [], []
    own = {one.record_id: index.records[row].subject_id or one.record_id
           for one, row in zip(memory.known, memory.rows, strict=True)}  # fmt: skip
    for record in index.records:
        query = Query(record.id, open_image(index.image_path(record)), subject_id=record.subject_id)
        options = SearchOptions(mode="image", exclude_ids=frozenset({record.id}))
        found = retrieve(index, [query], 50, options)[0]
        others = [i for i, one in enumerate(memory.known) if own[one.record_id] != (record.subject_id or record.id)]
        for asked in questions_of(record):
            text, answer = str(asked["question"]), answer_of(asked)
            ballots = memory.nearest(found, text, options_of(text), voters=EVERY)
            for setting in SETTINGS:
                scores[str(setting)].append(right(shares_of(weighed(ballots, *setting)), answer))
            likeness = np.round(memory.alike(text), 5)
            best = [others[i] for i in np.argsort(-likeness[others], kind="stable")[:5]]
            votes = [Neighbour("", memory.known[i].answer, float(likeness[i])) for i in best]
            scores["likest questions"].append(right(shares_of(votes), answer))
            kind = str(asked.get("question_type", ""))
            same = [i for i in others if memory.known[i].kind == kind] or others
            commonest = Counter(normalise(memory.known[i].answer) for i in same).most_common(1)[0][0]
            scores["majority by type"].append(float(commonest == normalise(answer)))
            cases.append(record.subject_id or record.id)
            closed.append(asked.get("answer_type") == "CLOSED")
    return figures({name: np.array(values) for name, values in scores.items()}, cases, np.array(closed))


def figures(scores: dict[str, Any], cases: Sequence[str], closed: Any) -> dict[str, Any]:
    """Every system with its interval, and the chosen settings beside each baseline."""
    folds = np.array([int(hashlib.sha256(case.encode()).hexdigest(), 16) % FOLDS for case in cases])
    names = list(map(str, SETTINGS))
    chosen = {fold: max(names, key=lambda name: scores[name][folds != fold].mean()) for fold in range(FOLDS)}
    shown = {
        "settings chosen on other cases": np.array([scores[chosen[fold]][i] for i, fold in enumerate(folds)]),
        "the default": scores[str(DEFAULT)],
        "question alone, the default otherwise": scores[str((VOTERS, 0.0, TEMPERATURE))],
        "likest questions": scores["likest questions"],
        "majority by type": scores["majority by type"],
    }
    rows: dict[str, Any] = {}
    for name, values in shown.items():
        rows[name] = interval(Statistics.of_scores(values), cases).to_dict()
        rows[name] |= {
            "closed": round(float(values[closed].mean()), 4),
            "open": round(float(values[~closed].mean()), 4),
        }
    first = Statistics.of_scores(shown["settings chosen on other cases"])
    others = [name for name in shown if name not in ("settings chosen on other cases", "the default")]
    differences = [paired(first, Statistics.of_scores(shown[name]), cases) for name in others]
    adjusted = holm([difference.p for difference in differences])
    for name, difference, p in zip(others, differences, adjusted, strict=True):
        rows[name]["chosen minus this"] = difference.to_dict() | {"p_holm": round(float(p), 6)}
    settings = {f"fold {fold}": name for fold, name in chosen.items()}
    grid = {name: round(float(scores[name].mean()), 4) for name in names}
    return {"questions": len(cases), "cases": len(set(cases)), "systems": rows, "chosen": settings, "grid": grid}


ASKED: tuple[tuple[str, Callable[[rv.Record], str]], ...] = (
    ("Are there platelets?", lambda record: "yes" if record.extra["platelets"] else "no"),
    ("Are there fewer than 12 red blood cells?", lambda record: "yes" if record.extra["rbc"] < 12 else "no"),
    ("Are there two white blood cells?", lambda record: "yes" if record.extra["wbc"] == 2 else "no"),
    ("How many platelets are there?", lambda record: str(record.extra["platelets"])),
)


def captions(index: rv.Index) -> dict[str, Any]:
    """The share of smears that are answered rightly, by question and way of retrieval, and of the commonest answer."""
    describer = Describer(index, alpha=0)
    order = sorted(range(len(index)), key=lambda row: hashlib.sha256(index.records[row].id.encode()).digest())
    records = [index.records[row] for row in order[:SMEARS]]
    out: dict[str, Any] = {}
    for question, truth in ASKED:
        wanted = [truth(record) for record in records]
        rows = {"commonest answer": round(Counter(wanted).most_common(1)[0][1] / len(wanted), 4)}
        for mode in ("image", "fused"):
            hits = []
            for record, answer in zip(records, wanted, strict=True):
                search = replace(describer.search, mode=mode, exclude_ids=frozenset({record.id}))
                query = Query(record.id, open_image(index.image_path(record)), question)
                _, neighbours = reading.find(describer, query, options_of(question), search)
                hits.append(right(shares_of(neighbours), answer))
            rows[mode] = round(float(np.mean(hits)), 4)
        out[question] = rows
        print(question, rows, flush=True)
    return out


def main() -> None:
    """Measure, print and keep."""
    data, work = Path(sys.argv[1]), Path(sys.argv[2])
    found = {
        "blood-cells": captions(opened("blood-cells", data, work)),
        "vqa-rad": questions(opened("vqa-rad", data, work)),
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found["vqa-rad"]["systems"], indent=1))


if __name__ == "__main__":
    main()
