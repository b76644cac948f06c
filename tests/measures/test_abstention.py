"""Abstention against examples worked by hand, all orders of tied items, scikit-learn and properties."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ragvlm.errors import InputError
from ragvlm.measures import measure
from ragvlm.measures.abstention import Foreign, Refused, RiskCoverage, aurc, refused, risk_coverage
from ragvlm.measures.base import Item
from ragvlm.measures.classification import Agreement, CalibrationError
from ragvlm.measures.qa import ExactMatch

AURC = RiskCoverage(ExactMatch())


def answers(rows: list[tuple[float | None, bool]], by: str = "confidence") -> list[Item]:
    return [
        Item(str(i), str(i), "yes" if right else "no", ("yes",), facts={} if value is None else {by: value})
        for i, (value, right) in enumerate(rows)
    ]


def test_worked_by_hand() -> None:
    # the surest is right, the next wrong, the third right: mean losses 0, 1/2 and 1/3
    items = answers([(0.5, False), (0.9, True), (0.2, True)])
    assert AURC.statistics(items).value == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    curve = AURC.curve(items)
    assert curve.coverage == pytest.approx((1 / 3, 2 / 3, 1))
    assert curve.risk == pytest.approx((0, 1 / 2, 1 / 3))
    assert curve.threshold == (0.9, 0.5, 0.2)
    assert curve.area == pytest.approx(AURC.statistics(items).value)
    assert curve.risk_of_all == pytest.approx(1 / 3)
    assert curve.best_area == pytest.approx((0 + 0 + 1 / 3) / 3)


def test_items_of_equal_confidence_make_one_point() -> None:
    curve = AURC.curve(answers([(0.5, False), (0.5, True), (0.9, True)]))
    assert curve.coverage == pytest.approx((1 / 3, 1))
    assert curve.risk == pytest.approx((0, 1 / 3))
    assert curve.to_dict()["threshold"] == [0.9, 0.5]


def plain_aurc(rows: list[tuple[float, float]]) -> float:
    """The mean of the area over all orders that the confidences allow."""
    areas = []
    for order in itertools.permutations(rows):
        if all(a[0] >= b[0] for a, b in itertools.pairwise(order)):
            losses = [loss for _, loss in order]
            areas.append(np.mean([np.mean(losses[: i + 1]) for i in range(len(losses))]))
    return float(np.mean(areas))


ROWS = st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_equals_the_mean_over_all_orders(rows: list[tuple[float, bool]]) -> None:
    found = AURC.statistics(answers(rows))
    assert found.value == pytest.approx(plain_aurc([(c, 1.0 - right) for c, right in rows]))
    assert found.value == pytest.approx(AURC.statistics(answers(rows[::-1])).value)
    curve = AURC.curve(answers(rows))
    assert 0 <= curve.best_area <= found.value + 1e-12
    assert found.value <= 1
    assert curve.risk[-1] == pytest.approx(curve.risk_of_all)
    turned = RiskCoverage(ExactMatch(), "distance").statistics(answers([(-c, r) for c, r in rows], "distance"))
    assert turned.value == pytest.approx(found.value)


def test_a_confidence_that_tells_nothing_has_the_risk_of_all() -> None:
    curve = AURC.curve(answers([(0.5, right) for right in (True, False, True, True)]))
    assert curve.area == pytest.approx(curve.risk_of_all) == pytest.approx(1 / 4)


def test_the_highest_probability_of_a_classification() -> None:
    items = [Item("a", "a", {"x": 0.9, "y": 0.1}, "x"), Item("b", "b", {"x": 0.4, "y": 0.6}, "x")]
    measure = RiskCoverage(Agreement("accuracy"))
    assert measure.statistics(items).value == pytest.approx((0 + 1 / 2) / 2)
    assert (measure.task, measure.name) == ("classify", "AURC (accuracy by confidence)")
    with pytest.raises(InputError, match="no scores of single items"):
        RiskCoverage(CalibrationError()).statistics(items)


def test_items_without_the_fact_are_not_defined() -> None:
    items = answers([(0.9, True), (None, False)])
    assert AURC.statistics(items).defined.tolist() == [True, False]
    assert AURC.statistics(items).value == 0
    assert math.isnan(AURC.statistics(items[1:]).value)
    assert AURC.curve(items[1:]).coverage == ()
    assert math.isnan(risk_coverage(np.zeros(0), np.zeros(0)).area)


def foreign(rows: list[tuple[Any, Any]], by: str = "p_value") -> list[Item]:
    return [Item("pic7", "s", "", ("r",), facts={"in_corpus": known, by: value}) for known, value in rows]


def test_foreign_queries_worked_by_hand() -> None:
    # pairs known, foreign: 0.8 > 0.1, 0.8 > 0.3, 0.3 > 0.1, 0.3 = 0.3
    rows = [(True, 0.8), (True, 0.3), (False, 0.1), (False, 0.3)]
    assert Foreign().statistics(foreign(rows)).value == pytest.approx(3.5 / 4)
    far = [(known, 1 - value) for known, value in rows]
    assert Foreign("nonconformity").statistics(foreign(far, "nonconformity")).value == pytest.approx(3.5 / 4)
    assert math.isnan(Foreign().statistics(foreign(rows[:2])).value)
    alone = [Item("a", "a", "", ("r",)), *foreign(rows)]
    assert Foreign().statistics(alone).defined.tolist() == [False, True, True, True, True]
    without_neighbours = foreign([(True, 0.2), (False, math.inf)], "nonconformity")
    assert Foreign("nonconformity").statistics(without_neighbours).value == 1.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.01, 0.2, 0.7])), min_size=2, max_size=20))
def test_foreign_queries_equal_scikit_learn(rows: list[tuple[bool, float]]) -> None:
    known = [k for k, _ in rows]
    if len(set(known)) == 2:
        expected = roc_auc_score(known, [value for _, value in rows])
        assert Foreign().statistics(foreign(rows)).value == pytest.approx(expected)


def test_refusals_worked_by_hand() -> None:
    # of two own queries one is below 0.05, of three foreign ones two; 0.05 itself is answered
    rows = [(True, 0.8), (True, 0.01), (False, 0.04), (False, 0.001), (False, 0.05), (True, None)]
    assert refused("foreign").statistics(foreign(rows)).value == pytest.approx(2 / 3)
    assert refused("in-corpus").statistics(foreign(rows)).value == pytest.approx(1 / 2)
    assert refused("foreign", 0.002).statistics(foreign(rows)).value == pytest.approx(1 / 3)
    assert refused("foreign").statistics(foreign(rows)).defined.tolist() == [False, False, True, True, True, False]
    assert refused("foreign").higher_is_better and not refused("in-corpus").higher_is_better
    with pytest.raises(InputError, match="alpha is 1"):
        Refused("foreign", 1.0)


def test_risk_with_foreign_queries_worked_by_hand() -> None:
    # from the surest on: right, foreign, wrong; mean losses 0, 1/2 and 2/3
    asked = [
        Item("a", "a", "yes", ("yes",), facts={"confidence": 0.9}),
        Item("b", "b", "yes", (), facts={"confidence": 0.8, "in_corpus": False}),
        Item("c", "c", "no", ("yes",), facts={"confidence": 0.1, "in_corpus": True}),
    ]
    found = measure("AURC with foreign (Exact Match by confidence)", "vqa")
    assert found.statistics(asked).value == pytest.approx((0 + 1 / 2 + 2 / 3) / 3)
    assert found.name == "AURC with foreign (Exact Match by confidence)"
    with pytest.raises(InputError, match="'b'"):  # nothing is right of it, where it should be answered
        AURC.statistics(asked)


@pytest.mark.parametrize("rows", [[("yes", 0.1)], [(True, "high")], [(True, math.nan)], [(True, True)]])
def test_refuses_in_one_line_that_names_the_item(rows: Any) -> None:
    with pytest.raises(InputError, match="'pic7'") as error:
        Foreign().statistics(foreign(rows))
    assert "\n" not in str(error.value)


def test_names() -> None:
    assert aurc("exact match", task="vqa") == AURC
    assert Foreign().name == "AUROC in-corpus (p_value)"
    assert measure("refused in-corpus (p_value < 0.1)", "describe") == refused("in-corpus", 0.1)
    assert measure("refused foreign", "describe").name == "refused foreign (p_value < 0.05)"
    assert not AURC.higher_is_better
