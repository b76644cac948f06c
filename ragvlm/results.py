"""What is found, as JSON; the tasks beside description find frozen classes, a person's lines by ``str``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ragvlm.types import Description, Evidence, Hit, Record


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
        "timings": {name: round(seconds, 4) for name, seconds in description.timings.items()},
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
