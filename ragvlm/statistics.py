"""Intervals, paired differences and corrected p-values for any measure, with subjects as the unit of chance.

Pictures of one subject are no independent evidence, so whole clusters (subjects) are drawn:

- interval: the cluster bootstrap, that is clusters drawn with replacement and all their items taken along, called
  "randomized cluster bootstrap" by Field and Welsh 2007 (doi 10.1111/j.1467-9868.2007.00593.x) and "pairs cluster
  bootstrap" by Cameron, Gelbach and Miller 2008 (doi 10.1162/rest.90.3.414), with percentile limits;
- difference: both systems on the same drawn clusters;
- p-value: a cluster's predictions are swapped between the two systems, at random, or in every way where clusters are
  few; (b + 1) / (m + 1) by Phipson and Smyth 2010 (doi 10.2202/1544-6115.1585);
- many p-values: Holm 1979, Scandinavian Journal of Statistics 6:65-70.

Few clusters make percentile intervals too narrow (``benchmarks/intervals.py`` measures by how much).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ragvlm.errors import InputError
from ragvlm.measures.base import Float64, Item, Measure, Statistics

LEVEL = 0.95
RESAMPLES = 2000
LEAST_DEFINED = 0.9  # share of the resamples that must leave the measure defined
ONE_CLUSTER = "one subject only: no interval"
UNDEFINED = "not defined on any item"
OFTEN_UNDEFINED = "not defined on more than 1 in 10 resamples: no interval"
NO_VARIANCE = "no variance: all resamples agree, which is no proof of certainty"
_BLOCK = 64  # resamples at a time
_CACHED_CLUSTERS = 1 << 15
_Draw: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Interval:
    """A measure's ``value`` with its limits, in the measure's unit; NaN where there are none, and ``note`` says why.

    ``n`` counts the items for which the measure is defined, ``clusters`` the subjects among these.
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON types; null for NaN. ``note`` only where there is one."""
        return _plain({name: getattr(self, name) for name in ("value", "low", "high", "n", "clusters", "note")})


@dataclass(frozen=True, slots=True)
class Difference:
    """System a's measure minus system b's on the ``n`` items for which it is defined in both.

    ``p`` in (0, 1] is two-sided: how often swapping the systems makes the difference at least as large; never below
    1 / (resamples + 1). ``exact``: all swaps were tried. NaN where there is none, and ``note`` says why.
    """

    value: float
    low: float
    high: float
    p: float
    n: int
    clusters: int
    exact: bool = False
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON types; null for NaN. ``value`` is called "difference"; ``note`` only where there is one."""
        names = ("low", "high", "p", "n", "clusters", "exact", "note")
        return _plain({"difference": self.value} | {name: getattr(self, name) for name in names})


