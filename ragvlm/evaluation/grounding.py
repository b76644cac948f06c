"""The systems of a ground suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ragvlm.errors import InputError
from ragvlm.evaluation.bench import NOTHING, Asked, Bench, System
from ragvlm.regions.learn import regions_of
from ragvlm.regions.neighbours import see, vectors_of
from ragvlm.regions.records import boxes_of
from ragvlm.types import Record

NEIGHBOURS = "neighbours"


def ground_systems(bench: Bench, given: Sequence[Any], records: Sequence[Record]) -> list[System]:
    """Regions by those of the index, and the mandatory baseline: the boxes of the nearest picture as they are.

    ``records`` are those of the index's side. Raises InputError for another system, and what ``regions_of`` raises.
    """
    wrong = [name for name in given if name != NEIGHBOURS]
    if wrong:
        raise InputError(f"unknown way to ground {wrong[0]!r}: a run has {NEIGHBOURS!r}; score others' boxes")
    boxes = {
        record.id: [{"label": n, "bbox": list(e), "score": 1.0} for n, e in boxes_of(record)] for record in records
    }
    return [
        System(NEIGHBOURS, _Seeing(bench), given=NOTHING, note="segmented, and named by the index's regions"),
        System("nearest boxes", lambda asked: [_copied(item, boxes) for item in asked], "baseline", k=bench.k,
               looks=False, note="the boxes of the nearest picture, as they are"),
    ]  # fmt: skip


class _Seeing:
    """The regions of all labels; what is gathered of the index is read by the first question."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.regions = regions_of(bench.index)
        self.vectors = vectors_of(bench.index, self.regions)

    def __call__(self, asked: Sequence[Asked]) -> list[dict[str, Any]]:
        return [self._one(item) for item in asked]

    def _one(self, item: Asked) -> dict[str, Any]:
        image, regions = item.found.context.query.image, self.regions
        hidden = self.bench.options(item.case.record).exclude_ids
        seen = see(regions, image, hidden)  # type: ignore[arg-type]
        vector = self.bench.index.encoder.encode_images([image])[0]  # type: ignore[list-item]
        boxes = [
            {"label": region.label, "bbox": [round(e, 2) for e in region.box], "score": round(region.score, 4)}
            for label in regions.labels
            for region in seen.found(label, masks=False)
        ]
        expected = {label: round(seen.expected(label, vector, self.vectors), 3) for label in regions.labels}
        return {"prediction": boxes, "expected": expected}


def _copied(item: Asked, boxes: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    hits = item.found.context.hits
    return {"prediction": boxes.get(hits[0].record.id, []) if hits else []}
