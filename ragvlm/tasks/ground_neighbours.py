"""Grounding by the regions of an index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ragvlm.index import Index
from ragvlm.regions.found import FoundRegion, Grounding
from ragvlm.regions.learn import regions_of
from ragvlm.regions.neighbours import hidden_records, see, vectors_of
from ragvlm.regions.phrases import label_for
from ragvlm.tasks.ground import assemble, pictures_of
from ragvlm.types import Query

if TYPE_CHECKING:
    from ragvlm.regions.store import Regions


def by_neighbours(
    query: Query,
    phrase: str,
    index: Index | str | Path | None,
    threshold: float | None,
    subject_id: str | None,
    exclude_ids: frozenset[str],
    progress: Callable[[int, int], None] | None,
) -> Grounding:
    """``phrase`` on the picture, or on each slice of a volume: see ``ragvlm.tasks.ground.ground``."""
    opened = index if isinstance(index, Index) else Index.open(str(index))
    regions = regions_of(opened, progress)
    label = label_for(phrase, regions.labels, opened.encoder.encode_texts)
    settings = {"index_fingerprint": opened.fingerprint, "labels": list(regions.labels)}
    if label is None:
        found = assemble(query, phrase, (), "neighbours", **settings)
        known = ", ".join(repr(name) for name in regions.labels)
        return replace(found, abstained=True, reason=f"{phrase!r} is none of the index's labels: {known}")
    hidden = hidden_records(opened, subject_id, exclude_ids)
    found_regions: list[FoundRegion] = []
    expected = 0.0
    vectors = vectors_of(opened, regions)
    for part, image in pictures_of(query):
        seen = see(regions, image, hidden)
        found_regions += [replace(one, part=part) for one in seen.found(label, threshold)]
        expected += seen.expected(label, opened.encoder.encode_images([image])[0], vectors)
    found = assemble(query, phrase, found_regions, "neighbours", **settings, measured=_measured(regions, label))
    return replace(found, label=label, expected=expected)


def _measured(regions: Regions, label: str) -> dict[str, float]:
    """How well the label's regions are found among the index's own pictures."""
    told = regions.measured[label]
    return {name: round(told[name], 4) for name in ("threshold", "precision", "recall", "f1", "count_error")}
