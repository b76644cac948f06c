"""The regions that a corpus's records bring, and the size of their pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ragvlm.errors import RagvlmError
from ragvlm.regions.found import Edges
from ragvlm.types import Record


def boxes_of(record: Record) -> list[tuple[str, Edges]]:
    """Label and [xmin, ymin, xmax, ymax] in pixels of each box in ``extra["boxes"]``; those without area are left out.

    Boxes without a label are called "region".
    """
    found: list[tuple[str, Edges]] = []
    boxes = record.extra.get("boxes")
    for box in boxes if isinstance(boxes, list) else []:
        label, edges = (box.get("label"), box.get("bbox")) if isinstance(box, Mapping) else (None, box)
        if isinstance(edges, list | tuple) and len(edges) == 4 and all(isinstance(e, int | float) for e in edges):
            left, top, right, bottom = map(float, edges)
            if left < right and top < bottom:
                found.append((str(label) if label else "region", (left, top, right, bottom)))
    return found


def pixel_size_of(image: str) -> tuple[float, float] | None:
    """The size of a pixel (x, y) in µm, as the file of ``image`` states it; None where it doesn't."""
    from ragvlm.formats import expand
    from ragvlm.locator import Locator

    try:
        place = Locator.of(image).resolved()
        record = next(iter(expand(Record("query", str(place.file)), Path(), {})), None)
    except (RagvlmError, OSError, ValueError):
        return None
    extra: Mapping[str, Any] = record.extra if record else {}
    um = extra.get("pixel_size_um")
    if um is None and (mm := extra.get("pixel_spacing_mm")) is not None:
        # DICOM gives the distance of rows first
        um = [1000 * float(v) for v in (mm if isinstance(mm, list | tuple) else [mm, mm])][::-1]
    if isinstance(um, list | tuple) and len(um) == 2 and all(isinstance(v, int | float) and v > 0 for v in um):
        return float(um[0]), float(um[1])
    return None
