"""The answered questions of an index, and which of them are nearest to a picture with a question."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import islice
from typing import Any

import numpy as np

from ragvlm.index import Index
from ragvlm.index.questions import question_vectors
from ragvlm.language.asking import YES_NO, choose, key_of
from ragvlm.readers.questions import answer_of, questions_of
from ragvlm.results import Neighbour
from ragvlm.retrieve import Retrieved
from ragvlm.types import Float32, Int64, Record

# found on VQA-RAD by cross-validation over cases: benchmarks/asking.py
VOTERS = 40
PICTURE_WEIGHT = 0.75
TEMPERATURE = 0.2
_PARTS = ("question", "picture")
REACH = 5000  # questions nearest by words alone whose pictures are looked at


@dataclass(frozen=True, slots=True)
class Known:
    """An answered question; ``kind`` is the corpus' own type of it, "" where it has none."""

    question: str
    answer: str
    kind: str
    record_id: str


def known_of(record: Record) -> list[Known]:
    """The answered questions of ``record``."""
    return [
        Known(str(question["question"]), answer, str(question.get("question_type", "")), record.id)
        for question in questions_of(record)
        if (answer := answer_of(question))
    ]


class QuestionMemory:
    """The answered questions of ``index``; ``progress`` shows how far their vectors are, where they are made."""

    def __init__(self, index: Index, progress: Callable[[int, int], None] | None = None) -> None:
        self.index, self._progress = index, progress
        self.known: list[Known] = []
        of_row: dict[int, list[int]] = defaultdict(list)
        for row, record in enumerate(index.records):
            for one in known_of(record):
                of_row[row].append(len(self.known))
                self.known.append(one)
        self.of_row = dict(of_row)
        self.row_of = {self.known[own[0]].record_id: row for row, own in of_row.items()}
        self.rows: Int64 = np.array([row for row, own in self.of_row.items() for _ in own], np.int64)

    def __len__(self) -> int:
        return len(self.known)

    def nearest(
        self,
        found: Retrieved,
        question: str,
        options: Sequence[str] = (),
        *,
        voters: int = VOTERS,
        picture_weight: float = PICTURE_WEIGHT,
        temperature: float = TEMPERATURE,
        rows: Iterable[int] | None = None,
    ) -> list[Neighbour]:
        """The ``voters`` nearest questions by the cosine of their words plus ``picture_weight`` times that of pictures.

        Where ``options`` are given, those alone that one of them answers; else, where there are any, those that
        something other than yes or no answers. Nothing ineligible in the search ``found`` is among them; ``rows`` are
        the only rows that are looked at. Weights are the softmax of score / ``temperature``, 1 together.
        """
        allowed = self._allowed(options, rows)
        if not len(allowed) or found.search is None:
            return []
        alike = self.alike(question)[allowed]
        near = set(np.argsort(-alike, kind="stable")[:REACH].tolist())
        hits = {hit.record.id for hit in found.context.hits}
        near |= {place for place, i in enumerate(allowed) if self.known[i].record_id in hits}
        places = np.array(sorted(near), np.int64)
        chosen, words = allowed[places], alike[places]
        pictures, slices = self._pictures(found, self.rows[chosen])
        scores = np.round(words + picture_weight * pictures, 5)
        eligible = cache(found.search.eligible)  # a record may answer many questions
        order = (place for place in np.argsort(-scores, kind="stable") if eligible(int(self.rows[chosen[place]])))
        names = list(found.context.query.slices)
        best = [
            self._neighbour(
                self.known[chosen[place]],
                options,
                weight=0.0,
                question_similarity=float(words[place]),
                picture_similarity=float(pictures[place]),
                slice=names[slices[place]] if len(names) > 1 else None,
                duplicate=found.search.duplicates.get(int(self.rows[chosen[place]])),
            )
            for place in islice(order, voters)
        ]
        return weighed(best, voters, picture_weight, temperature)

    def _neighbour(self, known: Known, options: Sequence[str], **facts: Any) -> Neighbour:
        answer = (choose(known.answer, options) if options else None) or known.answer
        return Neighbour(known.record_id, answer, question=known.question, **facts)

    def _allowed(self, options: Sequence[str], rows: Iterable[int] | None) -> Int64:
        places = range(len(self.known)) if rows is None else [i for row in rows for i in self.of_row.get(row, ())]
        answers = {self.known[i].answer for i in places}  # far fewer than questions
        fits = {one: bool(choose(one, options)) if options else key_of(one) not in YES_NO for one in answers}
        fitting = [i for i in places if fits[self.known[i].answer]]
        return np.array(fitting if options else fitting or list(places), np.int64)

    def alike(self, question: str) -> Float32:
        """The cosine of each known question's words with those of ``question``."""
        vectors, of_known = self._vectors
        cosines: Float32 = (vectors @ self.index.encoder.encode_texts([question])[0])[of_known]
        return cosines

    def _pictures(self, found: Retrieved, rows: Int64) -> tuple[Float32, Int64]:
        """The cosine of each row's picture with the query's, of its slices the most alike, and which that is."""
        if found.search is None or found.search.slices is None:
            return np.zeros(len(rows), np.float32), np.zeros(len(rows), np.int64)
        single, back = np.unique(rows, return_inverse=True)
        cosines = np.nan_to_num(self.index.image_embeddings(single) @ found.search.slices.T)
        return cosines.max(axis=1)[back], cosines.argmax(axis=1)[back]

    @cached_property
    def _vectors(self) -> tuple[Float32, Int64]:
        """A vector for each different question, and the place of each known one's."""
        places = {text: place for place, text in enumerate(dict.fromkeys(one.question for one in self.known))}
        vectors = question_vectors(self.index, list(places), self._progress)
        return vectors, np.array([places[one.question] for one in self.known], np.int64)


def shares_of(neighbours: Iterable[Neighbour]) -> dict[str, float]:
    """Each answer, as it was first written, with its share of the weights, largest first; equal ones as they came."""
    totals: Counter[str] = Counter()
    written: dict[str, str] = {}
    for neighbour in neighbours:
        key = key_of(neighbour.answer)
        written.setdefault(key, neighbour.answer)
        totals[key] += neighbour.weight  # type: ignore[assignment]
    whole = sum(totals.values()) or 1
    ranked = sorted(totals, key=lambda key: -round(totals[key], 6))
    return {written[key]: totals[key] / whole for key in ranked}


def weighed(neighbours: Sequence[Neighbour], voters: int, picture_weight: float, temperature: float) -> list[Neighbour]:
    """The ``voters`` of ``neighbours`` with the highest score, with their weights: see ``QuestionMemory.nearest``."""
    if not neighbours:
        return []
    words, pictures = (np.array([getattr(n, f"{of}_similarity") or 0.0 for n in neighbours]) for of in _PARTS)
    scores = np.round(words + picture_weight * pictures, 5)
    order = np.argsort(-scores, kind="stable")[:voters]
    weights = np.exp((scores[order] - scores[order[0]]) / temperature)
    weights /= weights.sum()
    return [replace(neighbours[i], weight=float(weight)) for i, weight in zip(order, weights, strict=True)]


def scaled(neighbours: Sequence[Neighbour]) -> list[Neighbour]:
    """``neighbours`` with weights that add up to 1; all weigh the same where none weighs anything."""
    whole = sum(neighbour.weight for neighbour in neighbours)
    return [replace(n, weight=n.weight / whole if whole > 0 else 1 / len(neighbours)) for n in neighbours]
