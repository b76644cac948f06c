"""Intervals and p-values: by hand, against scipy, and by simulating what they promise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from ragvlm.errors import InputError
from ragvlm.measures.base import Float64, Item, Statistics
from ragvlm.statistics import NO_VARIANCE, ONE_CLUSTER, UNDEFINED, holm, interval, paired, statistics_of_two


def _names(n: int) -> list[str]:
    return [f"s{i:03d}" for i in range(n)]


def _ratio(rows: Float64) -> float:
    total = rows.sum(axis=0)
    return float(total[0] / total[1])


def _median(rows: Float64) -> float:
    return float(np.median(rows[:, 0]))


def test_holm_by_hand() -> None:
    # sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and no one below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []
    corrected = holm([math.nan, 0.01, 0.02])
    assert math.isnan(corrected[0])
    assert corrected[1:] == pytest.approx([0.02, 0.02])  # NaN isn't counted


@given(st.lists(st.floats(0, 1), max_size=30))
def test_holm_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert ((corrected >= p_values) & (corrected <= 1)).all()
    assert (np.diff(corrected[np.argsort(p_values, kind="stable")]) >= 0).all()


def test_permutation_by_hand() -> None:
    ones, zeros = Statistics.of_scores([1.0, 1.0, 1.0]), Statistics.of_scores([0.0, 0.0, 0.0])
    # of the 8 ways to swap three subjects, none and all of them give |1|, the others |1/3|
    found = paired(ones, zeros, ["a", "b", "c"])
    assert (found.value, found.p, found.exact) == (1.0, 2 / 8, True)
    # two subjects: of 4 ways none and all give |1|
    assert paired(ones, zeros, ["a", "a", "c"]).p == 2 / 4
    # differences 3, 1 and -1 over 3: the 8 sums are +-5, +-3, +-3, +-1, of which six reach |3|
    found = paired(Statistics.of_scores([3.0, 1.0, 0.0]), Statistics.of_scores([0.0, 0.0, 1.0]), ["a", "b", "c"])
    assert (found.value, found.p) == (1.0, 6 / 8)


def test_interval_agrees_with_scipy_where_items_are_independent() -> None:
    scores = np.random.default_rng(1).gamma(2.0, size=200)
    for reduce, function in ((None, np.mean), (_median, np.median)):
        ours = Statistics.of_scores(scores) if reduce is None else Statistics(scores[:, None], reduce)
        found = interval(ours, _names(200), resamples=20_000 if reduce is None else 6000, seed=3)
        theirs = scipy_stats.bootstrap(
            (scores,), function, n_resamples=20_000, method="percentile", rng=np.random.default_rng(4)
        )
        width = theirs.confidence_interval.high - theirs.confidence_interval.low
        assert found.value == pytest.approx(function(scores))
        assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
        assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)


@pytest.mark.parametrize("n", [9, 40])
def test_permutation_agrees_with_scipy_where_items_are_independent(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.3, size=n), rng.normal(size=n)
    found = paired(Statistics.of_scores(a), Statistics.of_scores(b), _names(n), resamples=20_000)
    theirs = scipy_stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=20_000, rng=rng
    )
    assert found.exact == (n == 9)
    assert found.p == pytest.approx(theirs.pvalue, abs=1e-12 if found.exact else 0.015)


@pytest.mark.parametrize("clusters", [_names(60), [f"s{i // 4}" for i in range(60)], ["a", "b", "c"] * 20])
def test_sums_over_clusters_give_what_rows_give(clusters: list[str]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((60, 2)), rng.random((60, 2))
    a[7] = b[11] = np.nan
    by_rows, by_sums = ([Statistics(rows, _ratio, additive=additive) for rows in (a, b)] for additive in (False, True))
    one, two = interval(by_rows[0], clusters, resamples=300), interval(by_sums[0], clusters, resamples=300)
    assert [one.value, one.low, one.high] == pytest.approx([two.value, two.low, two.high])
    assert (one.n, one.clusters) == (two.n, two.clusters) == (59, len(set(clusters)) - (len(set(clusters)) == 60))
    first, second = paired(*by_rows, clusters, resamples=300), paired(*by_sums, clusters, resamples=300)
    assert [first.value, first.low, first.high] == pytest.approx([second.value, second.low, second.high])
    assert (first.p, first.n) == (second.p, 58)
    scores = Statistics.of_scores(a[:, 0])
    by_mean = interval(Statistics(scores.rows, scores.reduce), clusters, resamples=300)
    assert by_mean.low == pytest.approx(interval(scores, clusters, resamples=300).low)


def _subjects(rng: np.random.Generator, n_subjects: int, each: int) -> Float64:
    """Scores of mean 0 whose half of the variance is the subject's."""
    return (rng.normal(size=(n_subjects, 1)) + rng.normal(size=(n_subjects, each))).ravel()


