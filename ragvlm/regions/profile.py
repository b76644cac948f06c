"""A candidate region as numbers: contrast along rings about its centre, its outline, its size and its surroundings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ragvlm.regions.propose import SIDE, SOURCES, Candidate, Planes, overlaps
from ragvlm.types import Float32

RINGS = (0.0, 0.25, 0.45, 0.65, 0.8, 0.92, 1.05, 1.2, 1.4)
"""Radii in halves of the box: 1 is the ellipse that touches its sides."""
ANGLES = 20
_INNER, _OUTER = (4, 5), (6, 7, 8)


def profiles(planes: Planes, candidates: Sequence[Candidate]) -> Float32:
    """float32 (n, DIM), finite. On each ring of each of the four planes mean and spread; the fall of contrast across
    the outline, its quantiles and how much of the outline has one; size, shape, borders, sources, neighbours; and what
    the picture as a whole is like.

    A point beyond the picture's border takes the value of the border's pixel.
    """
    if not candidates:
        return np.empty((0, DIM), np.float32)
    values = planes.values
    height, width = values.shape[:2]
    boxes = np.array([one.box for one in candidates], np.float64)
    points = _sampled(values, boxes)  # (n, rings, angles, planes)
    rings = points.mean(axis=2).reshape(len(boxes), -1)
    spreads = points.std(axis=2)[..., [1, 3]].reshape(len(boxes), -1)
    strength = points[..., :3].max(axis=3)
    fall = strength[:, _INNER].max(axis=1) - strength[:, _OUTER].min(axis=1)  # (n, angles)
    fade = strength[:, 4] - strength[:, 7]
    outline = np.column_stack([
        np.quantile(fall, (0.1, 0.25, 0.5, 0.75), axis=1).T, np.quantile(fade, (0.1, 0.25, 0.5, 0.75), axis=1).T,
        (fade > 0.03).mean(axis=1), (fade > 0.08).mean(axis=1), _longest_gap(fade > 0.03),
    ])  # fmt: skip
    shared = np.sort(overlaps(boxes, boxes), axis=1)
    around = np.column_stack([(shared > 0.3).sum(axis=1), (shared > 0.55).sum(axis=1), shared[:, -2:-1].sum(axis=1)])
    shape = _shapes(candidates, boxes, width, height)
    whole = np.tile(_whole(planes), (len(boxes), 1))
    found = np.column_stack([rings, spreads, outline, around, shape, whole])
    return np.asarray(np.nan_to_num(found, posinf=0, neginf=0), np.float32)


def _sampled(values: Float32, boxes: np.ndarray) -> Float32:
    height, width = values.shape[:2]
    turn = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    radii = np.array(RINGS)[:, None]
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    x = centre[:, 0, None, None] + half[:, 0, None, None] * (radii * np.cos(turn))
    y = centre[:, 1, None, None] + half[:, 1, None, None] * (radii * np.sin(turn))
    columns, rows = np.clip(x, 0, width - 1).astype(int), np.clip(y, 0, height - 1).astype(int)
    return np.asarray(values[rows, columns], np.float32)


def _longest_gap(edge: np.ndarray) -> np.ndarray:
    """The longest run of angles without an edge, as a share of the outline: (n,)."""
    twice = np.concatenate([edge, edge], axis=1)
    run, longest = np.zeros(len(edge)), np.zeros(len(edge))
    for column in twice.T:
        run = np.where(column, 0, run + 1)
        longest = np.maximum(longest, run)
    return np.asarray(np.minimum(longest, edge.shape[1]) / edge.shape[1])


def _shapes(candidates: Sequence[Candidate], boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    sides = boxes[:, 2:] - boxes[:, :2]
    covered = np.array([1.0 if one.mask is None else one.mask.mean() for one in candidates])
    cut = np.column_stack([boxes[:, 0] <= 1, boxes[:, 1] <= 1, boxes[:, 2] >= width - 1, boxes[:, 3] >= height - 1])
    margin = np.column_stack([boxes[:, :2], (width, height) - boxes[:, 2:]]).min(axis=1)
    source = np.eye(len(SOURCES))[[one.source for one in candidates]]
    size = np.sqrt(sides.prod(axis=1)) / SIDE
    return np.column_stack([
        size, np.log(size), sides / SIDE, np.log(sides[:, 0] / sides[:, 1]), covered, cut, cut.sum(axis=1),
        np.minimum(margin, 40) / SIDE, source,
    ])  # fmt: skip


def _whole(planes: Planes) -> np.ndarray:
    values, strength = planes.values, planes.strength
    strong = strength > 0.15
    return np.array([
        strong.mean(), *values.mean(axis=(0, 1)), *values.std(axis=(0, 1)), np.abs(np.diff(strength, axis=1)).mean(),
        float(planes.dark),
    ])  # fmt: skip


DIM = len(RINGS) * 4 + len(RINGS) * 2 + 11 + 3 + 18 + 10
