"""The systems of a vqa suite."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ragvlm.describe import Describer
from ragvlm.errors import InputError
from ragvlm.evaluation.bench import NOTHING, OTHER, RANDOM, Asked, Bench, System
from ragvlm.evaluation.describing import name_of, reads, sees
from ragvlm.evaluation.split import subject_of
from ragvlm.language.asking import options_of
from ragvlm.results import Neighbour
from ragvlm.tasks import answerers
from ragvlm.tasks.ask import Asker
from ragvlm.tasks.memory import QuestionMemory, shares_of
from ragvlm.types import Generator, Int64, Record

NEIGHBOURS = 5
"""How many questions vote in the baselines."""


def answer_systems(
    bench: Bench, generators: Sequence[str | Generator | Describer], records: Sequence[Record]
) -> list[System]:
    """The given generators with retrieval and without, and the mandatory baselines.

    ``records`` are those of the index's side. Raises InputError for a generator that hears no question, and where no
    question of the index has an answer.
    """
    memory = QuestionMemory(bench.index)
    if not len(memory):
        raise InputError(f"{bench.suite.file}: no question on the index's side has an answer, so nothing can vote")
    found: list[System] = []
    baselines: list[System] = []
    for given in generators:
        name = name_of(given)
        for k in bench.suite.k:
            asker = _asker(bench, given, k)
            asker.memory = memory if asker.describer.index is bench.index else asker.memory
            shown = name if len(bench.suite.k) == 1 else f"{name}, k={k}"
            found.append(System(shown, _with(bench, asker), k=k))
        baselines.append(_alone(asker.describer.generator, name))
    subjects = {record.id: subject_of(record) for record in records}
    votes = _Votes(bench, memory, subjects)
    baselines += [
        System("majority answer", votes.majority, "baseline", given=NOTHING, looks=False,
               note="the commonest answer of the index's side to questions of the same type, the picture unseen"),
        System("nearest answer", votes.by_both, "baseline", k=bench.k, looks=False,
               note=f"a vote of the {NEIGHBOURS} likest questions about the {bench.k} retrieved pictures"),
        System("nearest answer, question alone", votes.by_question, "baseline", given=NOTHING, looks=False,
               note=f"a vote of the {NEIGHBOURS} likest questions about any picture, the picture unseen"),
    ]  # fmt: skip
    return found + baselines


def _asker(bench: Bench, given: str | Generator | Describer, k: int) -> Asker:
    if isinstance(given, Describer):
        return Asker(given)
    return Asker(Describer(bench.index, given, k, alpha=0, keep_unsupported=True))


def _with(bench: Bench, asker: Asker) -> Callable[[Sequence[Asked]], list[dict[str, Any]]]:
    """Each asks with its own retrieval; a control of retrieval leaves it the questions of the given records alone."""

    def answer(item: Asked) -> dict[str, Any]:
        hits = item.found.context.hits
        rows = [bench.rows[hit.record.id] for hit in hits] if item.given in (RANDOM, OTHER) else None
        found = asker.answer(
            item.found.context.query, _options(item), rows=rows, search=bench.options(item.case.record)
        )
        return {
            "prediction": found.answer,
            "abstained": found.abstained,
            "confidence": round(found.confidence, 6),
            "contradicted": found.contradiction is not None,
            "record_ids": list(dict.fromkeys(i for item in found.evidence for i in item.record_ids)),
        }

    return lambda asked: [answer(item) for item in asked]


def _options(item: Asked) -> tuple[str, ...] | None:
    """The corpus' own choices of the question, where it has them; else what is read from its words."""
    choices = item.case.facts.get("choices")
    return tuple(map(str, choices)) if isinstance(choices, list) and len(choices) > 1 else None


def _alone(generator: Generator, name: str) -> System:
    """``generator`` without retrieval: the picture and the question alone, where it can answer from that."""
    if all(reads(member) == "references" for member in answerers.members_of(generator)):
        why = f"not possible: {name} answers from references alone, so it answers nothing without them"
        return System(
            f"{name}, no retrieval", lambda asked: [{"prediction": ""} for _ in asked], "baseline", name, NOTHING,
            looks=False, note=why,
        )  # fmt: skip
    looks = sees(generator)
    why = "" if looks else f"{name} sees no picture: it writes from the instruction and the question alone"

    def answer(item: Asked) -> dict[str, Any]:
        options = _options(item) or options_of(str(item.case.words))
        return {"prediction": answerers.alone(generator, item.found.context, options)}

    return System(
        f"{name}, no retrieval", lambda asked: [answer(item) for item in asked], "baseline", name, NOTHING,
        looks=looks, note=why,
    )  # fmt: skip


class _Votes:
    """The votes over the answered questions of the index's side that are the baselines.

    Those of the query's own subject have no vote where the suite hides them.
    """

    def __init__(self, bench: Bench, memory: QuestionMemory, subjects: Mapping[str, str]) -> None:
        self.bench, self.memory, self.known = bench, memory, memory.known
        self.of_subject: dict[str, list[int]] = defaultdict(list)
        for place, one in enumerate(self.known):
            self.of_subject[subjects[one.record_id]].append(place)
        self._majorities: dict[tuple[str, str], str] = {}

    def majority(self, asked: Sequence[Asked]) -> list[dict[str, Any]]:
        """The commonest answer to questions of the same type; of all types where there are none."""
        return [{"prediction": self._majority(item)} for item in asked]

    def by_question(self, asked: Sequence[Asked]) -> list[dict[str, Any]]:
        """The vote of the likest questions of all."""
        return [self._nearest(item, self._allowed(item)) for item in asked]

    def by_both(self, asked: Sequence[Asked]) -> list[dict[str, Any]]:
        """The vote of the likest questions about the retrieved pictures; of all where those have none."""
        rows = []
        for item in asked:
            hits = [self.bench.rows[hit.record.id] for hit in item.found.context.hits]
            near = [i for row in hits for i in self.memory.of_row.get(row, ())]
            rows.append(self._nearest(item, np.array(near, np.int64) if near else self._allowed(item)))
        return rows

    def _majority(self, item: Asked) -> str:
        kind, own = str(item.case.facts.get("question_type", "")), subject_of(item.case.record)
        key = kind, own if own in self.of_subject else ""
        if key not in self._majorities:
            allowed = [self.known[i] for i in self._allowed(item)]
            same = [known for known in allowed if known.kind == kind] or allowed
            self._majorities[key] = _vote([Neighbour(known.record_id, known.answer, 1.0) for known in same])
        return self._majorities[key]

    def _allowed(self, item: Asked) -> Int64:
        hidden = self.of_subject.get(subject_of(item.case.record), []) if self.bench.own == "hide" else []
        return np.delete(np.arange(len(self.known)), hidden)

    def _nearest(self, item: Asked, places: Int64) -> dict[str, Any]:
        if not len(places):
            return {"prediction": ""}
        # rounded: which of two equal questions votes must not hang on the last bit
        likeness = np.round(self.memory.alike(str(item.case.words)), 5)[places]
        best = np.argsort(-likeness, kind="stable")[:NEIGHBOURS]
        chosen = [(self.known[places[i]], max(float(likeness[i]), 0.0)) for i in best]
        votes = [Neighbour(known.record_id, known.answer, weight) for known, weight in chosen]
        return {"prediction": _vote(votes), "record_ids": [vote.record_id for vote in votes]}


def _vote(votes: Sequence[Neighbour]) -> str:
    return next(iter(shares_of(votes)), "")
