"""Pooling: the renormalised mean of each run of rows."""

from __future__ import annotations

import numpy as np
import pytest

from ragvlm.encoders.pooling import pool


def test_each_row_is_the_renormalised_mean_of_its_slices():
    rows = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    assert pool(rows, [2, 1]) == pytest.approx(np.array([[0.5**0.5, 0.5**0.5], [0.6, 0.8]]))
    assert pool(rows, [1, 1, 1]).tobytes() == rows.tobytes()
    assert pool(rows, [3]).dtype == np.float32
    assert np.isfinite(pool(np.array([[1, 0], [-1, 0]], np.float32), [2])).all()


@pytest.mark.parametrize("sizes", [[2], [0, 3], [4]])
def test_sizes_must_divide_the_rows(sizes):
    with pytest.raises(ValueError, match="don't divide 3 vectors"):
        pool(np.eye(3, dtype=np.float32), sizes)
