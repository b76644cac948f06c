"""Probabilities that mean what they say, and sets of labels that hold the right one as often as promised.

- Temperature: probabilities are raised to the power 1 / T and shared out anew, T being the one by which held-out
  records are likeliest (Guo, Pleiss, Sun and Weinberger, ICML 2017, arXiv:1706.04599). The order of the labels stays.
- Prediction sets: split conformal prediction (Papadopoulos, Proedrou, Vovk and Gammerman, ECML 2002, doi
  10.1007/3-540-36755-1_29) with the score 1 - probability of the right label (Sadinle, Lei and Wasserman, JASA 2019,
  doi 10.1080/01621459.2017.1395341). The records of one subject share the weight of one (Lee, Barber and Willett,
  hierarchical conformal prediction, arXiv:2306.06342); with one record a subject that is the common quantile.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ragvlm.errors import InputError, require
from ragvlm.types import Float32, Int64

LEAST_PROBABILITY = 1e-12
_COLDEST, _HOTTEST = 0.02, 50.0


def temper(probabilities: Float32, temperature: float) -> Float32:
    """float32 (n, L), rows that add up to 1: ``probabilities`` (n, L) to the power 1 / ``temperature``."""
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), LEAST_PROBABILITY)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    weights = np.exp(logits)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def log_loss(probabilities: Float32, truth: Int64) -> float:
    """Mean negative log-likelihood, natural, of the right labels: ``probabilities`` (n, L), ``truth`` (n,)."""
    right = np.asarray(probabilities, np.float64)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(right, LEAST_PROBABILITY)).mean())


def fit_temperature(probabilities: Float32, truth: Int64) -> float:
    """The temperature in [0.02, 50] with the least log loss; never a greater one than 1 has.

    ``probabilities`` (n, L) are of records that had no part in them, ``truth`` (n,) their labels' positions. Raises
    InputError for no record.
    """
    if not len(truth):
        raise InputError("no record is held out: a temperature needs some")
    optimise = require("scipy.optimize", "classify")

    def loss(log_temperature: float) -> float:
        return log_loss(temper(probabilities, math.exp(log_temperature)), truth)

    found = optimise.minimize_scalar(loss, bounds=(math.log(_COLDEST), math.log(_HOTTEST)), method="bounded")
    return float(math.exp(found.x)) if loss(float(found.x)) <= loss(0.0) else 1.0


def conformal_threshold(scores: ArrayLike, groups: ArrayLike, alpha: float) -> float:
    """The score up to which a label belongs to a set; infinity where the groups are too few for ``alpha``.

    ``scores`` (n,) are those of the right labels of held-out records, larger for stranger ones; ``groups`` (n,) names
    the subject of each. If a new subject is exchangeable with these, its record's right label has a score above the
    threshold with a probability of at most ``alpha``. Raises InputError for an alpha outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha:g}: give the share of sets that may miss, between 0 and 1")
    values = np.asarray(scores, np.float64)
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    sizes = np.bincount(codes) if len(codes) else np.zeros(0, np.int64)
    weights = 1 / ((len(sizes) + 1) * sizes[codes])
    order = np.argsort(values, kind="stable")
    # the new subject's own weight, 1 / (subjects + 1), lies at infinity
    reached = np.cumsum(weights[order]) >= 1 - alpha - 1e-12
    return float(values[order][int(np.argmax(reached))]) if reached.any() else math.inf


def least_groups(alpha: float) -> int:
    """How many subjects must be held out for sets that can leave a label out."""
    return math.ceil(1 / alpha - 1e-9) - 1


def prediction_sets(probabilities: Float32, threshold: float) -> NDArray[np.bool_]:
    """bool (n, L): which labels are within ``threshold``; every row may have none, one or many."""
    return np.asarray(1 - np.asarray(probabilities, np.float64) <= threshold, np.bool_)
