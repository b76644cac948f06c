"""What is found, as JSON; the tasks beside description find frozen classes, a person's lines by ``str``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ragvlm.types import Description, Evidence, Hit, Record


@dataclass(frozen=True, slots=True)
class Classification:
    """How probable each label is for one picture: ``probabilities[i]``, in [0, 1], is that of ``labels[i]``.

    ``rule`` says how they came about: "softmax" shares 1 among the labels, "sigmoid" judges each label by itself.
    """

    query_id: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    rule: str
    classifier: str
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ranked(self) -> tuple[tuple[str, float], ...]:
        """Label and probability, highest first; equal ones in the order of the labels."""
        return tuple(sorted(zip(self.labels, self.probabilities, strict=True), key=lambda pair: -pair[1]))

    @property
    def top(self) -> tuple[str, float]:
        """The most probable label and its probability."""
        return self.ranked[0]

    def __str__(self) -> str:
        return "\n".join(f"{probability:7.2%}  {label}" for label, probability in self.ranked)

    def _repr_html_(self) -> str:
        from ragvlm.notebook import card, table

        return card(self.query_id, table(("probability", "label"), ((f"{p:.2%}", label) for label, p in self.ranked)))

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """The object that ``ragvlm classify --json`` prints, with the ``top`` most probable labels [all]."""
        return {
            "image": self.query_id,
            "probabilities": [{"label": label, "probability": round(p, 6)} for label, p in self.ranked[:top]],
            "rule": self.rule,
            "classifier": self.classifier,
            **self.provenance,
        }


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