def interval(
    stats: Statistics,
    clusters: Sequence[str],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The measure on all items, with the percentile limits of the cluster bootstrap.

    ``clusters`` (n,) names each item's subject. Items without the measure (NaN rows) are left out beforehand. The same
    seed and the same number of clusters give the same draws. With one cluster, or where more than 1 in 10 resamples
    leave the measure undefined, low and high are NaN; resamples that all agree give low = high, and a note.
    Raises InputError for lengths that differ, a level outside (0, 1) and resamples below 1.
    """
    _check(stats, clusters, level, resamples)
    rows, codes, n_clusters = _defined(stats.rows, clusters, stats.defined)
    if not len(rows):
        return Interval(math.nan, math.nan, math.nan, 0, 0, UNDEFINED)
    value = float(stats.reduce(rows))
    drawn = _Sample(stats, (rows,), codes, n_clusters).bootstrap(resamples, seed)
    low, high, note = _limits(drawn[:, 0], n_clusters, level)
    return Interval(value, low, high, len(rows), n_clusters, note)


def paired(
    a: Statistics,
    b: Statistics,
    clusters: Sequence[str],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """a minus b on the same items, with percentile limits over the same drawn clusters, and the permutation p-value.

    The rows of both must mean the same: for a measure that is no mean of scores take them from ``statistics_of_two``.
    Where 2 ** clusters is at most ``resamples``, all swaps are tried and p is exact. A swap that leaves the measure
    undefined counts against a difference. Degenerate cases as in ``interval``; one cluster gives no p-value either.
    Raises InputError as ``interval`` does, and for rows that differ in shape.
    """
    _check(a, clusters, level, resamples)
    if a.rows.shape != b.rows.shape:
        raise InputError(
            f"statistics of {a.rows.shape} and {b.rows.shape} can't be paired: take the same items for both"
        )
    both = a.defined & b.defined
    first, codes, n_clusters = _defined(a.rows, clusters, both)
    second = b.rows[both]
    if not len(first):
        return Difference(math.nan, math.nan, math.nan, math.nan, 0, 0, note=UNDEFINED)
    value = float(a.reduce(first)) - float(b.reduce(second))
    sample = _Sample(a, (first, second), codes, n_clusters)
    drawn = sample.bootstrap(resamples, seed)
    low, high, note = _limits(drawn[:, 0] - drawn[:, 1], n_clusters, level)
    exact = n_clusters <= math.log2(resamples)
    p = math.nan
    if n_clusters > 1 and not math.isnan(value):
        p = _permutation(sample, value, resamples, seed, exact=exact)
    return Difference(value, low, high, p, len(first), n_clusters, exact, note)


def holm(p_values: ArrayLike) -> Float64:
    """Holm's step-down adjusted p-values (m,), in the order given; NaN stays NaN and isn't counted.

    The i-th smallest of m is multiplied by m - i + 1, made at least as large as the one before, and at most 1.
    Raises InputError for values outside [0, 1].
    """
    p = np.asarray(p_values, np.float64).reshape(-1)
    if ((p < 0) | (p > 1)).any():
        raise InputError("p-values lie in [0, 1]; correct the ones that don't")
    order = np.argsort(p, kind="stable")[: int((~np.isnan(p)).sum())]
    adjusted = np.full(len(p), math.nan)
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def statistics_of_two(measure: Measure, a: Sequence[Item], b: Sequence[Item]) -> tuple[Statistics, Statistics]:
    """The statistics of two systems' items, (n,) each in the same order, with rows that mean the same.

    The columns of some rows are what occurs among the items, such as classes: those measures are given all items at
    once. Scores stand for themselves, and some of them depend on the corpus of references: means are taken apart.
    """
    first = measure.statistics(a)
    if first.mean:
        return first, measure.statistics(b)
    joint = measure.statistics([*a, *b])
    return _part(joint, slice(0, len(a))), _part(joint, slice(len(a), None))


def _part(stats: Statistics, chosen: slice) -> Statistics:
    scores = None if stats.scores is None else stats.scores[chosen]
    return replace(stats, rows=stats.rows[chosen], scores=scores)


def _check(stats: Statistics, clusters: Sequence[str], level: float, resamples: int) -> None:
    if len(clusters) != len(stats.rows):
        raise InputError(f"{len(clusters)} clusters for {len(stats.rows)} items: name the cluster of each item")
    if not 0 < level < 1:
        raise InputError(f"level is {level}: give a share such as 0.95")
    if resamples < 1:
        raise InputError(f"resamples is {resamples}: give at least 1 (default {RESAMPLES})")


def _defined(
    rows: Float64, clusters: Sequence[str], chosen: NDArray[np.bool_]
) -> tuple[Float64, NDArray[np.int64], int]:
    """The chosen rows, the number of each one's cluster, and how many clusters there are."""
    # numbered in the order of their names: the order of the items then has no part in what is drawn
    names, codes = np.unique(np.array(clusters, dtype=np.str_)[chosen], return_inverse=True)
    return rows[chosen], codes, len(names)


def _limits(drawn: Float64, n_clusters: int, level: float) -> tuple[float, float, str]:
    if n_clusters == 1:
        return math.nan, math.nan, ONE_CLUSTER
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < LEAST_DEFINED * len(drawn):
        return math.nan, math.nan, OFTEN_UNDEFINED
    low, high = (float(limit) for limit in np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]))
    return low, high, NO_VARIANCE if high - low <= 1e-12 * max(abs(low), abs(high)) else ""


