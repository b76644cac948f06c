"""Classification measures against examples worked by hand, against scikit-learn and against properties."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from ragvlm.errors import InputError
from ragvlm.measures.base import Item, Measure
from ragvlm.measures.classification import AGREEMENTS, Agreement, Area, CalibrationError, Kappa, agreement, area
from ragvlm.measures.outcomes import confusion, per_class
from ragvlm.statistics import paired, statistics_of_two


def item(prediction: Any, label: Any, name: str = "a", **facts: Any) -> Item:
    return Item(name, name, prediction, label, facts=facts)


def items_of(truth: Any, predicted: Any, **facts: Any) -> list[Item]:
    pairs = zip(truth, predicted, strict=True)
    return [item(prediction, label, str(i), **facts) for i, (label, prediction) in enumerate(pairs)]


# cells: TP 2, called so 3, there 3; platelets: TP 1, called 2, there 2; debris: never right, there 1, called 1
BY_HAND = items_of("cccppd", "ccpdpc")
CELL_F1, PLATELET_F1 = 2 * 2 / (3 + 3), 2 * 1 / (2 + 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accuracy", 3 / 6),
        ("balanced accuracy", (2 / 3 + 1 / 2 + 0) / 3),
        ("macro precision", (2 / 3 + 1 / 2 + 0) / 3),
        ("macro recall", (2 / 3 + 1 / 2 + 0) / 3),
        ("macro F1", (CELL_F1 + PLATELET_F1 + 0) / 3),
        ("weighted precision", (3 * 2 / 3 + 2 * 1 / 2) / 6),
        ("weighted recall", 3 / 6),
        ("weighted F1", (3 * CELL_F1 + 2 * PLATELET_F1) / 6),
    ],
)
def test_agreement_worked_by_hand(name: str, value: float) -> None:
    assert Agreement(name).statistics(BY_HAND).value == pytest.approx(value)


def test_kappa_worked_by_hand() -> None:
    # squared differences 0, 1, 0; by chance the nine pairs of {0, 1, 2} and {0, 2, 2} sum to 8 + 3 + 4 = 15
    found = Kappa().statistics(items_of([0, 1, 2], [0, 2, 2]))
    assert found.value == pytest.approx(1 - 1 / (15 / 3))


def test_kappa_takes_grades_from_numbers_or_from_classes() -> None:
    by_number = Kappa().statistics(items_of(["0", "1", "4"], ["0", "4", "4"])).value
    assert by_number == pytest.approx(
        metrics.cohen_kappa_score([0, 1, 4], [0, 4, 4], weights="quadratic", labels=range(5))
    )
    words = {"classes": ["none", "mild", "moderate", "severe", "proliferative"]}
    named = items_of(["none", "mild", "proliferative"], ["none", "proliferative", "proliferative"], **words)
    assert Kappa().statistics(named).value == pytest.approx(by_number)
    without_order = items_of(["none", "mild", "proliferative"], ["none", "proliferative", "proliferative"])
    assert math.isnan(Kappa().statistics(without_order).value)
    assert math.isnan(Kappa().statistics(items_of([1, 1], [1, 1])).value)  # one grade alone: nothing to agree on


SICK = [0.9, 0.4, 0.4, 0.1]  # the first and the third are sick: pairs 0.9 > 0.4, 0.9 > 0.1, 0.4 = 0.4, 0.4 > 0.1
TWO = [
    item({"sick": p, "well": 1 - p}, label, str(i))
    for i, (p, label) in enumerate(zip(SICK, ["sick", "well", "sick", "well"], strict=True))
]


def test_areas_worked_by_hand() -> None:
    assert Area("AUROC").statistics(TWO).value == pytest.approx(3.5 / 4)
    assert Area("AUROC", "sick").statistics(TWO).value == pytest.approx(3.5 / 4)
    # thresholds 0.9: recall 1/2 at precision 1; 0.4: recall 1 at precision 2/3
    assert Area("AUPRC", "sick").statistics(TWO).value == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    # for "well", 0.9: recall 1/2 at precision 1; 0.6: recall 1 at precision 2/3
    assert Area("AUPRC").statistics(TWO).value == pytest.approx(5 / 6)


def test_calibration_error_worked_by_hand() -> None:
    # of the two with confidence 0.9 one is right: gap 0.4; of the two with 0.6 both are right: gap 0.4, other way
    four = [(0.9, "a"), (0.9, "b"), (0.6, "a"), (0.6, "a")]
    items = [item({"a": p, "b": 1 - p}, label, str(i)) for i, (p, label) in enumerate(four)]
    assert CalibrationError(10).statistics(items).value == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)
    # in one bin the gaps meet: mean confidence 0.75, accuracy 3/4
    assert CalibrationError(1).statistics(items).value == pytest.approx(0)


def test_calibration_bins_are_open_below() -> None:
    # 0.2 = 3/15 belongs to the third bin, (2/15, 3/15], as 0.15 does: their gaps 0.8 and -0.15 meet in it
    items = [item({"a": 0.2}, "a"), item({"a": 0.15}, "b")]
    assert CalibrationError().statistics(items).value == pytest.approx(abs(-0.8 + 0.15) / 2)


LABELS = st.sampled_from(["0", "1", "2", "3"])
PAIRS = st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=25)


@settings(max_examples=100, deadline=None)
@given(PAIRS)
@pytest.mark.filterwarnings("ignore")
def test_agreement_equals_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = zip(*pairs, strict=True)
    items = items_of(truth, predicted)
    expected = {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "balanced accuracy": metrics.balanced_accuracy_score(truth, predicted),
    }
    for average in ("macro", "weighted"):
        p, r, f, _ = metrics.precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)
        expected |= {f"{average} precision": p, f"{average} recall": r, f"{average} F1": f}
    for name in AGREEMENTS:
        found = Agreement(name).statistics(items)
        assert found.value == pytest.approx(expected[name], abs=1e-12), name
        assert 0 <= found.value <= 1
    kappa = metrics.cohen_kappa_score(truth, predicted, labels=["0", "1", "2", "3"], weights="quadratic")
    assert Kappa().statistics(items).value == pytest.approx(kappa, abs=1e-12, nan_ok=True)


# few probabilities, so that many are tied
TENTHS = st.lists(st.integers(0, 4), min_size=3, max_size=3).filter(any)
SCORED = st.lists(st.tuples(TENTHS, st.sampled_from("abc")), min_size=6, max_size=40)


@settings(max_examples=50, deadline=None)
@given(SCORED)
def test_areas_equal_scikit_learn(scored: list[tuple[list[int], str]]) -> None:
    truth = np.array([label for _, label in scored])
    probabilities = np.array([parts for parts, _ in scored], dtype=np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    items = [
        item(dict(zip("abc", p, strict=True)), label) for p, label in zip(probabilities.tolist(), truth, strict=True)
    ]
    labels = sorted(set(truth))
    if len(labels) == 3:
        theirs = metrics.roc_auc_score(truth, probabilities, multi_class="ovr")
        assert Area("AUROC").statistics(items).value == pytest.approx(theirs, abs=1e-12)
    for i, label in enumerate("abc"):
        positive = truth == label
        if 0 < positive.sum() < len(truth):
            expected = metrics.roc_auc_score(positive, probabilities[:, i])
            assert Area("AUROC", label).statistics(items).value == pytest.approx(expected, abs=1e-12)
        if positive.any():
            expected = metrics.average_precision_score(positive, probabilities[:, i])
            assert Area("AUPRC", label).statistics(items).value == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(SCORED, st.data())
def test_a_resample_equals_the_measure_on_the_items_drawn(scored: list[tuple[list[int], str]], data: Any) -> None:
    items = [item({k: v / 12 for k, v in zip("abc", p, strict=True)}, label) for p, label in scored]
    chosen = data.draw(st.lists(st.integers(0, len(items) - 1), min_size=1, max_size=len(items)))
    drawn = [items[i] for i in chosen]
    measures: list[Measure] = [*map(Agreement, AGREEMENTS), Area("AUROC"), Area("AUPRC"), CalibrationError(4)]
    for measure in measures:
        ours = measure.statistics(items).on(np.array(chosen))
        assert ours == pytest.approx(measure.statistics(drawn).value, abs=1e-12, nan_ok=True), measure.name


def test_two_systems_can_be_compared() -> None:
    draw = np.random.default_rng(0)
    truth = draw.choice(list("abc"), 40)
    one, two = (
        [
            item(dict(zip("abc", row, strict=True)), label, str(i))
            for i, (row, label) in enumerate(zip(rows, truth, strict=True))
        ]
        for rows in (draw.dirichlet([1, 1, 1], 40), draw.dirichlet([1, 1, 1], 40))
    )
    for measure in (Area("AUROC"), Agreement("macro F1"), CalibrationError()):
        a, b = statistics_of_two(measure, one, two)
        assert a.value == pytest.approx(measure.statistics(one).value)
        assert b.value == pytest.approx(measure.statistics(two).value)
        found = paired(a, b, [str(i) for i in range(40)], resamples=50)
        assert found.value == pytest.approx(a.value - b.value)
        assert 0 < found.p <= 1


def test_perfect_predictions() -> None:
    items = [item({c: float(c == label) for c in "012"}, label) for label in "0120"]
    for measure in [*map(Agreement, AGREEMENTS), Area("AUROC"), Area("AUPRC"), Kappa()]:
        assert measure.statistics(items).value == pytest.approx(1.0), measure.name
    assert CalibrationError().statistics(items).value == 0.0


def test_what_a_system_does_not_say() -> None:
    items = [item("", "a"), item({}, "b"), item("a", "a"), item({"b": 1.0}, "b")]
    assert Agreement("accuracy").statistics(items).value == 0.5
    assert Agreement("macro precision").statistics(items).value == 1.0  # what it says is right
    assert Agreement("macro recall").statistics(items).value == 0.5
    assert Area("AUROC").statistics(items).defined.sum() == 1  # one has probabilities
    assert confusion(items).counts == ((1, 0), (0, 1))
    assert confusion(items).unnamed == (1, 1)
    assert math.isnan(Area("AUROC").statistics(items[:3]).value)
    assert math.isnan(CalibrationError().statistics(items[:3]).value)
    assert all(math.isnan(Agreement(name).statistics([]).value) for name in AGREEMENTS)


def test_rows_for_the_report() -> None:
    cell, debris, platelet = per_class(BY_HAND)
    assert (cell.label, cell.support, cell.precision, cell.f1) == ("c", 3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (debris.precision, debris.recall, debris.f1) == (0.0, 0.0, 0.0)
    assert platelet.auroc is None
    assert confusion(BY_HAND).to_dict() == {
        "labels": ["c", "d", "p"],
        "counts": [[2, 0, 1], [1, 0, 0], [0, 1, 1]],
        "unnamed": [0, 0, 0],
    }
    sick = per_class(TWO)[0].to_dict()
    assert sick["auroc"] == pytest.approx(3.5 / 4)
    assert sick["auprc"] == pytest.approx(5 / 6)
    absent = per_class(items_of(["a"], ["a"], classes=["a", "never"]))[1]
    assert (absent.support, absent.precision, absent.recall, absent.f1, absent.auroc) == (0, None, None, None, None)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([item({"a": math.nan}, "a", "pic7")], "probability nan"),
        ([item({"a": 1.5}, "a", "pic7")], "probability 1.5"),
        ([item({"a": "high"}, "a", "pic7")], "probability 'high'"),
        ([item({"1": 0.5, 1: 0.5}, "1", "pic7")], "written alike"),
        ([item("a", None, "pic7")], "no reference"),
        ([item("z", "a", "pic7", classes=["a", "b"])], "'z' is none of the classes a, b"),
        ([item("a", "a", "pic7", classes=["a"]), item("a", "a", classes=["a", "b"])], "one list"),
        ([item("a", "a", "pic7", classes=["a", "a"])], "one list"),
    ],
)
def test_refuses_in_one_line_that_names_the_item(items: list[Item], words: str) -> None:
    for measure in (Agreement("macro F1"), Area("AUROC"), CalibrationError(), Kappa()):
        with pytest.raises(InputError, match=words) as error:
            measure.statistics(items)
        assert "'pic7'" in str(error.value)
    with pytest.raises(InputError, match=words):
        confusion(items)


def test_refuses_options_that_mean_nothing() -> None:
    with pytest.raises(InputError, match="bins"):
        CalibrationError(0)
    with pytest.raises(InputError, match="choose one of accuracy"):
        agreement("micro F1")


def test_a_label_that_does_not_occur_has_no_area() -> None:
    assert math.isnan(Area("AUROC", "cell").statistics(TWO).value)


def test_measures_are_values() -> None:
    assert len({Area("AUROC"), Area("AUROC"), Area("AUROC", "sick"), CalibrationError(), CalibrationError(15)}) == 3
    assert [Area("AUPRC", "sick").name, CalibrationError().name] == ["AUPRC (sick)", "ECE (15 bins)"]
    assert not CalibrationError().higher_is_better
    assert (agreement("Macro f1"), area("auprc", 1)) == (Agreement("macro F1"), Area("AUPRC", "1"))
