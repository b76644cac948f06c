"""Detection against examples worked by hand, against pycocotools' own figures and against properties."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from detections import pictures

from ragvlm.errors import InputError
from ragvlm.measures.base import Item
from ragvlm.measures.boxes import Box
from ragvlm.measures.detection import Matched, MeanAveragePrecision, matched, mean_average_precision
from ragvlm.statistics import interval, paired, statistics_of_two

COCO, AT_50, AT_75 = MeanAveragePrecision(), MeanAveragePrecision((0.5,)), MeanAveragePrecision((0.75,))
# `python tests/detections.py` with pycocotools 2.0.11: by seed mAP@[.5:.95], mAP at 0.5 and at 0.75
PYCOCOTOOLS = {
    0: (0.24310538260725223, 0.383931732980686, 0.253085821547248),
    1: (0.3240581738675969, 0.5542651716996086, 0.2989227481183122),
    2: (0.2827159912260808, 0.46326368468527224, 0.2934520978738571),
}


def items_of(sides: Any) -> list[Item]:
    return [Item(str(i), str(i // 2), found, right) for i, (found, right) in enumerate(sides)]


def box(x: float, score: float = 1.0, label: str = "cell", width: float = 10) -> Box:
    return Box(x, 0, x + width, 10, label, score)


# right: at 0, 20 and 40. Found: one right on 0 (0.9), one beside everything (0.8), one 2 off 20 (IoU 8/12, 0.7)
BY_HAND = items_of([([box(0, 0.9), box(90, 0.8), box(22, 0.7)], [box(0), box(20), box(40)])])


def test_worked_by_hand() -> None:
    assert Matched("Precision").statistics(BY_HAND).value == pytest.approx(2 / 3)
    assert Matched("Recall").statistics(BY_HAND).value == pytest.approx(2 / 3)
    assert Matched("F1").statistics(BY_HAND).value == pytest.approx(2 * 2 / (3 + 3))
    assert Matched("Precision", 0.75).statistics(BY_HAND).value == pytest.approx(1 / 3)
    # recall 1/3 at precision 1, then 2/3 at precision 2/3: 34 points up to 0.33, 33 up to 0.66, none beyond
    assert AT_50.statistics(BY_HAND).value == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)
    assert AT_75.statistics(BY_HAND).value == pytest.approx(34 / 101)
    # thresholds 0.5, 0.55, 0.6 and 0.65 are below 8/12
    both, one = (34 + 22) / 101, 34 / 101
    assert COCO.statistics(BY_HAND).value == pytest.approx((4 * both + 6 * one) / 10)


def test_a_right_box_is_taken_once_and_by_the_surest() -> None:
    twice = items_of([([box(1, 0.3), box(0, 0.9)], [box(0)])])
    assert Matched("Precision").statistics(twice).value == 0.5
    assert AT_50.statistics(twice).value == pytest.approx(1.0)  # full recall at precision 1 comes first
    wrong_first = items_of([([box(60, 0.95), box(0, 0.9)], [box(0)])])
    assert AT_50.statistics(wrong_first).value == pytest.approx(0.5)


def test_precision_counts_boxes_not_pictures() -> None:
    items = items_of([([box(0)], [box(0)]), ([box(50), box(70), box(90)], [box(0)]), ([], []), ([], [box(0)])])
    found = Matched("Precision").statistics(items)
    assert found.value == pytest.approx(1 / 4)
    assert found.scores is not None
    np.testing.assert_array_equal(found.scores, [1.0, 0.0, np.nan, np.nan])
    assert Matched("Recall").statistics(items).value == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", PYCOCOTOOLS)
def test_equals_pycocotools(seed: int) -> None:
    items = items_of(pictures(seed))
    ours = [measure.statistics(items).value for measure in (COCO, AT_50, AT_75)]
    assert ours == pytest.approx(PYCOCOTOOLS[seed], abs=1e-12)


def test_a_resample_equals_the_measure_on_the_items_drawn() -> None:
    items = items_of(pictures(0))
    chosen = np.random.default_rng(0).integers(0, len(items), len(items))
    drawn = [items[i] for i in chosen]
    for measure in (COCO, AT_75, Matched("Precision"), Matched("Recall", 0.75), Matched("F1")):
        assert measure.statistics(items).on(chosen) == pytest.approx(measure.statistics(drawn).value, abs=1e-12)
    found = interval(COCO.statistics(items), [item.cluster for item in items], resamples=50)
    assert found.low < found.value < found.high


def test_two_systems_can_be_compared() -> None:
    sides = pictures(0)
    one, two = items_of(sides), items_of([(found[1:], right) for found, right in sides])
    a, b = statistics_of_two(COCO, one, two)
    assert a.value == pytest.approx(PYCOCOTOOLS[0][0])
    assert b.value == pytest.approx(COCO.statistics(two).value)
    found = paired(a, b, [item.cluster for item in one], resamples=50)
    assert found.value == pytest.approx(a.value - b.value)
    assert 0 < found.p <= 1


def test_order_and_ties_do_not_matter() -> None:
    sides = [([{**b, "score": round(b["score"], 1)} for b in found], right) for found, right in pictures(1)]
    shuffled = sides.copy()
    random.Random(0).shuffle(shuffled)
    for measure in (COCO, AT_50, Matched("Precision")):
        assert measure.statistics(items_of(shuffled)).value == pytest.approx(measure.statistics(items_of(sides)).value)


def test_perfect_and_absent() -> None:
    perfect = items_of([(right, right) for _, right in pictures(0)])
    nothing = items_of([([], right) for _, right in pictures(0)])
    for measure in (COCO, AT_50, Matched("Recall"), Matched("F1")):
        assert measure.statistics(perfect).value == pytest.approx(1.0)
        assert measure.statistics(nothing).value == 0.0
    assert math.isnan(Matched("Precision").statistics(nothing).value)
    no_right = items_of([([box(0)], [])])
    assert math.isnan(COCO.statistics(no_right).value)
    assert Matched("Precision").statistics(no_right).value == 0.0
    assert math.isnan(COCO.statistics([]).value)


def test_labels_must_agree_unless_one_side_has_none() -> None:
    assert Matched("Precision").statistics(items_of([([box(0, label="RBC")], [box(0)])])).value == 0.0
    assert Matched("Precision").statistics(items_of([([[0, 0, 10, 10]], [box(0)])])).value == 1.0


def test_names_and_refusals() -> None:
    assert [COCO.name, AT_50.name, Matched("F1", 0.75).name] == ["mAP@[.5:.95]", "mAP@IoU0.5", "F1@IoU0.75"]
    assert MeanAveragePrecision() == COCO
    for wrong in (0.0, 1.5, math.nan):
        with pytest.raises(InputError, match="threshold"):
            Matched("Precision", wrong)
        with pytest.raises(InputError, match="threshold"):
            MeanAveragePrecision((0.5, wrong))
    assert (matched("precision", "0.50"), matched("f1", 0.75)) == (Matched("Precision", 0.5), Matched("F1", 0.75))
    assert (mean_average_precision(".5"), mean_average_precision()) == (AT_50, COCO)


def test_masks_are_no_boxes() -> None:
    masks = Item("pic7", "s", np.ones((2, 2)), np.ones((2, 2)))
    for measure in (COCO, AT_50, Matched("Precision")):
        assert math.isnan(measure.statistics([masks]).value)
        assert measure.statistics([masks, *BY_HAND]).defined.tolist() == [False, True]
        assert measure.statistics([masks, *BY_HAND]).value == measure.statistics(BY_HAND).value
