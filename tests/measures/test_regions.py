"""Overlap and pointing against examples worked by hand, torchvision, scikit-learn and properties."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score

from ragvlm.encoders.vision_ops import import_torchvision
from ragvlm.errors import InputError
from ragvlm.measures.base import Item
from ragvlm.measures.boxes import Box, box_iou
from ragvlm.measures.regions import Overlap, PointingGame, Reached

IOU, DICE, POINT = Overlap("IoU"), Overlap("Dice"), PointingGame()


def item(found: Any, right: Any, name: str = "pic7") -> Item:
    return Item(name, name, found, right)


def value(measure: Any, found: Any, right: Any) -> float:
    return float(measure.statistics([item(found, right)]).value)


def test_boxes_worked_by_hand() -> None:
    # 10 x 10 each, shared 5 x 10
    assert value(IOU, [[0, 0, 10, 10]], [[5, 0, 15, 10]]) == pytest.approx(50 / 150)
    assert value(DICE, [[0, 0, 10, 10]], [[5, 0, 15, 10]]) == pytest.approx(100 / 200)
    # two found boxes cover 0..12 together, what they share counts once
    assert value(IOU, [[0, 0, 8, 10], [4, 0, 12, 10]], [[0, 0, 10, 10]]) == pytest.approx(100 / 120)
    assert value(IOU, [[0, 0, 1, 1]], [[5, 5, 6, 6]]) == 0
    assert value(IOU, [], [[5, 5, 6, 6]]) == 0
    assert math.isnan(value(IOU, [], []))


def test_masks_worked_by_hand() -> None:
    found = np.array([[1, 1, 0], [0, 0, 0]])
    right = np.array([[0, 255, 255], [0, 0, 255]])
    assert value(IOU, found, right) == pytest.approx(1 / 4)
    assert value(DICE, found, right) == pytest.approx(2 / 5)
    assert value(IOU, found * 0, right) == 0
    assert math.isnan(value(IOU, found * 0, right * 0))


def test_labels_count_apart_unless_one_side_has_none() -> None:
    right = [Box(0, 0, 10, 10, "left lung"), Box(20, 0, 30, 10, "right lung")]
    found = [Box(0, 0, 10, 10, "left lung"), Box(20, 0, 25, 10, "heart")]
    assert value(IOU, found, right) == pytest.approx((1 + 0 + 0) / 3)
    assert value(IOU, [[0, 0, 10, 10], [20, 0, 25, 10]], right) == pytest.approx(150 / 200)
    masks = {"a": np.eye(2), "b": np.zeros((2, 2))}
    assert value(IOU, masks, {"a": np.eye(2), "b": np.ones((2, 2))}) == pytest.approx((1 + 0) / 2)
    assert value(IOU, np.ones((2, 2)), {"a": np.eye(2), "b": np.zeros((2, 2))}) == pytest.approx(2 / 4)


def test_boxes_and_masks_together() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[2:10, 5:15] = True
    assert value(IOU, [[5, 2, 15, 10]], mask) == 1
    assert value(IOU, [[5.4, 2.4, 15.4, 10.4]], mask) == 1  # the centres of the same pixels
    assert value(IOU, mask, [[-5, -5, 5, 2]]) == 0


def test_share_of_items_that_reach_an_iou() -> None:
    pairs = [([[0, 0, 10, 10]], [[0, 0, 10, 5]]), ([[0, 0, 10, 10]], [[0, 0, 10, 4]]), ([], [[0, 0, 1, 1]]), ([], [])]
    found = Reached(0.5).statistics([item(*pair) for pair in pairs])
    assert found.scores is not None
    np.testing.assert_array_equal(found.scores, [1, 0, 0, np.nan])
    assert found.value == pytest.approx(1 / 3)
    assert Reached(0.5).name == "Acc@IoU0.5"
    with pytest.raises(InputError, match="threshold"):
        Reached(0)


def test_pointing_game_worked_by_hand() -> None:
    heat = np.array([[0.1, 0.2, 0.0], [0.3, 0.9, 0.1]])
    assert value(POINT, heat, [[1, 1, 2, 2]]) == 1  # the pixel of row 1 and column 1 has its centre at 1.5, 1.5
    assert value(POINT, heat, [[0, 0, 3, 1]]) == 0
    assert value(POINT, heat, heat > 0.5) == 1
    assert value(POINT, heat, heat < 0.5) == 0
    found = [Box(0, 0, 4, 4, score=0.2), Box(10, 10, 20, 20, score=0.8)]
    assert value(POINT, found, [[14, 14, 16, 16]]) == 1
    assert value(POINT, found, [[0, 0, 4, 4]]) == 0
    assert value(POINT, [], [[0, 0, 4, 4]]) == 0
    assert value(POINT, heat * 0, [[0, 0, 4, 4]]) == 0
    assert math.isnan(value(POINT, found, []))
    both = [Box(0, 0, 2, 2, "a"), Box(8, 0, 9, 1, "b")]
    assert value(POINT, both, [Box(0, 0, 2, 2, "a"), Box(0, 0, 2, 2, "b")]) == 0.5


EDGES = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 12), st.integers(1, 12)).map(
    lambda e: [e[0], e[1], e[0] + e[2], e[1] + e[3]]
)
BOXES = st.lists(EDGES, max_size=4)


@settings(max_examples=100, deadline=None)
@given(BOXES, BOXES)
def test_exact_areas_equal_those_of_pixels(found: list[list[int]], right: list[list[int]]) -> None:
    def drawn(boxes: list[list[int]]) -> np.ndarray:
        mask = np.zeros((40, 40), dtype=bool)
        for xmin, ymin, xmax, ymax in boxes:
            mask[ymin:ymax, xmin:xmax] = True
        return mask

    a, b = drawn(found).ravel(), drawn(right).ravel()
    for measure, theirs in ((IOU, jaccard_score), (DICE, f1_score)):
        expected = theirs(b, a) if a.any() or b.any() else math.nan
        assert value(measure, found, right) == pytest.approx(expected, nan_ok=True)
        assert value(measure, drawn(found), drawn(right)) == pytest.approx(expected, nan_ok=True)
        assert value(measure, right, found) == pytest.approx(expected, nan_ok=True)
        if found:
            assert value(measure, found, found[::-1]) == pytest.approx(1.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(EDGES, min_size=1, max_size=4), st.lists(EDGES, min_size=1, max_size=4))
def test_box_iou_equals_torchvision(a: list[list[int]], b: list[list[int]]) -> None:
    import torch

    import_torchvision()
    from torchvision.ops import box_iou as theirs

    ours = box_iou([Box(*edges) for edges in a], [Box(*edges) for edges in b])
    np.testing.assert_allclose(ours, theirs(torch.tensor(a).double(), torch.tensor(b).double()), atol=1e-12)


@pytest.mark.parametrize(
    ("found", "right", "words"),
    [
        ([[0, 0, 10]], [], "not .xmin"),
        ([{"label": "a"}], [], "not .xmin"),
        ([{"bbox": [0, 0, 1, 1], "score": "high"}], [], "not .xmin"),
        ([[0, 0, math.nan, 1]], [], "not finite"),
        ([], [{"bbox": [0, 0, 1, 1], "score": math.inf}], "not finite"),
        ([[10, 0, 0, 10]], [], "no area"),
        ("box", [], "neither"),
        (None, [], "neither"),
        ({"bbox": [0, 0, 1, 1]}, [], "neither"),
        (np.ones((2, 2, 3)), [], "no array"),
        ({"lung": "mask.png"}, [], "no array"),
        (np.array([[0.1, 0.2]]), [], "several values"),
        (np.array([[np.nan, 1]]), [], "finite"),
        (np.ones((2, 3)), np.ones((4, 5)), "3 x 2 and 5 x 4"),
    ],
)
def test_refuses_in_one_line_that_names_the_item(found: Any, right: Any, words: str) -> None:
    for measure in (IOU, DICE, Reached()):
        with pytest.raises(InputError, match=words) as error:
            measure.statistics([item(found, right)])
        assert "'pic7'" in str(error.value)
        assert "\n" not in str(error.value)


def test_real_boxes_of_blood_cells(shared_data: Any) -> None:
    import json

    lines = (shared_data / "blood-cells" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()[:40]
    rows = [json.loads(line)["boxes"] for line in lines]
    same = [item(boxes, boxes, str(i)) for i, boxes in enumerate(rows)]
    assert IOU.statistics(same).value == DICE.statistics(same).value == POINT.statistics(same).value == 1
    others = [item(found, right, str(i)) for i, (found, right) in enumerate(itertools.pairwise(rows))]
    assert 0 < IOU.statistics(others).value < DICE.statistics(others).value < 1
