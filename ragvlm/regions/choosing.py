"""Many candidates that vote for the same thing -> one region: non-maximum suppression and box voting.

Box voting (Gidaris and Komodakis 2015, arXiv:1505.01749): the region's box is the mean of the candidates that agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragvlm.regions.found import Bools, Edges, window
from ragvlm.regions.propose import Candidate, overlaps
from ragvlm.types import Float32, Int64

LEAST_SCORE = 0.06
AGREE = 0.5  # IoU from which a candidate supports another
SAME = 0.2  # IoU, and share of the smaller box, from which two regions are one
INSIDE = 0.75
_SUPPORTERS = 4


@dataclass(frozen=True, slots=True)
class Chosen:
    """Regions of one label, surest first: ``boxes`` float64 (n, 4) at the working size, ``scores`` (n,) in [0, 1],
    ``members``: which candidates support each, surest first."""

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    members: tuple[Int64, ...]


def choose(boxes: NDArray[np.float64], scores: Float32, moves: Float32, size: tuple[int, int]) -> Chosen:
    """The regions among candidates with ``boxes`` (n, 4), of a label's ``scores`` (n,) and ``moves`` (n, 4) in widths
    and heights, in a picture of ``size`` (width, height)."""
    able = np.flatnonzero(scores > LEAST_SCORE)
    if not len(able):
        return Chosen(np.zeros((0, 4)), np.zeros(0), ())
    sides = boxes[able, 2:] - boxes[able, :2]
    moved = boxes[able] + moves[able] * np.hstack([sides, sides])
    moved[:, 0::2], moved[:, 1::2] = moved[:, 0::2].clip(0, size[0]), moved[:, 1::2].clip(0, size[1])
    shared, within = overlaps(moved, moved), _inside(moved)
    own = scores[able].astype(np.float64)
    agreeing = np.sort(np.where(shared > AGREE, own, 0), axis=1)[:, ::-1][:, :_SUPPORTERS]
    sure = (own + agreeing.sum(axis=1) / _SUPPORTERS) / 2
    alive = np.ones(len(able), bool)
    found, values, members = [], [], []
    for i in np.argsort(-sure, kind="stable"):
        if not alive[i]:
            continue
        group = np.flatnonzero(shared[i] > AGREE)
        weight = sure[group] ** 2
        box = weight @ moved[group] / weight.sum() if weight.sum() else moved[i]
        if box[2] - box[0] >= 1 and box[3] - box[1] >= 1:
            found.append(box)
            values.append(float(sure[i]))
            members.append(able[group[np.argsort(-sure[group], kind="stable")]])
        alive &= ~((shared[i] > SAME) | (within[i] > INSIDE))
        alive[i] = False
    return Chosen(np.array(found).reshape(-1, 4), np.array(values), tuple(members))


def mask_of(box: Edges, members: Sequence[Candidate], scale: float) -> Bools:
    """The mask within the whole pixels of ``box``, at the picture's size: that of the surest member which has one and
    fills the box, cut to it; else the ellipse that touches its sides."""
    rows, columns = window(box)
    y, x = (np.arange(rows.start, rows.stop) + 0.5)[:, None], (np.arange(columns.start, columns.stop) + 0.5)[None, :]
    inside = (y >= box[1]) & (y <= box[3]) & (x >= box[0]) & (x <= box[2])
    for member in members:
        if member.mask is None:
            continue
        top, left = window(member.box)[0].start, window(member.box)[1].start
        r, c = (y / scale - top).astype(int), (x / scale - left).astype(int)
        height, width = member.mask.shape
        there = (r >= 0) & (r < height) & (c >= 0) & (c < width) & (y / scale >= top) & (x / scale >= left)
        drawn = there & member.mask[r.clip(0, height - 1), c.clip(0, width - 1)] & inside
        if drawn.sum() >= 0.4 * inside.sum():
            return np.asarray(drawn)
    half = ((box[2] - box[0]) / 2, (box[3] - box[1]) / 2)
    ellipse = ((x - box[0] - half[0]) / half[0]) ** 2 + ((y - box[1] - half[1]) / half[1]) ** 2 <= 1
    return np.asarray(ellipse & inside)


def _inside(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shared area over that of the smaller box: (n, n)."""
    low, high = np.maximum(boxes[:, None, :2], boxes[None, :, :2]), np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    both = np.clip(high - low, 0, None).prod(axis=2)
    return np.asarray(both / np.maximum(np.minimum(areas[:, None], areas[None]), 1e-9))
