"""Regions of a picture, as boxes or as masks, and how much of them two sides share.

A side (an item's prediction or references) is one of

- a sequence of boxes: ``Box``, a mapping with "bbox" or "box", and perhaps "label" and "score", or four numbers
  [xmin, ymin, xmax, ymax] in pixels, from edge to edge: the area is (xmax - xmin) (ymax - ymin);
- a mask: an array (height, width) of 0 and one other value, which is the region;
- a mapping of label to mask.

Regions are compared label by label; where boxes or masks of an item, on either side, have no label, all its labels are
left aside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ragvlm.measures.base import Float64, Item, refuse

Mask: TypeAlias = NDArray[Any]
Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Box:
    """Edges in pixels, xmin < xmax and ymin < ymax; ``score``: how sure the system is of it (any scale)."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float
    label: str | None = None
    score: float = 1.0

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """(xmin, ymin, xmax, ymax)."""
        return self.xmin, self.ymin, self.xmax, self.ymax


@dataclass(frozen=True, slots=True)
class Region:
    """What one side says of one label: boxes, or a mask (height, width) of any numbers."""

    boxes: tuple[Box, ...] = ()
    mask: Mask | None = None

    def drawn(self, shape: tuple[int, ...]) -> Bools:
        """As a bool mask of ``shape``; a pixel is in a box where its centre is."""
        if self.mask is not None:
            return np.asarray(self.mask != 0)
        out = np.zeros(shape, dtype=bool)
        for xmin, ymin, xmax, ymax in (box.edges for box in self.boxes):
            top, bottom, left, right = (max(0, math.ceil(edge - 0.5)) for edge in (ymin, ymax, xmin, xmax))
            out[top:bottom, left:right] = True
        return out


@dataclass(frozen=True, slots=True)
class Sides:
    """An item's regions by label, predicted and right; a label that one side lacks has an empty region there."""

    pairs: Mapping[str | None, tuple[Region, Region]] = field(default_factory=dict)

    @classmethod
    def of(cls, item: Item, *, heat: bool = False) -> Sides:
        """Read ``item``; with ``heat`` a predicted mask may be a heat map, of any finite numbers.

        Raises InputError naming the item for what isn't a side, for masks of different sizes and of more than one
        value besides 0, and for boxes without an area or with a score that isn't finite.
        """
        predicted = _side(item, item.prediction, "prediction", heat=heat)
        right = _side(item, item.references, "reference", heat=False)
        shapes = {region.mask.shape for of in (predicted, right) for region in of.values() if region.mask is not None}
        if len(shapes) > 1:
            sizes = " and ".join(sorted(f"{width} x {height}" for height, width in shapes))
            raise refuse([item], f"masks of {sizes} pixels: bring all to the reference's size")
        if None in predicted or None in right:
            predicted, right = _joined(predicted), _joined(right)
        labels = sorted({*predicted, *right}, key=lambda label: label or "")
        nothing = Region()
        return cls({label: (predicted.get(label, nothing), right.get(label, nothing)) for label in labels})


def shared_areas(predicted: Region, right: Region) -> tuple[float, float, float]:
    """Areas in square pixels: of what both regions cover, of the predicted and of the right one; overlaps of boxes of
    one region count once."""
    masks = [region.mask for region in (predicted, right) if region.mask is not None]
    if masks:
        a, b = predicted.drawn(masks[0].shape), right.drawn(masks[0].shape)
        return float((a & b).sum()), float(a.sum()), float(b.sum())
    edges = np.array([box.edges for box in (*predicted.boxes, *right.boxes)], dtype=np.float64)
    if not len(edges):
        return 0.0, 0.0, 0.0
    xs, ys = np.unique(edges[:, 0::2]), np.unique(edges[:, 1::2])
    a, b = (_cells(region.boxes, xs, ys) for region in (predicted, right))
    area = np.diff(ys)[:, None] * np.diff(xs)
    return float(area[a & b].sum()), float(area[a].sum()), float(area[b].sum())


def box_iou(a: Sequence[Box], b: Sequence[Box]) -> Float64:
    """Intersection over union of each pair of boxes: float64 (len(a), len(b)), in [0, 1]."""
    one, two = (np.array([box.edges for box in boxes], dtype=np.float64).reshape(-1, 4) for boxes in (a, b))
    low = np.maximum(one[:, None, :2], two[None, :, :2])
    high = np.minimum(one[:, None, 2:], two[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    first, second = ((edges[:, 2:] - edges[:, :2]).prod(axis=1) for edges in (one, two))
    return np.asarray(both / (first[:, None] + second - both))


def _cells(boxes: Sequence[Box], xs: Float64, ys: Float64) -> Bools:
    """Which cells of the grid of all edges the boxes cover."""
    out = np.zeros((len(ys) - 1, len(xs) - 1), dtype=bool)
    for xmin, ymin, xmax, ymax in (box.edges for box in boxes):
        rows, columns = np.searchsorted(ys, (ymin, ymax)), np.searchsorted(xs, (xmin, xmax))
        out[slice(*rows), slice(*columns)] = True
    return out


def _joined(side: Mapping[str | None, Region]) -> dict[str | None, Region]:
    """One region of all, without labels."""
    boxes = tuple(Box(*box.edges, score=box.score) for region in side.values() for box in region.boxes)
    masks = [region.mask for region in side.values() if region.mask is not None]
    return {None: Region(boxes, np.maximum.reduce(masks) if masks else None)} if side else {}


def _side(item: Item, value: Any, name: str, *, heat: bool) -> dict[str | None, Region]:
    if isinstance(value, np.ndarray):
        return {None: Region(mask=_mask(item, value, name, heat=heat))}
    if isinstance(value, Mapping) and not {"bbox", "box"} & set(value):
        return {str(label): Region(mask=_mask(item, mask, name, heat=heat)) for label, mask in value.items()}
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise refuse([item], f"the {name} is neither a list of boxes nor a mask")
    boxes = [_box(item, box, name) for box in value]
    labels = dict.fromkeys(box.label for box in boxes)
    return {label: Region(tuple(box for box in boxes if box.label == label)) for label in labels}


def _box(item: Item, value: Any, name: str) -> Box:
    label, score, edges = None, 1.0, value
    if isinstance(value, Box):
        label, score, edges = value.label, value.score, value.edges
    elif isinstance(value, Mapping):
        label, score, edges = value.get("label"), value.get("score", 1.0), value.get("bbox", value.get("box"))
    try:
        xmin, ymin, xmax, ymax = (float(edge) for edge in edges)
        box = Box(xmin, ymin, xmax, ymax, None if label is None else str(label), float(score))
    except (TypeError, ValueError) as error:
        raise refuse([item], f"a {name} box is not [xmin, ymin, xmax, ymax] with label and score") from error
    if not all(map(math.isfinite, (*box.edges, box.score))):
        raise refuse([item], f"a {name} box or its score is not finite")
    if xmin >= xmax or ymin >= ymax:
        raise refuse([item], f"{name} box {[*box.edges]} has no area: give [xmin, ymin, xmax, ymax]")
    return box


def _mask(item: Item, value: Any, name: str, *, heat: bool) -> Mask:
    mask = np.asarray(value)
    if mask.ndim != 2 or not mask.size or mask.dtype.kind not in "biuf":
        raise refuse([item], f"a {name} mask is no array (height, width) of numbers")
    if not np.isfinite(mask).all():
        raise refuse([item], f"a {name} mask has a value that isn't finite")
    if not heat and len(np.unique(mask[mask != 0])) > 1:
        raise refuse([item], f"a {name} mask has several values besides 0: give a mask a label, or a threshold")
    return mask
