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
    hold it against ``Curve.risk_of_all`` and ``best_area``. ``foreign``: items with ``facts["in_corpus"]`` false have
    loss 1 whatever is said of them, since they should be refused, and need no references.

    ``by`` names the confidence among ``facts``: "confidence", "p_value", ... (one of LOWER_IS_SURER turned round); for
    a mapping of labels to probabilities "confidence" is the highest of them. All items must have been answered: run the
    system without abstention. Items without the fact or without a score aren't defined. Raises InputError where the
    measure has no scores of single items, naming items whose confidence is no number, and what ``measure`` raises.
    """

    measure: Measure
    by: str = "confidence"
    foreign: bool = False

    higher_is_better = False

    @property
    def name(self) -> str:
        """Such as "AURC (ROUGE-L by confidence)"."""
        return f"AURC{' with foreign' if self.foreign else ''} ({self.measure.name} by {self.by})"

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
        own = np.array([not (self.foreign and _known(item) == 0) for item in items], dtype=bool)
        scores = self.measure.statistics([item for item, known in zip(items, own, strict=True) if known]).scores
        if scores is None:
            raise InputError(f"{self.measure.name} has no scores of single items, which a risk-coverage curve needs")
        loss = np.ones(len(items))
        loss[own] = 1 - scores if self.measure.higher_is_better else scores
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


@dataclass(frozen=True, slots=True)
class Refused:
    """Share of the queries whose p-value (the fact "p_value") is below ``alpha``, which ``ragvlm describe`` refuses.

    ``side``: "foreign" queries (``facts["in_corpus"]`` false), where higher is better, or "in-corpus" ones (true),
    where lower is: a valid test refuses at most ``alpha`` of these. In [0, 1]. Items of the other side and without
    the facts aren't defined. Raises InputError as ``Foreign`` does, and for an alpha outside (0, 1).
    """

    side: str = "foreign"
    alpha: float = 0.05

    task = "describe"

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise InputError(f"alpha is {self.alpha:g}: give a level between 0 and 1, such as 0.05")

    @property
    def name(self) -> str:
        """Such as "refused foreign (p_value < 0.05)"."""
        return f"refused {self.side} (p_value < {self.alpha:g})"

    @property
    def higher_is_better(self) -> bool:
        """True of foreign queries."""
        return self.side == "foreign"

    @property
    def source(self) -> str:
        """ragvlm's own code."""
        return "ragvlm"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """One score an item: 1 where it is refused."""
        return Statistics.of_scores([self._score(item) for item in items])

    def _score(self, item: Item) -> float:
        p = _confidence(item, "p_value")
        asked = _known(item) == (self.side == "in-corpus")
        return float(p < self.alpha) if asked and not math.isnan(p) else math.nan


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


def aurc(
    figure: str, by: str = "confidence", foreign: str | bool | None = None, *, task: str = "describe"
) -> RiskCoverage:
    """``RiskCoverage`` of the measure named ``figure`` of ``task``. Raises InputError for an unknown name."""
    from ragvlm.measures import measure

    return RiskCoverage(measure(figure, task), by, bool(foreign))


def refused(side: str, alpha: str | float = 0.05) -> Refused:
    """``Refused`` of the ``side`` "in-corpus" or "foreign". Raises InputError for an alpha outside (0, 1)."""
    return Refused(side.lower(), float(alpha))


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
