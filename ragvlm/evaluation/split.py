"""Which records are asked about and which may be retrieved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ragvlm.errors import InputError
from ragvlm.evaluation.sources import Foreign
from ragvlm.evaluation.suite import Suite
from ragvlm.readers.questions import answer_of, questions_of
from ragvlm.types import Record


@dataclass(frozen=True, slots=True)
class Parts:
    """Records asked about, and those that may be retrieved for them, each in the order of the corpus.

    A question is on one side alone: a record that has some of both stands on both sides, each time with its own.
    ``own`` says what becomes of references of a query's own subject: "hide" (leave them out of what is retrieved),
    "keep" (leave them in, and say so loudly) or "wanted" (the paired caption is what is looked for).
    """

    queries: tuple[Record, ...] = field(repr=False)
    index: tuple[Record, ...] = field(repr=False)
    own: str = "hide"


def parts_of(suite: Suite, records: Iterable[Record]) -> Parts:
    """The two sides of ``suite``. The same for the same records and seed, in whatever order they come.

    Records that a task can't use are left out: without a picture, and without what is right (a caption, the label,
    the labels of the relevance rule, questions, boxes), as a query; without text or label as a reference.
    In a suite of questions, a reference without a caption gets its questions and answers as one.

    Raises InputError, naming the suite, where a side stays empty, or where the column of an official split is absent.
    """
    usable = [record for record in records if _answerable(suite, record)]
    split = suite.split
    if not usable:
        raise InputError(f"{suite.file}: no record has a picture and {_WANTED[suite.task]}; look at corpus and columns")
    if split.by == "leave-one-out":
        queries, index = usable, usable
    elif split.by == "subject":
        queries, index = _by_subject(suite, usable)
    else:
        queries, index = _official(suite, usable)
    queries = drawn(queries, split.limit, split.seed)
    if suite.relevance is not None and suite.relevance.by == "caption":
        return Parts(tuple(queries), tuple(queries), "wanted")
    if suite.task == "vqa":
        index = [_with_answers(record) for record in index]
    return Parts(tuple(queries), tuple(index), split.own_subject)


def subject_of(record: Record) -> str:
    """What intervals and splits hold together: the subject, else the record alone."""
    return record.subject_id if record.subject_id is not None else f"record {record.id}"


def value_of(record: Record, column: str) -> Any:
    """A label of the record, else one of its other columns, else None."""
    if column in record.labels:
        return record.labels[column]
    return record.modality if column == "modality" else record.extra.get(column)


def shuffled(names: set[str], seed: int) -> list[str]:
    """``names`` in an order drawn by ``seed``."""
    # by hashes, not by a generator: the same on every machine and version, and a new name moves no other
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


_WANTED = {
    "describe": "a caption",
    "retrieve": "what the relevance rule needs",
    "classify": "the label",
    "vqa": "questions",
    "ground": "boxes",
}


def _answerable(suite: Suite, record: Record) -> bool:
    if record.image is None or (suite.foreign is not None and is_held_out(suite.foreign, record)):
        return False
    checks: Mapping[str, Callable[[], bool]] = {
        "describe": lambda: bool(record.caption),
        "classify": lambda: value_of(record, str(suite.label)) is not None,
        "vqa": lambda: bool(questions_of(record)),
        "ground": lambda: bool(record.extra.get("boxes")),
        "retrieve": lambda: _relevant_at_all(suite, record),
    }
    return checks[suite.task]()


def _relevant_at_all(suite: Suite, record: Record) -> bool:
    rule = suite.relevance
    if rule is None or rule.by == "qrels":
        return True
    if rule.by == "caption":
        return bool(record.caption)
    return all(value_of(record, label) is not None for label in rule.labels)


def _by_subject(suite: Suite, records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    subjects = shuffled({subject_of(record) for record in records}, suite.split.seed)
    if len(subjects) < 2:
        raise InputError(f"{suite.file}: all records are of one subject; split by 'official' or 'leave-one-out'")
    count = min(max(round(suite.split.fraction * len(subjects)), 1), len(subjects) - 1)
    asked = set(subjects[:count])
    return [r for r in records if subject_of(r) in asked], [r for r in records if subject_of(r) not in asked]


def _official(suite: Suite, records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    split = suite.split
    pieces = [(value, piece) for record in records for value, piece in _pieces(suite, record)]
    without = [piece.id for value, piece in pieces if value is None]
    if without:
        shown = ", ".join(map(repr, without[:5]))
        raise InputError(
            f"{suite.file}: {len(without)} records have no {split.column!r}, as {shown}: look at split.column"
        )
    there = {value for value, _ in pieces if value is not None}
    for name in (*split.queries, *split.index):
        if name not in there:
            raise InputError(
                f"{suite.file}: no record has {split.column} {name!r}; there are {', '.join(sorted(there))}"
            )
    queries = [piece for value, piece in pieces if value in split.queries]
    index = [p for value, p in pieces if (value in split.index if split.index else value not in split.queries)]
    if not index:
        raise InputError(f"{suite.file}: nothing is left to index; all records have {split.column} of split.queries")
    return _merged(queries), _merged(index)


def _pieces(suite: Suite, record: Record) -> list[tuple[str | None, Record]]:
    """The record by parts of the official split: whole, or, where its questions have it, with those of each part."""
    column = suite.split.column
    asked = questions_of(record) if suite.task == "vqa" else []
    if not any(column in question for question in asked):
        value = value_of(record, column)
        return [(None if value is None else str(value), record)]
    values = dict.fromkeys(None if q.get(column) is None else str(q[column]) for q in asked)
    return [(value, _only(record, [q for q in asked if str(q.get(column)) == str(value)])) for value in values]


def _only(record: Record, questions: list[Mapping[str, Any]]) -> Record:
    return replace(record, extra={**record.extra, "questions": questions})


def _merged(pieces: Sequence[Record]) -> list[Record]:
    """Pieces of one record that fell on the same side, as one."""
    found: dict[str, Record] = {}
    for piece in pieces:
        known = found.get(piece.id)
        found[piece.id] = piece if known is None else _only(known, questions_of(known) + questions_of(piece))
    return list(found.values())


def is_held_out(foreign: Foreign, record: Record) -> bool:
    """Whether ``record`` of the suite's own corpus is one of its foreign queries."""
    return foreign.source is None and label_of(value_of(record, foreign.column)) in foreign.values


def label_of(value: Any) -> str:
    """A label as the text that predictions are compared with: "true" and "false" for truth values."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def drawn(records: list[Record], limit: int | None, seed: int) -> list[Record]:
    """At most ``limit`` of ``records``, drawn by ``seed``, in their order."""
    if limit is None or len(records) <= limit:
        return records
    chosen = set(shuffled({record.id for record in records}, seed)[:limit])
    return [record for record in records if record.id in chosen]


def _with_answers(record: Record) -> Record:
    if record.caption:
        return record
    pairs = (f"{q['question']} {answer_of(q)}" for q in questions_of(record))
    return replace(record, caption=" ".join(f"{pair.rstrip('. ')}." for pair in pairs))