@dataclass(frozen=True, slots=True)
class _Sample:
    """What is drawn from: the rows of one system or of two, float64 (n, m) each, and the clusters of the items."""

    stats: Statistics
    systems: tuple[Float64, ...]
    codes: NDArray[np.int64]
    n_clusters: int

    @property
    def by_sums(self) -> bool:
        """Whether sums over clusters tell all that the measure looks at."""
        return self.stats.mean or self.stats.additive

    def sums(self) -> list[Float64]:
        """Of each system the sums of the rows of each cluster, and in a last column their number: (clusters, m + 1)."""
        found = []
        for rows in self.systems:
            columns = [np.bincount(self.codes, weights=column, minlength=self.n_clusters) for column in rows.T]
            found.append(np.stack([*columns, np.bincount(self.codes, minlength=self.n_clusters)], axis=1))
        return found

    def reduced(self, sums: Float64) -> Float64:
        """The measure of each of the sums (k, m + 1): float64 (k,)."""
        if self.stats.mean:
            return np.asarray(sums[:, 0] / sums[:, -1])
        if self.stats.many is not None:
            return self.stats.many(sums[:, :-1])
        return np.array([self.stats.reduce(row[None, :-1]) for row in sums])

    def bootstrap(self, resamples: int, seed: int) -> Float64:
        """The measure on each resample and system: (resamples, systems)."""
        sums = self.sums() if self.by_sums else []
        found = []
        for counts in _blocks(_counts, self.n_clusters, resamples, seed):
            if sums:
                weights = counts.astype(np.float64)
                found.append(np.stack([self.reduced(weights @ of_system) for of_system in sums], axis=1))
            else:
                picks = [np.repeat(np.arange(len(self.codes)), count[self.codes]) for count in counts]
                found.append(np.array([[self.stats.reduce(rows[pick]) for rows in self.systems] for pick in picks]))
        return np.concatenate(found)

    def swapped(self, swaps: Iterable[_Draw]) -> Float64:
        """The difference of the two systems after each swap: (k,)."""
        one, two = self.sums() if self.by_sums else self.systems
        reduce, found = self.stats.reduce, []
        for block in swaps:
            if self.by_sums:
                moved = block.astype(np.float64) @ (two - one)
                found.append(self.reduced(one.sum(axis=0) + moved) - self.reduced(two.sum(axis=0) - moved))
            else:
                sides = [swap[self.codes, None] == 1 for swap in block]
                pairs = [(np.where(side, two, one), np.where(side, one, two)) for side in sides]
                found.append(np.array([reduce(a) - reduce(b) for a, b in pairs]))
        return np.concatenate(found)


def _permutation(sample: _Sample, observed: float, resamples: int, seed: int, *, exact: bool) -> float:
    n = sample.n_clusters
    every = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.uint8) if exact else None
    values = sample.swapped(_blocks(_swaps, n, resamples, seed) if every is None else [every])
    equal = 1e-12 * max(abs(observed), abs(sample.stats.reduce(sample.systems[0])))
    hits = int((~(np.abs(values) < abs(observed) - equal)).sum())
    return hits / len(values) if exact else (hits + 1) / (len(values) + 1)


def _blocks(draw: Callable[[int, int, int], _Draw], n_clusters: int, resamples: int, seed: int) -> Iterator[_Draw]:
    # a table has many figures on the same clusters, and drawing takes longer than all the rest
    kept = draw if n_clusters <= _CACHED_CLUSTERS else draw.__wrapped__  # type: ignore[attr-defined]
    for block, start in enumerate(range(0, resamples, _BLOCK)):
        yield kept(n_clusters, block, seed)[: resamples - start]


@lru_cache(maxsize=32)
def _counts(n_clusters: int, block: int, seed: int) -> _Draw:
    """How often each of a block's resamples holds each cluster: uint8 (_BLOCK, n_clusters)."""
    picks = np.random.default_rng([seed, block]).integers(0, n_clusters, size=(_BLOCK, n_clusters), dtype=np.int64)
    places = (picks + np.arange(_BLOCK)[:, None] * n_clusters).ravel()
    # no count passes 255: it is at most n_clusters, and of many clusters each is drawn about once
    return np.bincount(places, minlength=_BLOCK * n_clusters).reshape(_BLOCK, n_clusters).astype(np.uint8)


@lru_cache(maxsize=32)
def _swaps(n_clusters: int, block: int, seed: int) -> _Draw:
    """Which clusters are swapped: 0 or 1, uint8 (_BLOCK, n_clusters)."""
    drawn = np.random.default_rng([seed, block, 1]).integers(0, 256, size=_BLOCK * n_clusters // 8, dtype=np.uint8)
    return np.unpackbits(drawn).reshape(_BLOCK, n_clusters)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in values.items() if name != "note" or value}
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in given.items()}
