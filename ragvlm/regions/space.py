"""The space in which regions are compared: axes that tell labels, and good boxes from poor ones, apart.

Linear discriminant analysis (Fisher 1936, doi 10.1111/j.1469-1809.1936.tb02137.x; Rao 1948) with shrinkage, whose
classes are label and how well a candidate fits its box, so that a half of a cell lies elsewhere than the cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.types import Float32, Int64

DIMS = 10
NEIGHBOURS = 25
LEAST_FIT = 0.3  # IoU with a box below which a candidate shows nothing
_FITS = (0.1, LEAST_FIT, 0.5, 0.65, 0.8)
_SHRINK = 0.05
_BLOCK = 2000


@dataclass(frozen=True, slots=True)
class Space:
    """``mean`` and ``spread`` (d,) standardise a profile, ``axes`` (d, DIMS at most) project it; float32."""

    mean: Float32
    spread: Float32
    axes: Float32

    @classmethod
    def fit(cls, profiles: Float32, labels: Int64, fits: Float32, weights: Float32) -> Space:
        """From candidates: ``labels`` the number of the likest box's label, ``fits`` their IoU with it."""
        mean, spread = profiles.mean(axis=0), profiles.std(axis=0) + 1e-6
        x = _standard(profiles, mean, spread)
        bins = np.digitize(fits, _FITS)
        classes = np.where(bins == 0, 0, labels * (len(_FITS) + 1) + bins)
        names = [c for c in np.unique(classes) if (classes == c).sum() > 30] or list(np.unique(classes))
        within = np.zeros((x.shape[1], x.shape[1]))
        centres, sizes = [], []
        for name in names:
            own = classes == name
            size = float(weights[own].sum())
            within += np.cov(x[own].T, bias=True) * size
            centres.append(x[own].mean(axis=0))
            sizes.append(np.sqrt(size))
        values, vectors = np.linalg.eigh(within / sum(s**2 for s in sizes) + _SHRINK * np.eye(len(within)))
        white = vectors / np.sqrt(values)
        share = np.array(sizes) / sum(sizes)
        between = np.array(centres) @ white
        between = (between - share @ between) * np.sqrt(share)[:, None]
        _, _, turned = np.linalg.svd(between, full_matrices=False)
        return cls(*(np.asarray(v, np.float32) for v in (mean, spread, white @ turned[:DIMS].T)))

    def project(self, profiles: Float32) -> Float32:
        """float32 (n, dims)."""
        return np.asarray(_standard(profiles, self.mean, self.spread) @ self.axes, np.float32)


@dataclass(frozen=True, slots=True)
class Votes:
    """``scores`` float32 (n, labels) in [0, 1]: how surely, and how well, a candidate shows each label; ``moves``
    (n, labels, 4): what its edges lack to the label's boxes, in widths and heights; ``nearest`` int64 (n, labels): the
    stored candidate of that label that is most like it, -1 without one."""

    scores: Float32
    moves: Float32
    nearest: Int64


def vote(asked: Float32, known: Mapping[str, NDArray[Any]], n_labels: int, hidden: NDArray[np.bool_]) -> Votes:
    """The NEIGHBOURS nearest of the stored candidates vote, by a Gaussian of their distance and by their own fit.

    ``asked`` (n, dims); ``known`` has points (m, dims), labels, fits, moves (m, 4) and weights (m,); ``hidden`` (m,)
    marks those that must not vote.
    """
    keep = np.flatnonzero(~hidden)
    points, k = known["points"][keep], min(NEIGHBOURS, len(keep))
    scores = np.zeros((len(asked), n_labels), np.float32)
    moves = np.zeros((len(asked), n_labels, 4), np.float32)
    nearest = np.full((len(asked), n_labels), -1, np.int64)
    squares = (points**2).sum(axis=1)
    for start in range(0, len(asked) if k else 0, _BLOCK):
        block = asked[start : start + _BLOCK]
        distance = np.maximum((block**2).sum(axis=1)[:, None] + squares - 2 * block @ points.T, 0)
        near = np.argpartition(distance, k - 1, axis=1)[:, :k]
        far = np.take_along_axis(distance, near, axis=1)
        rows = keep[near]
        weight = np.exp(-1.5 * far / (far.max(axis=1, keepdims=True) + 1e-9)) * known["weights"][rows]
        total = weight.sum(axis=1)
        fit = np.where(known["fits"][rows] >= LEAST_FIT, known["fits"][rows], 0)
        for label in range(n_labels):
            own = weight * (known["labels"][rows] == label) * fit
            here = slice(start, start + len(block))
            scores[here, label] = own.sum(axis=1) / total
            moves[here, label] = (own[..., None] * known["moves"][rows]).sum(axis=1) / np.maximum(
                own.sum(axis=1), 1e-9
            )[:, None]
            closest = np.where(own > 0, far, np.inf).argmin(axis=1)
            found = rows[np.arange(len(block)), closest]
            nearest[here, label] = np.where((own > 0).any(axis=1), found, -1)
    return Votes(scores, moves, nearest)


def _standard(profiles: Float32, mean: Any, spread: Any) -> Float32:
    return np.asarray(np.clip((profiles - mean) / spread, -4, 4), np.float32)
