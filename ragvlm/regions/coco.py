"""Found regions as COCO's JSON (Lin et al. 2014, arXiv:1405.0312): what other programs read and score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.paths import atomic_path
from ragvlm.regions.found import FoundRegion, Grounding


def write_coco(found: Sequence[Grounding], path: Path) -> None:
    """Write ``as_coco(found)`` to ``path``. Raises StoreError where it can't be written."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(as_coco(found)) + "\n", encoding="utf-8")


def as_coco(found: Sequence[Grounding]) -> dict[str, Any]:
    """``images``, ``categories`` and ``annotations`` with score; boxes are [x, y, width, height], masks uncompressed
    run lengths over columns. Each slice of a volume in which something was found is an image of its own."""
    pictures: dict[tuple[str, str | None], dict[str, Any]] = {}
    labels = list(dict.fromkeys(region.label for one in found for region in one.regions))
    annotations: list[dict[str, Any]] = []
    for one in found:
        parts = dict.fromkeys(region.part for region in one.regions) or {None: None}
        for part in parts:
            name = one.query_id if part is None else f"{one.query_id}#{part}"
            size = {"file_name": name, "width": one.size[0], "height": one.size[1]}
            pictures.setdefault((one.query_id, part), {"id": len(pictures) + 1, **size})
        for region in one.regions:
            numbers = {
                "id": len(annotations) + 1,
                "image_id": pictures[one.query_id, region.part]["id"],
                "category_id": labels.index(region.label) + 1,
            }
            annotations.append(numbers | _annotation(region, one.size))
    categories = [{"id": number, "name": label} for number, label in enumerate(labels, 1)]
    return {"images": list(pictures.values()), "categories": categories, "annotations": annotations}


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """COCO's uncompressed counts of ``mask`` (H, W), column by column: zeros, ones, zeros, ..."""
    flat = np.concatenate([[False], np.asarray(mask, bool).ravel(order="F")])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return [int(n) for n in np.diff(np.concatenate([[0], edges, [mask.size]]))]


def _annotation(region: FoundRegion, size: tuple[int, int]) -> dict[str, Any]:
    left, top, right, bottom = (round(edge, 2) for edge in region.box)
    out: dict[str, Any] = {
        "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
        "area": region.area,
        "iscrowd": 0,
        "score": round(region.score, 6),
    }
    if region.mask is not None:
        whole = np.zeros((size[1], size[0]), bool)
        whole[region.window] = region.mask
        out["segmentation"] = {"size": [size[1], size[0]], "counts": run_lengths(whole)}
    return out
