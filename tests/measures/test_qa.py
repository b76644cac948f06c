"""Measures of answers against examples worked by hand, SQuAD's own rules as Hugging Face has them, and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragvlm.errors import InputError
from ragvlm.measures.base import Item, Measure
from ragvlm.measures.qa import ClosedAccuracy, ExactMatch, OfGroup, TokenF1, normalise

# compute_exact(answer, prediction) and compute_f1(answer, prediction) of transformers 4.46.3 (transformers.data.metrics
# .squad_metrics, which is the official script of SQuAD v2): `pip install transformers==4.46.3`, then call them
SQUAD_V2 = [
    ("Yes", "yes.", 1, 1.0),
    ("the left lung", "Left lung!", 1, 1.0),
    ("chest x-ray", "Chest X-Ray", 1, 1.0),
    ("chest xray", "chest x-ray", 1, 1.0),
    ("right lower lobe opacity", "opacity in the right lower lobe", 0, 0.888888888888889),
    ("A", "a", 1, 1.0),
    ("an", "the", 1, 1.0),
    ("B", "A", 0, 0.0),
    ("", "yes", 0, 0.0),
    ("two two cells", "two cells cells", 0, 0.6666666666666666),
    ("5.5 cm", "55 cm", 1, 1.0),
    ("no", "none", 0, 0.0),
    ("Müller’s cells", "muller's cells", 0, 0.5),
    ("it is an MRI of a brain", "MRI", 0, 0.33333333333333337),
    ("  white   blood\tcells ", "white blood cells", 1, 1.0),
]


def item(prediction: str, *answers: str, group: str | None = None, name: str = "q1") -> Item:
    return Item(name, name, prediction, answers, group)


@pytest.mark.parametrize(("prediction", "answer", "exact", "f1"), SQUAD_V2)
def test_equals_the_script_of_squad(prediction: str, answer: str, exact: int, f1: float) -> None:
    assert ExactMatch().statistics([item(prediction, answer)]).value == exact
    assert TokenF1().statistics([item(prediction, answer)]).value == pytest.approx(f1)


def test_worked_by_hand() -> None:
    # "the" falls away: 3 words said, 2 right, 2 shared, so P = 2/3, R = 1, F1 = 4/5; the second is right as it stands
    items = [item("in the left lung", "left lung"), item("CT.", "MRI", "ct")]
    assert ExactMatch().statistics(items).value == 0.5
    assert TokenF1().statistics(items).value == pytest.approx((4 / 5 + 1) / 2)
    assert normalise("The  left-sided, an A.") == "leftsided"


def test_an_abstention_is_wrong_also_where_the_answer_is_an_article() -> None:
    for measure in (ExactMatch(), TokenF1()):
        assert measure.statistics([item("", "A")]).value == 0  # of a choice of A, B, C and D
        assert measure.statistics([item("", "")]).value == 1  # a question that has no answer
        assert measure.statistics([item("the", "A", "left")]).value == 0  # "left" is the answer that says something


@pytest.mark.parametrize(
    ("prediction", "answers", "group", "score"),
    [
        ("Yes, on the left.", ["yes"], "CLOSED", 1.0),
        ("No evidence of it; yes", ["Yes"], "closed", 0.0),
        ("not sure", ["no"], "closed", 0.0),
        ("", ["no"], "closed", 0.0),
        ("The left.", ["left"], "closed", 1.0),
        ("left side", ["left"], "closed", 0.0),
        ("yes", ["Yes"], None, 1.0),
        ("left", ["left"], None, math.nan),
        ("yes", ["yes"], "open", math.nan),
    ],
)
def test_closed_accuracy(prediction: str, answers: list[str], group: str | None, score: float) -> None:
    found = ClosedAccuracy().statistics([item(prediction, *answers, group=group)])
    assert found.value == pytest.approx(score, nan_ok=True)


def test_open_and_closed_questions_apart() -> None:
    items = [
        item("yes", "yes", group="closed"),
        item("no", "yes", group="closed"),
        item("lung", "lung", group="OPEN"),
        item("lung", "lung"),
    ]
    exact = ExactMatch()
    assert exact.statistics(items).value == 0.75
    assert OfGroup(exact, "closed").statistics(items).value == 0.5
    assert OfGroup(exact, "open").statistics(items).value == 1.0
    scores = OfGroup(exact, "closed").statistics(items).scores
    assert scores is not None
    np.testing.assert_array_equal(scores, [1, 0, np.nan, np.nan])
    assert math.isnan(OfGroup(exact, "none").statistics(items).value)
    assert OfGroup(exact, "open").name == "Exact Match (open)"
    assert OfGroup(exact, "open") == OfGroup(ExactMatch(), "open")


WORDS = st.lists(st.sampled_from(["the", "left", "lung", "a", "Lung.", "x-ray", "no"]), max_size=5).map(" ".join)


@given(WORDS, st.lists(WORDS, min_size=1, max_size=3))
def test_properties(prediction: str, answers: list[str]) -> None:
    exact, f1 = (m.statistics([item(prediction, *answers)]).value for m in (ExactMatch(), TokenF1()))
    assert 0 <= exact <= f1 <= 1
    turned = [item(prediction, *reversed(answers))]
    assert (exact, f1) == (ExactMatch().statistics(turned).value, TokenF1().statistics(turned).value)
    same = [item(text, text) for text in answers]
    assert ExactMatch().statistics(same).value == TokenF1().statistics(same).value == 1


@pytest.mark.parametrize("measure", [ExactMatch(), TokenF1(), ClosedAccuracy()])
def test_refuses_what_is_no_text(measure: Measure) -> None:
    for wrong in (Item("q7", "q7", None, ("yes",)), Item("q7", "q7", "yes", ()), Item("q7", "q7", "yes", (1,))):
        with pytest.raises(InputError, match="'q7'"):
            measure.statistics([wrong])
