"""Regions as numbers, and how alike they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ragvlm.corpus import Corpus
from ragvlm.errors import CorpusError, ImageError, InputError
from ragvlm.modalities import regions as rg
from ragvlm.modalities.spaces import region_matrix
from ragvlm.types import Record


def two_squares(shift: int = 0) -> np.ndarray:
    mask = np.zeros((120, 120), np.uint8)
    mask[10:30, 10 + shift : 30 + shift] = 255
    mask[70:110, 60:100] = 255
    return mask


def named(values: list[float]) -> dict[str, float]:
    return dict(zip(rg.SHAPES, values, strict=False))


def test_a_mask_gives_area_count_and_where_it_lies() -> None:
    values = rg.describe_mask(two_squares())
    shapes, grid = named(values), np.array(values[len(rg.SHAPES) :]).reshape(rg.GRID, rg.GRID)
    assert len(values) == rg.DIM
    assert shapes["area"] == pytest.approx((400 + 1600) / 14400, abs=1e-4)
    assert shapes["count"] == pytest.approx(np.log(3), abs=1e-4)
    assert shapes["region_area"] == pytest.approx(np.sqrt(1000 / 14400), abs=1e-4)
    assert shapes["solidity"] == 1
    assert grid[1:3, 1:3].tolist() == [[1, 1], [1, 1]]
    assert grid[7:11, 6:10].min() == 1
    assert grid.sum() == 20


def test_touching_regions_are_told_apart_by_their_values() -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[10:20, 10:20], mask[10:20, 20:30] = 1, 2
    assert named(rg.describe_mask(mask))["count"] == pytest.approx(np.log(3), abs=1e-4)
    assert named(rg.describe_mask(mask > 0))["count"] == pytest.approx(np.log(2), abs=1e-4)


def test_boxes_are_regions_at_the_scale_of_the_picture() -> None:
    by_boxes = rg.describe_boxes([[100, 100, 300, 300], [600, 700, 1000, 1100]], (1200, 1200))
    assert named(by_boxes)["area"] == pytest.approx(0.1389, abs=0.003)
    assert named(by_boxes)["count"] == pytest.approx(np.log(3), abs=1e-4)


def test_an_empty_mask_has_nothing() -> None:
    assert not any(rg.describe_mask(np.zeros((30, 40))))


def test_hu_moments_don_t_depend_on_place() -> None:
    # the same square elsewhere: other cells of the grid, the same moments
    one, other = (np.zeros((100, 100), np.uint8) for _ in range(2))
    one[10:40, 10:40], other[55:85, 50:80] = 1, 1
    first, second = rg.describe_mask(one), rg.describe_mask(other)
    hu = slice(rg.SHAPES.index("hu1"), len(rg.SHAPES))
    assert first[hu] == second[hu]
    assert first[len(rg.SHAPES) :] != second[len(rg.SHAPES) :]


def test_nearer_regions_are_more_alike() -> None:
    masks = [two_squares(0), two_squares(10), two_squares(80), np.zeros((120, 120))]
    matrix = region_matrix([rg.describe_mask(mask) for mask in masks] + [None, "x"])
    found = rg.similarity(matrix[0], matrix)
    assert found[0] == pytest.approx(1)
    assert found[0] > found[1] > found[2] > found[3]
    assert np.isnan(found[4:]).all()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**31))
def test_any_mask_gives_finite_numbers(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) > 0.8
    values = rg.describe_mask(mask)
    assert len(values) == rg.DIM
    assert np.isfinite(values).all()


def test_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="is not"):
        rg.describe_mask(np.zeros((3, 4, 3)))


def test_a_corpus_keeps_what_its_masks_and_boxes_say(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((120, 120, 3), np.uint8)).save(tmp_path / "p.png")
    Image.fromarray(two_squares()).save(tmp_path / "m.png")
    boxes = [{"label": "x", "bbox": [10, 10, 30, 30]}, {"label": "x", "bbox": [60, 70, 100, 110]}]
    records = [
        Record("mask", "p.png", "one", extra={"mask": "m.png"}),
        Record("boxes", "p.png", "two", extra={"boxes": boxes}),
        Record("none", "p.png", "three"),
    ]
    corpus = rg.with_regions(Corpus.from_records(records, root=tmp_path))
    masked, boxed, plain = corpus.records
    assert masked.extra["regions"] == rg.describe_mask(two_squares())
    assert named(boxed.extra["regions"])["area"] == named(masked.extra["regions"])["area"]
    assert "regions" not in plain.extra


@pytest.mark.parametrize("extra", [{"mask": "gone.png"}, {"boxes": [[1, 2]]}, {"boxes": [{"label": "x"}]}])
def test_regions_that_can_t_be_read_name_the_record(tmp_path: Path, extra: dict[str, object]) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "p.png")
    corpus = Corpus.from_records([Record("r1", "p.png", extra=extra)], root=tmp_path)
    with pytest.raises(CorpusError, match="record 'r1': its regions can't be read"):
        rg.with_regions(corpus)


def test_a_corpus_without_regions_is_told(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "p.png")
    with pytest.raises(InputError, match="no record has a column 'mask' or 'boxes'"):
        rg.with_regions(Corpus.from_records([Record("r1", "p.png")], root=tmp_path))


def test_masks_keep_their_values(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 1000
    Image.fromarray(values).save(tmp_path / "m.png")
    assert np.array_equal(rg.read_mask(tmp_path / "m.png"), values)
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(ImageError):
        rg.read_mask(tmp_path / "x.png")