def test_intervals_cover_what_they_promise_only_by_subject() -> None:
    rng = np.random.default_rng(2024)
    subjects = np.repeat(_names(50), 5).tolist()
    by_subject = by_item = 0
    for run in range(400):
        stats = Statistics.of_scores(_subjects(rng, 50, 5))
        found = interval(stats, subjects, resamples=500, seed=run % 4)
        by_subject += found.low <= 0 <= found.high
        naive = interval(stats, _names(250), resamples=500, seed=run % 4)
        by_item += naive.low <= 0 <= naive.high
    assert 0.92 <= by_subject / 400 <= 0.975  # 0.95 +- 2.5 standard errors, less what percentile limits lose
    assert by_item / 400 < 0.85


def test_p_values_are_uniform_where_the_systems_are_equal() -> None:
    rng = np.random.default_rng(7)
    subjects = np.repeat(_names(30), 4).tolist()
    found = []
    for run in range(300):
        shared = _subjects(rng, 30, 4)
        a, b = (Statistics.of_scores(shared + _subjects(rng, 30, 4)) for _ in range(2))
        found.append(paired(a, b, subjects, resamples=400, seed=run % 3).p)
    assert scipy_stats.kstest(found, "uniform").pvalue > 0.01
    assert 0.02 < np.mean(np.array(found) <= 0.05) < 0.085


def test_a_difference_is_seen_better_in_pairs() -> None:
    rng = np.random.default_rng(0)
    shared = _subjects(rng, 60, 2) * 3
    a, b = Statistics.of_scores(shared + 0.3 + 0.2 * rng.normal(size=120)), Statistics.of_scores(shared)
    subjects = np.repeat(_names(60), 2).tolist()
    alone, found = interval(a, subjects), paired(a, b, subjects)
    assert 0 < found.low < 0.3 < found.high + 0.1
    assert found.high - found.low < 0.1 * (alone.high - alone.low)
    assert found.p == 1 / 2001  # as small as 2,000 swaps can show


def test_degenerate_cases_say_so() -> None:
    nan = math.nan
    one = interval(Statistics.of_scores([0.2, 0.4]), ["a", "a"])
    assert (one.value, one.n, one.clusters, one.note) == (pytest.approx(0.3), 2, 1, ONE_CLUSTER)
    assert math.isnan(one.low)
    assert one.to_dict() == {
        "value": one.value, "low": None, "high": None, "n": 2, "clusters": 1, "note": ONE_CLUSTER
    }  # fmt: skip
    nothing = interval(Statistics.of_scores([nan, nan]), ["a", "b"])
    assert (nothing.n, nothing.note, nothing.to_dict()["value"]) == (0, UNDEFINED, None)
    same = interval(Statistics.of_scores([1.0, 1.0, nan]), ["a", "b", "c"])
    assert (same.low, same.high, same.n, same.note) == (1.0, 1.0, 2, NO_VARIANCE)
    equal = paired(Statistics.of_scores([0.1, 0.7]), Statistics.of_scores([0.1, 0.7]), ["a", "b"])
    assert (equal.value, equal.low, equal.high, equal.p, equal.note) == (0.0, 0.0, 0.0, 1.0, NO_VARIANCE)
    alone = paired(Statistics.of_scores([0.1, 0.7]), Statistics.of_scores([0.2, 0.7]), ["a", "a"])
    assert math.isnan(alone.p)
    assert alone.to_dict()["p"] is None
    apart = paired(Statistics.of_scores([0.1, nan]), Statistics.of_scores([nan, 0.7]), ["a", "b"])
    assert (apart.n, apart.note) == (0, UNDEFINED)


