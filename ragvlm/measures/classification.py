"""Classification: agreement of labels, separation by probabilities, calibration; per class, and as a confusion matrix.

Items are read by ``ragvlm.measures.outcomes``. The figures are scikit-learn's by definition, and the tests hold them
against it; they are counted here, since a bootstrap asks for each some thousand times and scikit-learn takes
milliseconds a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ragvlm.errors import InputError
from ragvlm.measures.areas import auroc, average_precision, ranks
from ragvlm.measures.base import Float64, Item, Statistics, library
from ragvlm.measures.outcomes import NONE, Outcomes, by_class, count, share
from ragvlm.types import Int64

AGREEMENTS = (
    "accuracy",
    "balanced accuracy",
    *(f"{average} {figure}" for average in ("macro", "weighted") for figure in ("precision", "recall", "F1")),
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """A figure of the confusion matrix. With TP_c, FP_c, FN_c and n_c = TP_c + FN_c of each class c:

    - accuracy = sum TP_c / n;
    - balanced accuracy = mean of TP_c / n_c over the classes that occur among the references;
    - precision TP_c / (TP_c + FP_c), recall TP_c / n_c, F1 2 TP_c / (2 TP_c + FP_c + FN_c), each 0 where its
      denominator is 0: "macro" is the mean over the classes that occur among references or predictions, "weighted"
      the mean over the references' classes weighted by n_c.

    All in [0, 1], higher is better. A prediction that names no label is wrong; it belongs to no class. Raises
    InputError as ``Outcomes.of`` does.
    """

    name: str

    task = "classify"
    higher_is_better = True

    @property
    def source(self) -> str:
        """numpy, after scikit-learn's definitions."""
        return _source()

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """Rows: positions of the true and of the predicted label."""
        found = Outcomes.of(items)
        if self.name == "accuracy":
            return Statistics.of_scores(found.truth == found.predicted)
        rows = np.stack([found.truth, found.predicted], axis=1).astype(np.float64)

        def reduce(chosen: Float64) -> float:
            truth, predicted = chosen.astype(np.int64).T
            return self._of(count(truth, predicted, len(found.labels)))

        return Statistics(rows, reduce)

    def _of(self, counts: Int64) -> float:
        right, support = counts.diagonal(), counts.sum(axis=1)
        if self.name == "balanced accuracy":
            return float(share(right, support)[support > 0].mean())
        average, _, figure = self.name.partition(" ")
        values = dict(zip(("precision", "recall", "F1"), by_class(counts), strict=True))[figure]
        if average == "weighted":
            return float(values @ support / support.sum())
        occurs = support + counts[:, :-1].sum(axis=0) > 0
        return float(values[occurs].mean())


@dataclass(frozen=True, slots=True)
class Kappa:
    """Cohen's kappa with quadratic weights, for grades (Cohen 1968, doi 10.1037/h0026256).

    1 - sum_ij w_ij O_ij / sum_ij w_ij E_ij with O the confusion matrix, E that of independent raters with the same
    totals, and w_ij = (g_i - g_j)^2 by the grades g: the labels' own numbers, or their places in ``facts["classes"]``.
    In [-1, 1], 1 is full agreement, 0 that of chance; higher is better. Not defined for labels that are words without
    an order, and where all items have one grade. A prediction that names no label can't be placed: that item is left
    out. Raises InputError as ``Outcomes.of`` does.
    """

    name = "quadratic kappa"
    task = "classify"
    higher_is_better = True

    @property
    def source(self) -> str:
        """numpy, after scikit-learn's definitions."""
        return _source()

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """Rows: grades a and b, a^2, b^2 and a b of truth and prediction, which tell all by their sums."""
        found = Outcomes.of(items)
        rows = np.full((len(items), 6), np.nan)
        placed = found.predicted != NONE
        if found.grades is not None:
            grades = found.grades - found.grades.min()  # large numbers would lose digits in their squares
            a, b = grades[found.truth[placed]], grades[found.predicted[placed]]
            rows[placed] = np.stack([np.ones_like(a), a, b, a * a, b * b, a * b], axis=1)
        return Statistics(rows, _kappa, additive=True)


