"""The systems of a vqa suite."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ragvlm.describe import Describer
from ragvlm.errors import InputError
from ragvlm.evaluation.bench import NOTHING, Asked, Bench, System
from ragvlm.evaluation.describing import alone, name_of, sees
from ragvlm.evaluation.split import questions_of, subject_of
from ragvlm.generators import load_generator
from ragvlm.types import Float32, Generator, Int64, Record
from ragvlm.writing import Writer

NEIGHBOURS = 5
"""How many questions vote."""


@dataclass(frozen=True, slots=True)
class Known:
    """An answered question of the index's side."""

    question: str
    answer: str
    kind: str
    record_id: str


def answer_systems(
    bench: Bench, generators: Sequence[str | Generator | Describer], records: Sequence[Record]
) -> list[System]:
    """The given generators with retrieval and without, and the mandatory baselines.

    ``records`` are those of the index's side, with their questions. Raises InputError for a generator that hears no
    question, and where no question on the index's side has an answer.
    """
    known = [k for record in records for k in known_of(record)]
    if not known:
        raise InputError(f"{bench.suite.file}: no question on the index's side has an answer, so nothing can vote")
    found: list[System] = []
    baselines: list[System] = []
    for given in generators:
        name, generator = name_of(given), _generator(given)
        writer = given.writer if isinstance(given, Describer) else Writer(generator)
        writer.check_question()
        found += [
            System(name if len(bench.suite.k) == 1 else f"{name}, k={k}", _with(writer), k=k, looks=sees(generator))
            for k in bench.suite.k
        ]
        baselines.append(alone(generator, name))
    subjects = {record.id: subject_of(record) for record in records}
    memory = _Memory(bench, known, subjects)
    baselines += [
        System("majority answer", memory.majority, "baseline", given=NOTHING, looks=False,
               note="the commonest answer of the index's side to questions of the same type, the picture unseen"),
        System("nearest answer", memory.by_both, "baseline", k=bench.k, looks=False,
               note=f"a vote of the {NEIGHBOURS} likest questions about the {bench.k} retrieved pictures"),
        System("nearest answer, question alone", memory.by_question, "baseline", given=NOTHING, looks=False,
               note=f"a vote of the {NEIGHBOURS} likest questions about any picture, the picture unseen"),
    ]  # fmt: skip
    return found + baselines


def known_of(record: Record) -> list[Known]:
    """The answered questions of ``record``."""
    found = []
    for question in questions_of(record):
        answers = question.get("answers") or [question.get("answer")]
        if answers[0] not in (None, ""):
            kind = str(question.get("question_type", ""))
            found.append(Known(str(question["question"]), str(answers[0]), kind, record.id))
    return found


def _generator(given: str | Generator | Describer) -> Generator:
    if isinstance(given, Describer):
        return given.generator
    return load_generator(given) if isinstance(given, str) else given


def _with(writer: Writer) -> Callable[[Sequence[Asked]], list[dict[str, Any]]]:
    return lambda asked: [{"prediction": w.text} for w in writer.first_turn([item.found.context for item in asked])]


class _Memory:
    """The answered questions of the index's side, and the votes over them.

    Those of the query's own subject have no vote where the suite hides them.
    """

    def __init__(self, bench: Bench, known: Sequence[Known], subjects: Mapping[str, str]) -> None:
        self.bench, self.known = bench, list(known)
        self.of_record: dict[str, list[int]] = defaultdict(list)
        self.of_subject: dict[str, list[int]] = defaultdict(list)
        for place, one in enumerate(self.known):
            self.of_record[one.record_id].append(place)
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
            near = [i for hit in item.found.context.hits for i in self.of_record.get(hit.record.id, ())]
            rows.append(self._nearest(item, np.array(near, np.int64) if near else self._allowed(item)))
        return rows

    def _majority(self, item: Asked) -> str:
        kind, own = str(item.case.facts.get("question_type", "")), subject_of(item.case.record)
        key = kind, own if own in self.of_subject else ""
        if key not in self._majorities:
            allowed = [self.known[i] for i in self._allowed(item)]
            same = [known for known in allowed if known.kind == kind] or allowed
            self._majorities[key] = _vote([(known.answer, 1.0) for known in same])
        return self._majorities[key]

    def _allowed(self, item: Asked) -> Int64:
        hidden = self.of_subject.get(subject_of(item.case.record), []) if self.bench.own == "hide" else []
        return np.delete(np.arange(len(self.known)), hidden)

    def _nearest(self, item: Asked, places: Int64) -> dict[str, Any]:
        if not len(places):
            return {"prediction": ""}
        vectors, of_known = self._vectors
        asked = self.bench.index.encoder.encode_texts([str(item.case.words)])[0]
        # rounded: which of two equal questions votes must not hang on the last bit
        likeness = np.round(vectors @ asked, 5)[of_known[places]]
        best = np.argsort(-likeness, kind="stable")[:NEIGHBOURS]
        votes = [(self.known[places[i]].answer, max(float(likeness[i]), 0.0)) for i in best]
        return {"prediction": _vote(votes), "record_ids": [self.known[places[i]].record_id for i in best]}

    @cached_property
    def _vectors(self) -> tuple[Float32, Int64]:
        """A row for each different question, and the row of each known one."""
        rows = {text: row for row, text in enumerate(dict.fromkeys(known.question for known in self.known))}
        vectors = self.bench.index.encoder.encode_texts(list(rows))
        return vectors, np.array([rows[known.question] for known in self.known], np.int64)


def _vote(votes: Sequence[tuple[str, float]]) -> str:
    """The answer with the highest sum of weights, upper and lower case alike, as it was first written."""
    totals: Counter[str] = Counter()
    written: dict[str, str] = {}
    for answer, weight in votes:
        key = " ".join(answer.lower().split())
        written.setdefault(key, answer)
        totals[key] += weight  # type: ignore[assignment]
    return written[max(totals, key=lambda key: round(totals[key], 6))] if totals else ""
