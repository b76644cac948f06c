"""Areas under curves from ranks, so that a resample needs no sorting."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ragvlm.measures.base import Float64

if TYPE_CHECKING:
    from numpy.typing import NDArray


def ranks(values: Float64) -> Float64:
    """Dense ranks from 0 of ``values`` (n,), equal ones equal, NaN kept: a resample then needs no sorting."""
    defined = ~np.isnan(values)
    out = np.full(len(values), np.nan)
    out[defined] = np.unique(values[defined], return_inverse=True)[1]
    return out


def auroc(positive: NDArray[np.bool_], rank: Float64) -> float:
    """Area under the ROC curve from ``positive`` (n,) and ``ranks`` (n,); NaN where one side is empty."""
    hits, others = _by_rank(positive, rank)
    if not hits.sum() or not others.sum():
        return math.nan
    below = np.cumsum(others) - others / 2
    return float(hits @ below / (hits.sum() * others.sum()))


def average_precision(positive: NDArray[np.bool_], rank: Float64) -> float:
    """Average precision from ``positive`` (n,) and ``ranks`` (n,); NaN without a positive."""
    hits, others = (counts[::-1] for counts in _by_rank(positive, rank))
    if not hits.sum():
        return math.nan
    seen = np.cumsum(hits + others)
    return float((hits * np.cumsum(hits) / np.maximum(seen, 1)).sum() / hits.sum())


def _by_rank(positive: NDArray[np.bool_], rank: Float64) -> tuple[Float64, Float64]:
    """How many are positive and how many aren't, by rank."""
    places = rank.astype(np.int64)
    total = np.bincount(places)
    hits = np.bincount(places[positive], minlength=len(total))
    return hits.astype(np.float64), (total - hits).astype(np.float64)
