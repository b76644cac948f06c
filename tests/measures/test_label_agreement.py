"""Labels that a text states, read by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ragvlm.errors import InputError
from ragvlm.measures import Item, measure, statistics
from ragvlm.measures.labels import stated_labels, vocabulary

SMEAR: dict[str, Any] = {
    "stain": "Giemsa",
    "density": "moderately_dense",
    "red_cells": 19,
    "platelets": 0,
    "rouleaux": True,
    "morphology": "lymphocyte, neutrophil",
}
OTHER: dict[str, Any] = {"stain": "Wright-Giemsa", "density": "dense", "morphology": "monocyte"}
SIDES: dict[str, Any] = {"left_eye": "normal", "right_eye": "abnormal"}
KNOWN = vocabulary([SMEAR, OTHER, SIDES, {"left_eye": "abnormal", "right_eye": "normal"}])
STATED = [
    ("A Giemsa stain.", SMEAR, {"stain": "giemsa"}),
    ("A Wright-Giemsa-stained smear.", SMEAR, {"stain": "wright giemsa"}),
    ("The red cells are moderately dense.", SMEAR, {"density": "moderately dense"}),
    ("The red cells are dense.", SMEAR, {"density": "dense"}),
    ("19 red blood cells.", SMEAR, {"red_cells": 19}),
    ("30 red blood cells.", SMEAR, {"red_cells": 30}),
    ("19 red blood cells and no white blood cells.", {"rbc": 19, "wbc": 0}, {"rbc": 19, "wbc": 0}),
    ("There are no platelets.", SMEAR, {"platelets": 0}),
    ("Two platelets.", SMEAR, {"platelets": 2}),
    ("Rouleaux are seen.", SMEAR, {"rouleaux": True}),
    ("There are no rouleaux.", SMEAR, {"rouleaux": False}),
    ("Rouleaux: no.", SMEAR, {"rouleaux": False}),
    ("A neutrophil, no lymphocyte.", SMEAR, {"morphology": "neutrophil"}),
    ("Nothing of the kind.", SMEAR, {}),
    # "normal" may be either eye's: the sentence says which
    ("The left eye is normal.", SIDES, {"left_eye": "normal", "right_eye": "normal"}),
    ("It is normal.", SIDES, {}),
]


def told(value: Any) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize(("text", "labels", "stated"), STATED)
def test_labels_that_a_reader_finds(text: str, labels: dict[str, Any], stated: dict[str, Any]) -> None:
    found = {name: told(value) for name, value in stated_labels(text, labels, KNOWN)}
    assert found.keys() == stated.keys()
    for name, value in stated.items():
        expected = str(float(value)) if isinstance(value, int) and not isinstance(value, bool) else str(value)
        assert found[name] == expected


def items(*rows: tuple[str, dict[str, Any]]) -> list[Item]:
    return [Item(str(i), str(i), text, ("a reference",), facts=facts) for i, (text, facts) in enumerate(rows)]


def test_figures_by_hand() -> None:
    some = items(
        # 3 stated, 2 of them right, of 7 values known (two of morphology)
        ("19 red cells, Giemsa, dense.", {"labels": SMEAR}),
        # 1 stated and right, of 3
        ("A monocyte.", {"labels": OTHER}),
        # nothing is known
        ("A monocyte.", {}),
    )
    assert statistics(measure("labels precision"), some).value == pytest.approx(3 / 4)
    assert statistics(measure("labels recall"), some).value == pytest.approx(3 / 10)
    assert statistics(measure("labels F1"), some).defined.tolist() == [True, True, False]


def test_labels_that_a_system_gives_itself_are_not_read_from_its_text() -> None:
    given = {"stain": "Giemsa", "red_cells": 12, "colour": "blue"}
    found = statistics(
        measure("labels precision"), items(("19 red cells.", {"labels": SMEAR, "predicted_labels": given}))
    )
    # the stain is right and the count is wrong; of the colour nothing is known
    assert found.rows.tolist() == [[1, 2, 1, 7]]


def test_without_labels_there_is_no_figure() -> None:
    assert math.isnan(statistics(measure("labels F1"), items(("A monocyte.", {}))).value)
    empty = {"labels": {"stain": "", "cells": math.nan, "grade": None}}
    assert math.isnan(statistics(measure("labels F1"), items(("A monocyte.", empty))).value)


def test_labels_of_another_form_are_refused() -> None:
    with pytest.raises(InputError, match="'0': labels and predicted_labels must be objects"):
        statistics(measure("labels F1"), items(("A monocyte.", {"labels": ["monocyte"]})))