def test_a_measure_that_resamples_leave_undefined_has_no_interval() -> None:
    def rare(rows: Float64) -> float:
        return float(rows.sum()) if (rows == 1).any() else math.nan

    found = interval(Statistics(np.array([[1.0], [0.0], [0.0]]), rare), ["a", "b", "c"])
    assert found.value == 1.0
    assert math.isnan(found.low)
    assert "not defined on more than 1 in 10" in found.note
    pair = paired(Statistics(np.array([[1.0], [0.0]]), rare), Statistics(np.array([[0.0], [1.0]]), rare), ["a", "b"])
    assert pair.p == 1.0  # swaps that leave it undefined count against a difference


def test_the_same_seed_gives_the_same_figures_in_any_order_of_items() -> None:
    rng = np.random.default_rng(5)
    scores, other = rng.random(80), rng.random(80)
    subjects = np.array([f"s{i}" for i in rng.integers(0, 25, 80)])
    order = rng.permutation(80)
    first = paired(Statistics.of_scores(scores), Statistics.of_scores(other), subjects.tolist(), seed=9)
    moved = paired(
        Statistics.of_scores(scores[order]), Statistics.of_scores(other[order]), subjects[order].tolist(), seed=9
    )
    assert [moved.low, moved.high, moved.p] == pytest.approx([first.low, first.high, first.p], rel=1e-12)
    assert paired(Statistics.of_scores(scores), Statistics.of_scores(other), subjects.tolist(), seed=9) == first
    again = paired(Statistics.of_scores(scores), Statistics.of_scores(other), subjects.tolist(), seed=8)
    assert again.low != first.low


@dataclass(frozen=True)
class _Accuracy:
    """A measure whose columns are the labels that occur among the items: hits and misses of each."""

    name: str = "accuracy"
    task: str = "classify"
    higher_is_better: bool = True
    source: str = "this test"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        labels = sorted({item.prediction for item in items} | {item.references for item in items})
        rows = np.zeros((len(items), 2 * len(labels)))
        for row, item in zip(rows, items, strict=True):
            row[2 * labels.index(item.prediction) + (item.prediction != item.references)] = 1
        return Statistics(rows, lambda r: float(r[:, ::2].sum() / r.sum()), additive=True)


def test_two_systems_are_counted_in_the_same_columns() -> None:
    right = ["cat", "cat", "dog", "dog", "dog", "dog"]
    a = [Item(str(i), str(i), "cat", label) for i, label in enumerate(right)]
    b = [Item(str(i), str(i), label, label) for i, label in enumerate(right)]
    b[0] = Item("0", "0", "a bird", "cat")
    assert _Accuracy().statistics(a).rows.shape != _Accuracy().statistics(b).rows.shape
    first, second = statistics_of_two(_Accuracy(), a, b)
    found = paired(first, second, [item.cluster for item in a])
    assert found.value == pytest.approx(2 / 6 - 5 / 6)
    # the systems differ on items 0 (a right) and 2 to 5 (b right): 64 swaps, |3 / 6| by sums of five signs
    signs = np.array(np.meshgrid(*[[-1, 1]] * 5)).reshape(5, -1).sum(axis=0)
    assert found.p == np.mean(np.abs(signs) >= 3)


def test_wrong_use_is_refused() -> None:
    stats = Statistics.of_scores([0.1, 0.2])
    with pytest.raises(InputError, match="1 clusters for 2 items"):
        interval(stats, ["a"])
    with pytest.raises(InputError, match="level is 95"):
        interval(stats, ["a", "b"], level=95)
    with pytest.raises(InputError, match="resamples is 0"):
        interval(stats, ["a", "b"], resamples=0)
    with pytest.raises(InputError, match="can't be paired"):
        paired(stats, Statistics.of_scores([0.1]), ["a", "b"])
    with pytest.raises(InputError, match="p-values lie in"):
        holm([1.2])
