"""Detected boxes against right ones: precision, recall and F1 at an IoU threshold, and COCO's mean average precision.

Boxes are read as ``ragvlm.measures.boxes`` says. Within an item and a label, boxes by falling score (equal ones in the
order given) each take the free right box of the highest IoU, if that reaches the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ragvlm.measures.base import Float64, Item, Statistics
from ragvlm.measures.boxes import Bools, Box, Sides, box_iou
from ragvlm.measures.regions import check_threshold
from ragvlm.types import Int64

COCO_THRESHOLDS = tuple(float(t) for t in np.linspace(0.5, 0.95, 10))
MAX_BOXES = 100  # of an item and label, as COCO has it
_RECALLS = np.linspace(0, 1, 101)
_Pair: TypeAlias = tuple[tuple[Box, ...], tuple[Box, ...]]  # found and right boxes
_Labelled: TypeAlias = dict[str | None, _Pair]


@dataclass(frozen=True, slots=True)
class Matched:
    """Precision, Recall or F1 (``kind``) of detected boxes at the IoU ``threshold``, over the boxes of all items.

    With TP matched boxes: TP / boxes found, TP / right boxes, 2 TP / (boxes found + right boxes). In [0, 1], higher is
    better. An item's own score is the same figure on the item, NaN where its denominator is 0. Not defined for items
    with masks. Raises InputError as ``Sides.of`` does, and for a threshold outside (0, 1].
    """

    kind: str
    threshold: float = 0.5

    task = "ground"
    higher_is_better = True

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    @property
    def name(self) -> str:
        """Such as "Precision@IoU0.5"."""
        return f"{self.kind}@IoU{self.threshold:g}"

    @property
    def source(self) -> str:
        """ragvlm's own code, and the matching."""
        return "ragvlm, COCO's greedy matching by score"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """Rows: matched boxes, found boxes and right boxes."""
        rows = np.array([self._row(item) for item in items], dtype=np.float64).reshape(-1, 3)
        return Statistics(rows, self._reduce, np.array([self._reduce(row[None]) for row in rows]), additive=True)

    def _row(self, item: Item) -> tuple[float, float, float]:
        labelled = _labelled(item)
        if labelled is None:
            return math.nan, math.nan, math.nan
        pairs = labelled.values()
        matched = sum(int(matches(found, right, (self.threshold,)).sum()) for found, right in pairs)
        return matched, sum(len(found) for found, _ in pairs), sum(len(right) for _, right in pairs)

    def _reduce(self, rows: Float64) -> float:
        matched, found, right = rows.sum(axis=0)
        part, whole = {
            "Precision": (matched, found),
            "Recall": (matched, right),
            "F1": (2 * matched, found + right),
        }[self.kind]
        return float(part / whole) if whole else math.nan


@dataclass(frozen=True, slots=True)
class MeanAveragePrecision:
    """COCO's mAP of boxes (Lin et al. 2014, arXiv:1405.0312): the mean over labels and over ``thresholds`` of the IoU
    of the average precision, that is of max over recall >= r of the precision, at r = 0, 0.01, ..., 1.

    In [0, 1], higher is better. All sizes of boxes, at most MAX_BOXES of an item and label; labels without a right box
    don't count; undefined where no item has a right box. As pycocotools' AP, but for boxes of equal score: they come in
    together, so that the order of the items doesn't matter. It isn't VOC's mAP (11 points, or the area below all
    points; one IoU of 0.5). Raises InputError as ``Matched`` does.
    """

    thresholds: tuple[float, ...] = COCO_THRESHOLDS

    task = "ground"
    higher_is_better = True

    def __post_init__(self) -> None:
        for threshold in self.thresholds:
            check_threshold(threshold)

    @property
    def name(self) -> str:
        """ "mAP@[.5:.95]" for COCO's ten thresholds, else such as "mAP@IoU0.5"."""
        if self.thresholds == COCO_THRESHOLDS:
            return "mAP@[.5:.95]"
        return f"mAP@IoU{','.join(f'{threshold:g}' for threshold in self.thresholds)}"

    @property
    def source(self) -> str:
        """ragvlm's own code, and whose definition."""
        return f"ragvlm, COCO's 101 points, at most {MAX_BOXES} boxes an item and label"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """Rows: the item's number, which ``reduce`` looks up."""
        of_items = [_labelled(item) for item in items]
        classes = [_Class.of(pairs, self.thresholds) for pairs in _by_label(of_items)]
        rows = np.array([math.nan if of is None else i for i, of in enumerate(of_items)], dtype=np.float64)[:, None]

        def reduce(chosen: Float64) -> float:
            times = np.bincount(chosen[:, 0].astype(np.int64), minlength=len(items)).astype(np.float64)
            values = [value for of in classes if not math.isnan(value := of.average_precision(times))]
            return float(np.mean(values)) if values else math.nan

        return Statistics(rows, reduce)


