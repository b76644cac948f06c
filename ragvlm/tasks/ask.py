"""Ask: a question about a picture, answered from the references that are near to both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ragvlm.abstain import NEIGHBOURS, Verdict, judge
from ragvlm.describe import Clock, Describer
from ragvlm.errors import InputError
from ragvlm.language.asking import key_of, options_of
from ragvlm.prompt import clean
from ragvlm.queries import as_query, small
from ragvlm.results import Answer, Neighbour
from ragvlm.retrieve import Retrieved, retrieve
from ragvlm.tasks import answerers, reading
from ragvlm.tasks.memory import PICTURE_WEIGHT, VOTERS, QuestionMemory, shares_of
from ragvlm.types import Evidence, Query

CONTRADICTED = 1 / 3
"""The share of the vote from which another answer to a closed question contradicts the first."""
PICTURES = 50  # how many nearest pictures bring their questions, whatever those are


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for one question: the search, and the references' answers with their weights."""

    retrieved: Retrieved
    neighbours: tuple[Neighbour, ...]


class Asker:
    """Answers questions with the index, the generator and the options of ``describer``.

    Where the index's records answer questions, the nearest by picture and question together vote; else what is asked
    is read from the captions and labels of the nearest records. Generator "consensus" gives the vote, "nearest" the
    nearest's answer; another generator is shown the nearest and answers itself, a closed question by one of its
    options.

    voters: how many neighbours' questions vote. picture_weight: what a picture's similarity counts beside that of the
    question's words, 0 or more. progress: shows how far the vectors of the index's questions are, where they are made.

    Raises InputError for a number out of range and a generator that hears no question.
    """

    def __init__(
        self,
        describer: Describer,
        *,
        voters: int = VOTERS,
        picture_weight: float = PICTURE_WEIGHT,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if voters < 1:
            raise InputError(f"voters is {voters}: choose 1 or more")
        if not 0 <= picture_weight < float("inf"):
            raise InputError(f"picture_weight is {picture_weight}: choose 0 or more")
        self.describer, self.voters, self.picture_weight = describer, voters, picture_weight
        self._progress = progress
        answerers.check(describer.generator)

    @cached_property
    def memory(self) -> QuestionMemory:
        """The answered questions of the index."""
        return QuestionMemory(self.describer.index, self._progress)

    def __call__(self, image: Any, question: str, options: Sequence[str] | None = None, **known: Any) -> Answer:
        """Answer ``question`` about one picture (a path, a PIL image, an array, a Query).

        ``options`` are the answers that are allowed; None takes them from the question (yes and no, or the two that
        "or" joins), an empty list lets any answer stand. ``known`` is subject_id, metadata and regions, as for a
        Describer. Raises ImageError for a picture that can't be decoded, InputError for an empty question and for
        options that are not at least two different ones.
        """
        clock = Clock(1)
        with clock("decode"):
            query = as_query(image, picture=True, **known)
        if query.image is None:
            raise InputError(f"{query.id!r} is words: give a picture to ask about")
        return self.answer(replace(query, text=question), options, clock=clock)

    def answer(
        self,
        query: Query,
        options: Sequence[str] | None = None,
        *,
        rows: Iterable[int] | None = None,
        search: Any = None,
        clock: Clock | None = None,
    ) -> Answer:
        """Answer the words of ``query``; of the index only ``rows`` are looked at, with the options ``search``."""
        question, clock = query.text or "", clock or Clock(1)
        chosen = checked_options(question, options)
        with clock("retrieve"):
            found = self.find(query, chosen, rows, search)
        verdict = judge(found.retrieved.nearest, self.describer.calibration, self.describer.alpha)
        said = answerers.Said()
        if found.neighbours and not verdict.abstain:
            with clock("generate"):
                said = answerers.answer(self.describer, found.retrieved.context, found.neighbours, chosen)
        with clock("evidence"):
            evidence = self._evidence(said.answer, found) if said.answer else ()
        return self._assemble(query, chosen, found, verdict, said, evidence, clock)

    def find(
        self, query: Query, options: Sequence[str], rows: Iterable[int] | None = None, search: Any = None
    ) -> Found:
        """The references near to picture and question, and what they answer."""
        index, search = self.describer.index, search or self.describer.search
        if not len(self.memory):
            return Found(*reading.find(self.describer, query, options, search))
        search = replace(search, mode="image", with_text=False)
        found = retrieve(index, [query], PICTURES, search, nearest=NEIGHBOURS)[0]
        neighbours = self.memory.nearest(
            found, query.text or "", options, voters=self.voters, picture_weight=self.picture_weight, rows=rows
        )
        context = reading.context_of(index, self.memory.row_of, found.context, neighbours, self.describer.k)
        return Found(replace(found, context=context), tuple(neighbours))

    def _evidence(self, answer: str, found: Found) -> tuple[Evidence, ...]:
        """The references that answer the same, heaviest first; else those that support the words of the answer."""
        agreeing = [n for n in found.neighbours if key_of(n.answer) == key_of(answer)]
        if agreeing:
            ids = tuple(dict.fromkeys(neighbour.record_id for neighbour in agreeing))
            return (Evidence(answer, ids, min(1.0, sum(neighbour.weight for neighbour in agreeing))),)
        return self.describer.checker.check(answer, found.retrieved.context)

    def _assemble(
        self,
        query: Query,
        options: tuple[str, ...],
        found: Found,
        verdict: Verdict,
        said: answerers.Said,
        evidence: tuple[Evidence, ...],
        clock: Clock,
    ) -> Answer:
        shares = shares_of(found.neighbours)
        reason = self._reason(found, verdict, said, evidence)
        share = next((part for other, part in shares.items() if key_of(other) == key_of(said.answer)), None)
        if share is None:  # in words of its own
            share = max((item.support for item in evidence if item.supported), default=0.0) if not options else 0.0
        return Answer(
            query_id=query.id,
            question=query.text or "",
            answer="" if reason else said.answer,
            options=options,
            shares=tuple(shares.items()),
            neighbours=found.neighbours,
            evidence=() if reason else evidence,
            context=replace(found.retrieved.context, query=small(query)),
            abstained=reason is not None,
            confidence=0.0 if reason else min(1.0, share * (1.0 if said.probability is None else said.probability)),
            reason=reason,
            contradiction=None if reason else contradiction(said.answer, shares, closed=bool(options)),
            probability=said.probability,
            slice=None if reason else said.slice or deciding_slice(said.answer, found.neighbours),
            provenance=self._provenance(query, verdict),
            timings=clock.seconds,
        )

    def _reason(self, found: Found, verdict: Verdict, said: answerers.Said, evidence: Sequence[Evidence]) -> str | None:
        """Why nothing is said, or None."""
        if verdict.abstain:
            return verdict.reason
        if not found.neighbours:
            return "no reference that may be used says anything to this question"
        if not said.answer:
            return f"generator {self.describer.generator.name!r} gave no answer that is allowed"
        if not any(item.supported for item in evidence) and not self.describer.keep_unsupported:
            return f"no reference supports the answer {said.answer!r}"
        return None

    def _provenance(self, query: Query, verdict: Verdict) -> dict[str, Any]:
        settings = self.describer.settings(query.text)
        settings["parameters"] |= {"voters": self.voters, "picture_weight": self.picture_weight, "template": "ask"}
        return {**settings, "answered_questions": len(self.memory), "abstention": verdict.to_dict()}


def checked_options(question: str, options: Sequence[str] | None) -> tuple[str, ...]:
    """The answers that are allowed. Raises InputError for an empty question and for fewer than two of them."""
    if not clean(question):
        raise InputError("the question is empty: ask something")
    if options is None:
        return options_of(question)
    chosen = tuple(option.strip() for option in options)
    if chosen and (len({key_of(option) for option in chosen}) < max(len(chosen), 2) or not all(map(key_of, chosen))):
        raise InputError(f"options are {', '.join(chosen)!r}: give two or more different answers")
    return chosen


def contradiction(answer: str, shares: dict[str, float], *, closed: bool) -> str | None:
    """That the references disagree, in words; None where they don't.

    Closed questions: another answer has a third of the vote or more. Open ones: ``answer`` has less than half of it.
    """
    rivals = {other: share for other, share in shares.items() if key_of(other) != key_of(answer)}
    most = max(rivals.values(), default=0.0)
    if most < CONTRADICTED if closed else sum(rivals.values()) <= 0.5:
        return None
    told = ", ".join(f"{other} {share:.0%}" for other, share in list(shares.items())[:3])
    return f"The references contradict each other: {told}." if closed else f"The references differ: {told}."


def deciding_slice(answer: str, neighbours: Sequence[Neighbour]) -> str | None:
    """The slice of the query that most of the weight behind ``answer`` is nearest to; None without slices."""
    weights: dict[str, float] = {}
    for neighbour in neighbours:
        if neighbour.slice is not None and key_of(neighbour.answer) == key_of(answer):
            weights[neighbour.slice] = weights.get(neighbour.slice, 0.0) + neighbour.weight
    return max(weights, key=lambda name: weights[name]) if weights else None


def ask(describer: Describer, image: Any, question: str, options: Sequence[str] | None = None, **known: Any) -> Answer:
    """Answer one question about one picture: see ``Asker``, which is better kept for many."""
    return Asker(describer)(image, question, options, **known)
