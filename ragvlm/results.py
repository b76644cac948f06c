"""What is found, as JSON; the tasks beside description find frozen classes, a person's lines by ``str``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ragvlm.types import Context, Description, Evidence, Hit, Record


@dataclass(frozen=True, slots=True)
class Classification:
    """How probable each label is for one picture: ``probabilities[i]``, in [0, 1], is that of ``labels[i]``.

    ``rule`` says how they came about: "softmax" shares 1 among the labels, "sigmoid" judges each label by itself.
    ``temperature`` is what they were calibrated by, None where they weren't. ``prediction_set`` holds the labels that
    can't be ruled out at level ``alpha``; both are None where none was asked for. ``neighbours`` are the references
    behind the numbers, where there are such; of a volume ``slice`` names the one with the highest top probability.
    """

    query_id: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    rule: str
    classifier: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    temperature: float | None = None
    alpha: float | None = None
    prediction_set: tuple[str, ...] | None = None
    neighbours: tuple[Hit, ...] = ()
    slice: str | None = None

    @property
    def ranked(self) -> tuple[tuple[str, float], ...]:
        """Label and probability, highest first; equal ones in the order of the labels."""
        return tuple(sorted(zip(self.labels, self.probabilities, strict=True), key=lambda pair: -pair[1]))

    @property
    def top(self) -> tuple[str, float]:
        """The most probable label and its probability."""
        return self.ranked[0]

    @property
    def calibrated(self) -> bool:
        """Whether the probabilities were calibrated on labelled records."""
        return self.temperature is not None

    @property
    def set_words(self) -> str:
        """The prediction set as a sentence; "" where none was asked for."""
        if self.prediction_set is None or self.alpha is None:
            return ""
        level = f"{1 - self.alpha:.4g}".removeprefix("0")
        return f"at level {level}: {', '.join(self.prediction_set) or 'none of the labels'}"

    def label_of(self, hit: Hit) -> str | None:
        """The label of one of the neighbours, in the column that was learnt from."""
        from ragvlm.modalities.metadata import value_of

        return value_of(hit.record, str(self.provenance.get("index", {}).get("column")))

    def __str__(self) -> str:
        lines = [f"{probability:7.2%}  {label}" for label, probability in self.ranked]
        return "\n".join([*lines, *([self.set_words] if self.set_words else [])])

    def _repr_html_(self) -> str:
        from ragvlm.notebook import card, hits_table, lines, table

        rows = table(("probability", "label"), ((f"{p:.2%}", label) for label, p in self.ranked))
        said = lines(self.set_words, "calibrated" if self.calibrated else "not calibrated")
        return card(self.query_id, rows, said, hits_table(self.neighbours) if self.neighbours else "")

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """The object that ``ragvlm classify --json`` prints, with the ``top`` most probable labels [all]."""
        out: dict[str, Any] = {
            "image": self.query_id,
            "probabilities": [{"label": label, "probability": round(p, 6)} for label, p in self.ranked[:top]],
            "rule": self.rule,
            "classifier": self.classifier,
            "calibrated": self.calibrated,
            "temperature": None if self.temperature is None else round(self.temperature, 6),
        }
        if self.prediction_set is not None:
            out |= {"alpha": self.alpha, "prediction_set": list(self.prediction_set)}
        if self.neighbours:
            out["neighbours"] = [hit_to_dict(hit) | {"label": self.label_of(hit)} for hit in self.neighbours]
        out |= {"slice": self.slice} if self.slice is not None else {}
        return out | dict(self.provenance)

    def to_json(self) -> str:
        """``to_dict`` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What one reference answers: ``weight`` is its share of the vote, all together 1.

    ``question`` is the reference's own, with its similarity to what is asked; None where the answer was read from a
    caption. ``slice`` names the query's slice that its picture is most like, where the query is a volume;
    ``duplicate`` is that of a Hit.
    """

    record_id: str
    answer: str
    weight: float
    question: str | None = None
    question_similarity: float | None = None
    picture_similarity: float | None = None
    slice: str | None = None
    duplicate: str | None = None

    @property
    def told(self) -> str:
        """The question with its answer, or the answer alone."""
        return f"{self.question} {self.answer}" if self.question else self.answer


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question about a picture, or the refusal to give one.

    ``answer`` is empty when ``abstained``; ``reason`` then says why. ``options`` are the answers that were allowed,
    empty for an open question. ``shares`` are the answers of the references with their share of the vote, largest
    first; ``confidence`` in [0, 1] is that of ``answer``, times ``probability``, which is the generator's own among the
    options, None where it tells none. ``contradiction`` says in words that the references disagree. ``slice`` names the
    slice of a volume that decided. ``timings`` are seconds of wall time by step.
    """

    query_id: str
    question: str
    answer: str
    options: tuple[str, ...]
    shares: tuple[tuple[str, float], ...]
    neighbours: tuple[Neighbour, ...]
    evidence: tuple[Evidence, ...]
    context: Context
    abstained: bool
    confidence: float
    reason: str | None = None
    contradiction: str | None = None
    probability: float | None = None
    slice: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.abstained:
            return f"Abstained: {self.reason}"
        decided = f" Decided by {self.slice}." if self.slice else ""
        return f"{self.answer}{decided}" + (f" {self.contradiction}" if self.contradiction else "")

    def _repr_html_(self) -> str:
        from ragvlm.notebook import answer_card

        return answer_card(self)

    def to_dict(self) -> dict[str, Any]:
        """The object that ``ragvlm ask --json`` prints, made of JSON types alone."""
        return {
            "image": self.query_id,
            "question": self.question,
            "answer": self.answer,
            "options": list(self.options),
            "abstained": self.abstained,
            "reason": self.reason,
            "confidence": round(self.confidence, 4),
            "probability": None if self.probability is None else round(self.probability, 4),
            "contradiction": self.contradiction,
            "slice": self.slice,
            "shares": [{"answer": answer, "share": round(share, 4)} for answer, share in self.shares],
            "evidence": [evidence_to_dict(item) for item in self.evidence],
            "neighbours": [_rounded(asdict(neighbour)) for neighbour in self.neighbours],
            "provenance": dict(self.provenance),
            "timings": _rounded(self.timings),
        }


