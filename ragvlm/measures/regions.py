"""Overlap of regions (IoU, Dice), the share of items that reach an IoU, and the pointing game.

Regions are boxes or masks, read and compared label by label as ``ragvlm.measures.boxes`` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ragvlm.errors import InputError
from ragvlm.measures.base import Item, Statistics
from ragvlm.measures.boxes import Region, Sides, shared_areas

_OURS = "ragvlm, exact areas of boxes, pixels of masks"


@dataclass(frozen=True, slots=True)
class Overlap:
    """Mean overlap of what was found with what is right, an item's own the mean over its labels. With areas A and B:

    - "IoU" (Jaccard index) = |A and B| / |A or B|;
    - "Dice" = 2 |A and B| / (|A| + |B|).

    In [0, 1], higher is better. All boxes of a label make one region, in which overlaps count once. A label that only
    one side has scores 0; an item without any region on either side isn't defined. Raises InputError as ``Sides.of``.
    """

    name: str

    task = "ground"
    higher_is_better = True

    @property
    def source(self) -> str:
        """ragvlm's own code."""
        return _OURS

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """One score an item."""
        return Statistics.of_scores([self._score(item) for item in items])

    def _score(self, item: Item) -> float:
        areas = [shared_areas(*pair) for pair in Sides.of(item).pairs.values()]
        if self.name == "Dice":
            scores = [2 * both / (a + b) for both, a, b in areas if a + b]
        else:
            scores = [both / (a + b - both) for both, a, b in areas if a + b]
        return float(np.mean(scores)) if scores else math.nan


@dataclass(frozen=True, slots=True)
class Reached:
    """Share of items whose IoU (see ``Overlap``) is at least ``threshold``: 0 or 1 an item, higher is better.

    Work on referring expressions calls it Acc@0.5, and Pr@0.5 for masks; it isn't the precision of a detector, for
    which see ``ragvlm.measures.detection``. Not defined for an item without any region on either side. Raises
    InputError as ``Sides.of`` does, and for a threshold outside (0, 1].
    """

    threshold: float = 0.5

    task = "ground"
    higher_is_better = True

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    @property
    def name(self) -> str:
        """Such as "Acc@IoU0.5"."""
        return f"Acc@IoU{self.threshold:g}"

    @property
    def source(self) -> str:
        """ragvlm's own code."""
        return _OURS

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """One score an item."""
        scores = Overlap("IoU").statistics(items).rows[:, 0]
        return Statistics.of_scores(np.where(np.isnan(scores), np.nan, scores >= self.threshold))


@dataclass(frozen=True, slots=True)
class PointingGame:
    """Share of hits of the point that a system is surest of: 0 or 1 an item and label, higher is better.

    Zhang et al. 2016, arXiv:1608.00507, without their margin of 15 pixels. The point is the highest value of a heat map
    (of several equal ones the centre of mass; so it is for a mask), or the centre of the box with the highest score
    (of equal ones the first). It is a hit where it lies within the right region of its label. An item's own score is
    the mean over the labels that have a right region, without a point 0; an item without a right region isn't
    defined. The mean is over items, where Zhang et al. take the mean over labels. Raises InputError as ``Sides.of``.
    """

    task = "ground"
    name = "pointing game"
    higher_is_better = True

    @property
    def source(self) -> str:
        """ragvlm's own code, and whose game."""
        return "ragvlm, after Zhang et al. 2016 without a margin"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """One score an item."""
        return Statistics.of_scores([self._score(item) for item in items])

    def _score(self, item: Item) -> float:
        pairs = Sides.of(item, heat=True).pairs.values()
        hits = [_holds(right, _point(found)) for found, right in pairs if right.boxes or _any(right)]
        return float(np.mean(hits)) if hits else math.nan


def overlap(name: str) -> Overlap:
    """IoU or Dice, upper or lower case."""
    return Overlap("Dice" if name.lower() == "dice" else "IoU")


def reached(threshold: str | float) -> Reached:
    """``Reached`` at a threshold that may be written as text."""
    return Reached(float(threshold))


def check_threshold(threshold: float) -> None:
    """Raise InputError for an IoU outside (0, 1]."""
    if not 0 < threshold <= 1:
        raise InputError(f"IoU threshold {threshold:g}: give a number above 0, at most 1")


def _any(region: Region) -> bool:
    return region.mask is not None and bool(region.mask.any())


def _point(region: Region) -> tuple[float, float] | None:
    """(x, y) in pixels; None where nothing is marked."""
    if _any(region) and region.mask is not None:
        rows, columns = np.nonzero(region.mask == region.mask.max())
        return float(columns.mean()) + 0.5, float(rows.mean()) + 0.5
    if not region.boxes:
        return None
    best = max(region.boxes, key=lambda box: box.score)
    return (best.xmin + best.xmax) / 2, (best.ymin + best.ymax) / 2


def _holds(region: Region, point: tuple[float, float] | None) -> bool:
    if point is None:
        return False
    x, y = point
    if region.mask is None:
        return any(box.xmin <= x <= box.xmax and box.ymin <= y <= box.ymax for box in region.boxes)
    height, width = region.mask.shape
    return 0 <= x < width and 0 <= y < height and bool(region.mask[int(y), int(x)])
