"""Knowing what one doesn't know: the area under the risk-coverage curve, and telling foreign queries from own ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ragvlm.errors import InputError
from ragvlm.measures.areas import auroc, ranks
from ragvlm.measures.base import Float64, Item, Measure, Statistics, refuse

LOWER_IS_SURER = frozenset({"distance", "nonconformity"})
"""Facts of which a lower value means that the system is surer, or the query nearer to the corpus."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A risk-coverage curve (El-Yaniv and Wiener 2010, JMLR 11:1605-1641) from the surest item on.

    ``coverage`` (m,) in (0, 1] is the share of items that a system answers which abstains below ``threshold`` (m,), and
    ``risk`` (m,) their mean loss; a point for each different confidence. ``area`` is that of ``RiskCoverage``;
    ``risk_of_all`` the loss without abstention, which is also the area where confidence tells nothing; ``best_area``
    the area where the confidence orders the items by their loss.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    threshold: tuple[float, ...]
    area: float
    risk_of_all: float
    best_area: float

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        lists = {name: list(getattr(self, name)) for name in ("coverage", "risk", "threshold")}
        return lists | {name: getattr(self, name) for name in ("area", "risk_of_all", "best_area")}


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Area under the risk-coverage curve (AURC): how well a system's confidence ranks its own errors.

    (1 / n) sum_i r_i, r_i the mean loss of the i surest items (Geifman, Uziel and El-Yaniv 2019, arXiv:1805.08206), in
    the mean over all orders of items of equal confidence. The loss is 1 - score by ``measure``, or the score where
    lower is better. In [0, 1] for a measure in [0, 1], lower is better; it falls also where the system gets better, so
    hold it against ``Curve.risk_of_all`` and ``best_area``.

    ``by`` names the confidence among ``facts``: "confidence", "p_value", ... (one of LOWER_IS_SURER turned round); for
    a mapping of labels to probabilities "confidence" is the highest of them. All items must have been answered: run the
    system without abstention. Items without the fact or without a score aren't defined. Raises InputError where the
    measure has no scores of single items, naming items whose confidence is no number, and what ``measure`` raises.
    """

    measure: Measure
    by: str = "confidence"

    higher_is_better = False

    @property
    def name(self) -> str:
        """Such as "AURC (ROUGE-L by confidence)"."""
        return f"AURC ({self.measure.name} by {self.by})"

    @property
    def task(self) -> str:
        """The measure's."""
        return self.measure.task

    @property
    def source(self) -> str:
        """ragvlm's own code, and the measure's."""
        return f"ragvlm, of {self.measure.source}"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """Rows: confidence and loss."""
        return Statistics(self._rows(items), lambda rows: float(_risks(*rows.T).mean()) if len(rows) else math.nan)

    def curve(self, items: Sequence[Item]) -> Curve:
        """The curve as data, empty without a defined item. Raises what ``statistics`` raises."""
        rows = self._rows(items)
        return risk_coverage(*rows[~np.isnan(rows).any(axis=1)].T)

    def _rows(self, items: Sequence[Item]) -> Float64:
        scores = self.measure.statistics(items).scores
        if scores is None:
            raise InputError(f"{self.measure.name} has no scores of single items, which a risk-coverage curve needs")
        loss = 1 - scores if self.measure.higher_is_better else scores
        return np.stack([[_confidence(item, self.by) for item in items], loss], axis=1)


@dataclass(frozen=True, slots=True)
class Foreign:
    """AUROC of telling queries whose kind the corpus knows (``facts["in_corpus"]`` true) from foreign ones (false).

    The probability that a known query has the higher value of the fact ``by`` ("p_value", or one of LOWER_IS_SURER
    turned round) than a foreign one, ties counted half. In [0, 1], higher is better, 0.5 is chance. P-values of few
    references are often equal: "nonconformity" is finer. Items without the facts aren't defined. Raises InputError
    naming items with another "in_corpus" than true or false, or whose fact is no number.
    """

    by: str = "p_value"

    task = "describe"
    higher_is_better = True

    @property
    def name(self) -> str:
        """Such as "AUROC in-corpus (p_value)"."""
        return f"AUROC in-corpus ({self.by})"

    @property
    def source(self) -> str:
        """ragvlm's own code."""
        return "ragvlm, after scikit-learn's definition"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """Rows: 1 for a known query and 0 for a foreign one, and the rank of the fact."""
        known = np.array([_known(item) for item in items], dtype=np.float64)
        rank = ranks(np.array([_confidence(item, self.by) for item in items], dtype=np.float64))
        return Statistics(np.stack([known, rank], axis=1), lambda rows: auroc(rows[:, 0] == 1, rows[:, 1]))


def risk_coverage(confidence: Float64, loss: Float64) -> Curve:
    """The curve of items with these confidences (n,), higher is surer, and losses (n,), all finite."""
    n = len(confidence)
    if not n:
        return Curve((), (), (), math.nan, math.nan, math.nan)
    risks = _risks(confidence, loss)
    ranked = np.sort(confidence)[::-1]
    last = np.append(ranked[1:] != ranked[:-1], True)
    coverage = np.arange(1, n + 1)[last] / n
    return Curve(
        tuple(coverage.tolist()),
        tuple(risks[last].tolist()),
        tuple(ranked[last].tolist()),
        float(risks.mean()),
        float(loss.mean()),
        float(_risks(-loss, loss).mean()),
    )


def aurc(figure: str, by: str = "confidence", *, task: str = "describe") -> RiskCoverage:
    """``RiskCoverage`` of the measure named ``figure`` of ``task``. Raises InputError for an unknown name."""
    from ragvlm.measures import measure

    return RiskCoverage(measure(figure, task), by)


def _risks(confidence: Float64, loss: Float64) -> Float64:
    """The mean loss of the i surest items, i = 1, ..., n; items of equal confidence share their mean loss."""
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    group = np.append(0, np.cumsum(ranked[1:] != ranked[:-1]))
    shared = np.bincount(group, weights=loss[order]) / np.bincount(group)
    return np.asarray(np.cumsum(shared[group]) / np.arange(1, len(loss) + 1))


def _confidence(item: Item, by: str) -> float:
    value = item.facts.get(by)
    if value is None and by == "confidence" and isinstance(item.prediction, Mapping) and item.prediction:
        value = max(item.prediction.values())
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or np.isnan(value):
        raise refuse([item], f"{by} is {value!r}: give a number")
    return -float(value) if by in LOWER_IS_SURER else float(value)


def _known(item: Item) -> float:
    value = item.facts.get("in_corpus")
    if value is not None and not isinstance(value, (bool, np.bool_)):
        raise refuse([item], f"in_corpus is {value!r}: give true or false")
    return math.nan if value is None else float(value)
