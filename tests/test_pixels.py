"""The scaling of deep pixels: its range, its monotony, and that sparse spots survive it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ragvlm.errors import ImageError
from ragvlm.pixels import array_to_rgb, scale_to_uint8, upright

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)
integers = st.sampled_from(["<u2", ">u2", "<i2", "<i4", "<u4", "<i8", "|i1"])
floats = hnp.arrays(st.sampled_from(["<f2", "<f4", "<f8", ">f4"]), shapes, elements=st.floats(-1e4, 1e4, width=16))
arrays = st.one_of(integers.flatmap(lambda kind: hnp.arrays(kind, shapes)), floats)


@given(arrays)
def test_scaling_is_monotone_and_fills_the_range(values):
    scaled = scale_to_uint8(values)
    assert scaled.dtype == np.uint8
    assert scaled.shape == values.shape
    in_order = scaled.ravel()[np.argsort(values, axis=None, kind="stable")].astype(int)
    assert (np.diff(in_order) >= 0).all()
    if values.min() < values.max():
        assert (scaled.min(), scaled.max()) == (0, 255)
    else:
        assert scaled.max() == 0


@given(hnp.arrays(np.uint8, shapes))
def test_eight_bits_stay_untouched(values):
    assert np.array_equal(scale_to_uint8(values), values)


@given(st.integers(0, 60_000), st.integers(1, 5_000), st.integers(1, 40))
def test_sparse_spots_survive(background, brightness, count):
    values = np.full(400 * 100, background, np.uint16)
    spots = np.random.default_rng(0).choice(values.size, count, replace=False)
    values[spots] += np.uint16(brightness)
    scaled = scale_to_uint8(values)
    assert (scaled[spots] == 255).all()
    assert np.count_nonzero(scaled) == count


def test_percentiles_clip_hot_pixels():
    values = np.arange(10_000, dtype=np.uint16).reshape(100, 100)
    values[0, 0] = 65_535
    low, high = np.percentile(values, (0.1, 99.9), method="nearest")
    assert scale_to_uint8(values)[50, 50] == round((5050 - low) / (high - low) * 255)


def test_blocks_do_not_show():
    values = np.arange(3 << 20, dtype=np.int32).reshape(3 << 10, -1)
    scaled = scale_to_uint8(values)
    assert (np.diff(scaled.ravel().astype(np.int16)) >= 0).all()
    assert np.array_equal(scaled, scale_to_uint8(values.T).T)


def test_float_extremes_and_nan():
    values = np.array([[np.nan, -np.inf, 0.0], [1.0, 2.0, np.inf]])
    assert scale_to_uint8(values).tolist() == [[0, 0, 0], [128, 255, 255]]
    assert scale_to_uint8(np.array([[-1.7e308, 1.7e308]])).tolist() == [[0, 255]]
    assert not scale_to_uint8(np.full((3, 3), np.nan)).any()
    assert scale_to_uint8(np.array([[False, True]])).tolist() == [[0, 255]]


def test_colours_share_one_scale():
    values = np.zeros((10, 10, 3), np.uint16)
    values[..., 0], values[..., 1] = 1000, 500
    assert array_to_rgb(values).getpixel((3, 3)) == (255, 128, 0)


def test_alpha_is_composited_on_white():
    values = np.zeros((1, 3, 4), np.uint16)
    values[0, :, 3] = (0, 65_535, 32_768)
    assert [array_to_rgb(values).getpixel((x, 0))[0] for x in range(3)] == [255, 0, 127]


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2), (4, 4, 5), (2, 4, 4, 3), (0, 4), (4, 0, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ImageError, match="shape"):
        array_to_rgb(np.zeros(shape, np.uint16))


@pytest.mark.parametrize("kind", ["complex64", "O", "M8[s]", "U3"])
def test_other_types_are_refused(kind):
    with pytest.raises(ImageError, match="not numbers"):
        array_to_rgb(np.zeros((2, 2), kind))


def test_upright_turns_by_the_orientation():
    picture = array_to_rgb(np.array([[0, 1], [2, 3]], np.uint8))
    assert np.asarray(upright(picture, 6))[..., 0].tolist() == [[2, 0], [3, 1]]  # a quarter turn clockwise
    assert np.array_equal(np.asarray(upright(picture, 99)), np.asarray(picture))