@dataclass(frozen=True, slots=True)
class _Class:
    """The boxes of one label, by falling score: ``item`` int64 (n,), ``hit`` bool (thresholds, n), ``last`` bool (n,)
    where the next score is another; ``right`` float64 (items,) counts the right boxes."""

    item: Int64
    hit: Bools
    last: Bools
    right: Float64

    @classmethod
    def of(cls, pairs: Sequence[_Pair], thresholds: tuple[float, ...]) -> _Class:
        """Of each item's found and right boxes of the label."""
        best = [sorted(found, key=lambda box: -box.score)[:MAX_BOXES] for found, _ in pairs]
        item = np.repeat(np.arange(len(pairs), dtype=np.int64), [len(found) for found in best])
        scores = np.array([box.score for found in best for box in found], dtype=np.float64)
        hit = [matches(found, right, thresholds) for found, (_, right) in zip(best, pairs, strict=True)]
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        last = np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)]
        joined = np.concatenate(hit, axis=1)[:, order]
        return cls(item[order], joined, last, np.array([len(right) for _, right in pairs], dtype=np.float64))

    def average_precision(self, times: Float64) -> float:
        """The mean over thresholds where each item (items,) occurs so many ``times``; NaN without a right box."""
        expected = float(times @ self.right)
        if not expected:
            return math.nan
        weights = times[self.item]
        found = np.cumsum(weights)[self.last]
        matched = np.cumsum(self.hit * weights, axis=1)[:, self.last]
        precision = np.maximum.accumulate((matched / np.maximum(found, 1))[:, ::-1], axis=1)[:, ::-1]
        at = [np.searchsorted(row, _RECALLS, side="left") for row in matched / expected]
        padded = np.pad(precision, ((0, 0), (0, 1)))  # a recall that is never reached has precision 0
        return float(np.mean([row[places] for row, places in zip(padded, at, strict=True)]))


def matches(found: Sequence[Box], right: Sequence[Box], thresholds: Sequence[float]) -> Bools:
    """Which of ``found`` match at each threshold: bool (thresholds, found), in the order of ``found``."""
    out = np.zeros((len(thresholds), len(found)), dtype=bool)
    if not found or not right:
        return out
    iou = box_iou(found, right)
    order = sorted(range(len(found)), key=lambda i: -found[i].score)
    for hits, threshold in zip(out, thresholds, strict=True):
        free = iou.copy()
        for i in order:
            best = int(free[i].argmax())
            if free[i, best] >= min(threshold, 1 - 1e-10):
                hits[i] = True
                free[:, best] = -1.0
    return out


def matched(kind: str, threshold: str | float) -> Matched:
    """Precision, Recall or F1 (upper or lower case) at a threshold that may be written as text."""
    return Matched(kind.capitalize(), float(threshold))


def mean_average_precision(threshold: str | float | None = None) -> MeanAveragePrecision:
    """COCO's mAP at one IoU threshold, which may be written as text; None takes COCO's ten."""
    return MeanAveragePrecision() if threshold is None else MeanAveragePrecision((float(threshold),))


def _labelled(item: Item) -> _Labelled | None:
    """Found and right boxes by label; None for masks."""
    pairs = Sides.of(item).pairs
    if any(region.mask is not None for pair in pairs.values() for region in pair):
        return None
    return {label: (found.boxes, right.boxes) for label, (found, right) in pairs.items()}


def _by_label(of_items: Sequence[_Labelled | None]) -> list[list[_Pair]]:
    """For each label that occurs, each item's found and right boxes."""
    told = [of or {} for of in of_items]
    labels = sorted({label for of in told for label in of}, key=lambda label: label or "")
    return [[of.get(label, ((), ())) for of in told] for label in labels]