@dataclass(frozen=True, slots=True)
class Area:
    """AUROC or AUPRC, one class against the rest; the mean over the classes, or of the class ``label`` alone.

    - AUROC: the probability that an item of the class has a higher probability for it than one of the rest, ties
      counted half (Hanley and McNeil 1982, doi 10.1148/radiology.143.1.7063747). 0.5 is chance.
    - AUPRC: average precision, sum over thresholds of (R_t - R_{t-1}) P_t, without interpolation. Chance is the
      class's share of the items.

    In [0, 1], higher is better. The mean is over the classes for which the area is defined, that is with items in
    and, for AUROC, out of the class. Of two classes whose probabilities add up to 1 the mean AUROC is the common
    binary AUROC; the AUPRC of the two differ, and a paper's binary AUPRC is "AUPRC (positive label)". Items whose
    prediction has no probabilities are left out; without an item of the ``label`` it isn't defined. Raises InputError
    as ``Outcomes.of`` does.
    """

    kind: str
    label: str | None = None

    task = "classify"
    higher_is_better = True

    @property
    def name(self) -> str:
        """Such as "AUROC" or "AUPRC (malignant)"."""
        return self.kind if self.label is None else f"{self.kind} ({self.label})"

    @property
    def source(self) -> str:
        """numpy, after scikit-learn's definitions."""
        return _source()

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """Rows: the position of the true label, then for each class the rank of its probability among the items'."""
        found = Outcomes.of(items)
        classes = [c for c, label in enumerate(found.labels) if self.label in (None, label)]
        ranked = [ranks(column) for column in found.probabilities.T]
        rows = np.stack([found.truth, *ranked], axis=1)
        rows[np.isnan(found.probabilities).any(axis=1)] = np.nan
        of_class = auroc if self.kind == "AUROC" else average_precision

        def reduce(chosen: Float64) -> float:
            areas = [of_class(chosen[:, 0] == c, chosen[:, 1 + c]) for c in classes]
            defined = [value for value in areas if not math.isnan(value)]
            return float(np.mean(defined)) if defined else math.nan

        return Statistics(rows, reduce)


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599) in ``bins`` equal bins ((m - 1) / M, m / M].

    sum_m |B_m| / n |accuracy(B_m) - mean confidence(B_m)|, the confidence being that of the predicted label. In
    [0, 1], lower is better. It depends on the number of bins, and is biased upwards where bins hold few items. Items
    whose prediction has no probabilities are left out. Raises InputError as ``Outcomes.of`` does.
    """

    bins: int = 15

    task = "classify"
    higher_is_better = False

    def __post_init__(self) -> None:
        if self.bins < 1:
            raise InputError(f"ECE in {self.bins} bins: give 1 or more")

    @property
    def name(self) -> str:
        """Such as "ECE (15 bins)"."""
        return f"ECE ({self.bins} bins)"

    @property
    def source(self) -> str:
        """numpy."""
        return library("numpy")

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """Rows: the bin of the confidence, and the confidence less 1 where the prediction is right."""
        found = Outcomes.of(items)
        confidence = found.probabilities.max(axis=1, initial=-np.inf)
        edges = np.linspace(0, 1, self.bins + 1)[1:-1]
        bins = np.where(np.isnan(confidence), np.nan, np.searchsorted(edges, confidence, side="left"))
        gap = confidence - (found.truth == found.predicted)

        def reduce(chosen: Float64) -> float:
            sums = np.bincount(chosen[:, 0].astype(np.int64), weights=chosen[:, 1])
            return float(np.abs(sums).sum() / len(chosen)) if len(chosen) else math.nan

        return Statistics(np.stack([bins, gap], axis=1), reduce)


def agreement(name: str) -> Agreement:
    """The measure ``name`` of AGREEMENTS, upper or lower case. Raises InputError for another."""
    known = {figure.lower(): figure for figure in AGREEMENTS}
    if name.lower() not in known:
        raise InputError(f"unknown classification measure {name!r}: choose one of {', '.join(AGREEMENTS)}")
    return Agreement(known[name.lower()])


def area(kind: str, label: str | int | None = None) -> Area:
    """AUROC or AUPRC (``kind``, upper or lower case) of one ``label``; None takes the mean over all."""
    return Area(kind.upper(), None if label is None else str(label))


def _kappa(sums: Float64) -> float:
    n, a, b, aa, bb, ab = sums.sum(axis=0)
    by_chance = aa + bb - 2 * a * b / n
    return float(1 - (aa + bb - 2 * ab) / by_chance) if by_chance > 1e-12 * (aa + bb) else math.nan


def _source() -> str:
    return f"{library('numpy')}, after scikit-learn's definitions"
