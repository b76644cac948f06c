"""What a suite asks: one case an item, with what is right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError
from ragvlm.evaluation.split import Parts, label_of, subject_of, value_of
from ragvlm.evaluation.suite import DIRECTIONS, Suite
from ragvlm.images import open_image
from ragvlm.measures.base import Item
from ragvlm.measures.trec import read_qrels
from ragvlm.readers.questions import questions_of
from ragvlm.types import Query, Record


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is asked.

    ``references`` is what is right, as in ``ragvlm.measures.Item``. ``words`` are the question, or the caption that
    pictures are looked up by; ``pictured`` says whether the picture is shown. ``cluster`` tells subjects apart by
    number, so that no result names one.
    """

    id: str
    record: Record
    cluster: str
    references: Any
    words: str | None = None
    pictured: bool = True
    group: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def query(self, corpus: Corpus) -> Query:
        """The case as a query, its picture read from ``corpus``. Raises ImageError where it can't be decoded."""
        image = open_image(corpus.image_path(self.record)) if self.pictured else None
        return Query(id=self.id, image=image, text=self.words, subject_id=self.record.subject_id)

    def item(self, prediction: Any, **facts: Any) -> Item:
        """The case with what a system predicted for it; ``facts`` come beside its own."""
        return Item(self.id, self.cluster, prediction, self.references, self.group, {**self.facts, **facts})


def cases_of(suite: Suite, parts: Parts) -> tuple[Case, ...]:
    """The cases of ``suite``, in the order of ``parts.queries``; ids are unique.

    Raises InputError naming the suite for two questions of one id, for a label that is none of its classes, for boxes
    that are none, and what ``read_qrels`` raises.
    """
    numbers = {name: n for n, name in enumerate(dict.fromkeys(map(subject_of, parts.queries)), 1)}
    clusters = {record.id: f"s{numbers[subject_of(record)]:05d}" for record in parts.queries}
    make: Callable[[Suite, Parts, Mapping[str, str]], list[Case]] = {
        "describe": _describe, "vqa": _ask, "classify": _classify, "retrieve": _retrieve, "ground": _ground
    }[suite.task]  # fmt: skip
    cases = make(suite, parts, clusters)
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise InputError(f"{suite.file}: two questions have the id {case.id!r}; give each its own")
        seen.add(case.id)
    return tuple(cases)


def _describe(suite: Suite, parts: Parts, clusters: Mapping[str, str]) -> list[Case]:
    return [_case(suite, record, clusters, (record.caption,)) for record in parts.queries]


def _classify(suite: Suite, parts: Parts, clusters: Mapping[str, str]) -> list[Case]:
    cases = [_case(suite, r, clusters, label_of(value_of(r, str(suite.label)))) for r in parts.queries]
    if not suite.classes:
        return cases
    if other := next((case for case in cases if case.references not in suite.classes), None):
        raise InputError(
            f"{suite.file}: {suite.label} of {other.id!r} is {other.references!r}, none of the classes "
            f"{', '.join(suite.classes)}"
        )
    return [replace(case, facts={**case.facts, "classes": list(suite.classes)}) for case in cases]


def _ground(suite: Suite, parts: Parts, clusters: Mapping[str, str]) -> list[Case]:
    return [_case(suite, record, clusters, _boxes(suite, record)) for record in parts.queries]


def _case(suite: Suite, record: Record, clusters: Mapping[str, str], references: Any) -> Case:
    group = value_of(record, suite.group) if suite.group else None
    return Case(
        id=record.id,
        record=record,
        cluster=clusters[record.id],
        references=references,
        group=None if group is None else label_of(group),
        facts={"labels": dict(record.labels)} if record.labels else {},
    )


def _ask(suite: Suite, parts: Parts, clusters: Mapping[str, str]) -> list[Case]:
    cases = []
    for record in parts.queries:
        for number, question in enumerate(questions_of(record), 1):
            group = question.get(suite.group, value_of(record, suite.group)) if suite.group else None
            answers = question.get("answers") or [question.get("answer", "")]
            names = ("question", "question_type", "answer_type", "choices")
            cases.append(
                Case(
                    id=str(question.get("qid", f"{record.id}:{number}")),
                    record=record,
                    cluster=clusters[record.id],
                    references=tuple(map(str, answers)),
                    words=str(question["question"]),
                    group=None if group is None else label_of(group),
                    facts={name: question[name] for name in names if name in question},
                )
            )
    return cases


def _retrieve(suite: Suite, parts: Parts, clusters: Mapping[str, str]) -> list[Case]:
    rule = suite.relevance
    if rule is None or rule.by == "labels":
        relevant = _by_labels(rule.labels if rule else (), parts)
        return [_case(suite, record, clusters, relevant(record)) for record in parts.queries]
    if rule.by == "caption":
        return [case for way in rule.directions for case in _paired(way, parts, clusters)]
    qrels = read_qrels(rule.qrels) if rule.qrels else {}
    judged = [record for record in parts.queries if record.id in qrels]
    if not judged:
        raise InputError(f"{suite.file}: {rule.qrels} judges none of the {len(parts.queries)} queries; look at its ids")
    return [_case(suite, record, clusters, qrels[record.id]) for record in judged]


def _by_labels(labels: Sequence[str], parts: Parts) -> Callable[[Record], dict[str, int]]:
    """Queries of equal labels share one mapping: a large corpus has many documents to a label."""
    having: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for record in parts.index:
        having[_values(record, labels)][record.id] = 1
    own: dict[str, set[str]] = defaultdict(set)
    for record in parts.index:
        own[subject_of(record)].add(record.id)

    def relevant(record: Record) -> dict[str, int]:
        found = having.get(_values(record, labels), {})
        hidden = own.get(subject_of(record), set()) if parts.own == "hide" else {record.id}
        return found if hidden.isdisjoint(found) else {name: 1 for name in found if name not in hidden}

    return relevant


def _values(record: Record, labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(label_of(value_of(record, label)) for label in labels)


def _paired(way: str, parts: Parts, clusters: Mapping[str, str]) -> list[Case]:
    """Pictures whose caption is word for word the same are relevant to each other: nothing tells them apart."""
    same: dict[str, dict[str, int]] = defaultdict(dict)
    for record in parts.queries:
        same[str(record.caption)][record.id] = 1
    by_words = way == DIRECTIONS[1]
    return [
        Case(
            id=f"{record.id}@{way}",
            record=record,
            cluster=clusters[record.id],
            references=same[str(record.caption)],
            words=record.caption if by_words else None,
            pictured=not by_words,
            group=way,
        )
        for record in parts.queries
    ]


def _boxes(suite: Suite, record: Record) -> list[dict[str, Any]]:
    boxes = record.extra.get("boxes")
    out = []
    for number, box in enumerate(boxes if isinstance(boxes, list) else [], 1):
        corners = box.get("bbox") if isinstance(box, Mapping) else None
        if not isinstance(corners, list) or len(corners) != 4 or not all(isinstance(c, (int, float)) for c in corners):
            raise InputError(
                f"{suite.file}: box {number} of {record.id!r} is no object with bbox [xmin, ymin, xmax, ymax]"
            )
        out.append({"bbox": [float(c) for c in corners], "label": label_of(box.get("label", ""))})
    return out
