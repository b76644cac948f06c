"""Hand-worked fusions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragvlm.fusion import Ranking, diversify, mean_calibrated, reciprocal_rank


def test_reciprocal_rank_by_hand() -> None:
    # row 2: 1/62 + 1/61; row 1: 1/61 + 1/63; row 3: 1/62 alone
    fused = reciprocal_rank([[(1, 0.9), (2, 0.8)], [(2, 0.5), (3, 0.4), (1, 0.1)]])
    assert [row for row, _ in fused] == [2, 1, 3]
    assert fused[0][1] == pytest.approx(1 / 62 + 1 / 61)
    assert fused[2][1] == pytest.approx(1 / 62)


def test_equal_points_keep_the_lower_row_first() -> None:
    assert [row for row, _ in reciprocal_rank([[(7, 0.9)], [(3, 0.9)]])] == [3, 7]


def test_mean_calibrated_by_hand() -> None:
    # 0.5 is the mean of its scale: share 0.5; 0.9 lies one deviation above its mean: 0.8413; 0.3 two below: 0.0228
    fused = mean_calibrated([[(1, 0.5), (2, 0.3)], [(1, 0.9)]], [(0.5, 0.1), (0.8, 0.1)])
    assert fused == [(1, pytest.approx((0.5 + 0.8413) / 2, abs=1e-4)), (2, pytest.approx(0.0228 / 2, abs=1e-4))]


def test_mean_calibrated_keeps_order_in_a_corpus_of_copies() -> None:
    assert [row for row, _ in mean_calibrated([[(5, 0.99), (1, 0.9)], []], [(1.0, 0.0), (1.0, 0.0)])] == [5, 1]


@given(st.lists(st.integers(0, 40), unique=True, max_size=20), st.lists(st.integers(0, 40), unique=True, max_size=20))
def test_fusion_keeps_every_row_once_and_ignores_the_order_of_rankings(one: list[int], two: list[int]) -> None:
    first: Ranking = [(row, 1.0) for row in one]
    second: Ranking = [(row, 1.0) for row in two]
    fused = reciprocal_rank([first, second])
    assert sorted(row for row, _ in fused) == sorted({*one, *two})
    assert reciprocal_rank([second, first]) == fused


def test_diversity_prefers_the_different_to_the_double() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    ranking = [(10, 0.9), (11, 0.89), (12, 0.5)]
    assert [row for row, _ in diversify(ranking, vectors, 0.5)] == [10, 12, 11]
    assert [row for row, _ in diversify(ranking, vectors, 0.0)] == [10, 11, 12]