@dataclass(frozen=True, slots=True)
class ImageDifference:
    """One thing in which two pictures differ: ``kind`` is "label", "number" or "statement".

    ``name`` is the label's or the counted thing's. ``a`` and ``b`` say it of each picture, with the references behind
    it; None where nothing is said of that one. ``confidence`` in [0, 1] is the share of the references that differ,
    resp. that support the statement.
    """

    kind: str
    name: str
    a: str | None
    b: str | None
    evidence_a: Evidence | None
    evidence_b: Evidence | None
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """The difference as JSON types."""
        sides = {"evidence_a": self.evidence_a, "evidence_b": self.evidence_b}
        told = {name: None if item is None else evidence_to_dict(item) for name, item in sides.items()}
        facts = {"kind": self.kind, "name": self.name, "a": self.a, "b": self.b, "confidence": self.confidence}
        return _rounded(facts) | told


@dataclass(frozen=True, slots=True)
class ImageComparison:
    """What differs between two pictures, surest findings first, and the statements that both share.

    ``a`` and ``b`` are the pictures' descriptions, with their references. ``abstained`` where one is refused;
    ``reason`` then says which, and why.
    """

    a: Description
    b: Description
    differences: tuple[ImageDifference, ...]
    shared: tuple[tuple[Evidence, Evidence], ...]
    abstained: bool = False
    reason: str | None = None

    def __str__(self) -> str:
        if self.abstained:
            return f"Abstained: {self.reason}"
        lines = [f"first: {d.a or '-'} second: {d.b or '-'} ({d.confidence:.2f})" for d in self.differences]
        lines += [f"both: {own.sentence}" for own, _ in self.shared]
        return "\n".join(lines) or "The references tell no difference."

    def _repr_html_(self) -> str:
        from ragvlm.notebook import comparison_card

        return comparison_card(self)

    def to_dict(self) -> dict[str, Any]:
        """The object that ``ragvlm compare-images --json`` prints, made of JSON types alone."""
        return {
            "images": [self.a.query_id, self.b.query_id],
            "abstained": self.abstained,
            "reason": self.reason,
            "differences": [difference.to_dict() for difference in self.differences],
            "shared": [{"a": evidence_to_dict(a), "b": evidence_to_dict(b)} for a, b in self.shared],
            "descriptions": [self.a.to_dict(), self.b.to_dict()],
        }


def _rounded(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in facts.items()}


def description_to_dict(description: Description) -> dict[str, Any]:
    """``Description.to_dict``."""
    return {
        "image": description.query_id,
        "text": description.text,
        "abstained": description.abstained,
        "reason": description.reason,
        "confidence": round(description.confidence, 4),
        "evidence": [evidence_to_dict(item) for item in description.evidence],
        "neighbours": [hit_to_dict(hit, provenance=True) for hit in description.context.hits],
        "provenance": dict(description.provenance),
        "timings": _rounded(description.timings),
    }


def evidence_to_dict(item: Evidence) -> dict[str, Any]:
    """A sentence with its references as JSON types."""
    return {"sentence": item.sentence, "record_ids": list(item.record_ids), "support": round(item.support, 4)}


def hit_to_dict(hit: Hit, *, provenance: bool = False) -> dict[str, Any]:
    """``hit`` as JSON types: rank, id, score, caption, image; with ``provenance`` source, licence, duplicate too."""
    out: dict[str, Any] = {
        "rank": hit.rank,
        "id": hit.record.id,
        "score": round(hit.score, 6),
        "caption": hit.record.caption,
        "image": hit.record.image,
    }
    out |= {"slice": hit.slice} if hit.slice is not None else {}
    out |= {"query_slice": hit.query_slice} if hit.query_slice is not None else {}
    if "region" in hit.record.extra:
        out["region"] = hit.record.extra["region"]
    if provenance:
        out |= {"source": hit.record.source, "licence": hit.record.licence, "duplicate": hit.duplicate}
    return out


def region_words(record: Record) -> str:
    """Where on its slide a tile lies, in pixels of level 0 and in µm; "" for any other record."""
    region = record.extra.get("region")
    if not isinstance(region, Mapping) or not {"x", "y", "width", "height"} <= region.keys():
        return ""
    words = "x {x}, y {y}, {width} x {height} pixels".format(**region)
    um = region.get("um")
    return (
        f"{words}; {um[0]:g}, {um[1]:g}, {um[2]:g} x {um[3]:g} µm" if isinstance(um, list) and len(um) == 4 else words
    )
