"""Facts of descriptions against those of references, counted by a reader."""

from __future__ import annotations

import math

import numpy as np
import pytest
from coco import items
from hypothesis import given
from hypothesis import strategies as st

from ragvlm.measures import measure, statistics

SMEAR = "Stained blood smear with one white blood cell, 19 red blood cells and no platelets."
# kind, description, reference: facts of the description that the reference states, its facts, and the other way round
COUNTED = [
    ("numbers", "19 red cells and no platelets.", SMEAR, (1, 1, 1, 2)),
    ("numbers", "A white cell and 12 red cells.", SMEAR, (1, 2, 1, 2)),
    ("numbers", "A white cell.", "A white cell.", (0, 0, 0, 0)),
    ("numbers", "About 20 red cells.", SMEAR, (1, 1, 1, 2)),
    ("numbers", "19 white cells.", SMEAR, (0, 1, 0, 2)),
    ("numbers", "Two nuclei, and again two nuclei.", "Two nuclei.", (1, 1, 1, 1)),
    ("numbers", "Nice nuclei.", "Two nuclei.", (0, 0, 0, 1)),
    ("numbers", "There are 12 red cells (9 to 30 in 5 references).", SMEAR, (0, 1, 0, 2)),
    ("numbers", "There are 19 red cells (1 of 5 references).", SMEAR, (1, 1, 1, 2)),
    ("numbers", "Area: 4 (-1.5 to 2e+06 in 2 references).", "Five references.", (0, 1, 0, 1)),
    ("laterality", "Right pleural effusion.", "Left pleural effusion.", (0, 1, 0, 1)),
    ("laterality", "Left lower lobe opacity.", "Opacity in the left lower lobe.", (1, 1, 1, 1)),
    ("laterality", "Bilateral effusions.", "Left effusion.", (1, 2, 1, 1)),
    ("laterality", "Left effusion and right nodule.", "Right effusion and left nodule.", (0, 2, 0, 2)),
    ("laterality", "An effusion on the left.", "Left effusion.", (1, 1, 1, 1)),
    ("laterality", "Upper lobe.", "Lower lobe.", (0, 0, 0, 0)),
    ("places", "A nucleus at the upper left.", "A nucleus at the lower left.", (1, 2, 1, 2)),
    ("places", "Anterior wall.", "Posterior wall.", (0, 1, 0, 1)),
    ("negation", "No effusion.", "No effusion or pneumothorax.", (1, 1, 1, 2)),
    ("negation", "The heart is not enlarged.", "The heart is enlarged.", (0, 1, 0, 0)),
    ("negation", "There are zero platelets.", SMEAR, (1, 1, 1, 1)),
    ("facts", "19 red cells, no platelets, at the left.", SMEAR, (2, 3, 2, 3)),
]


def rows(kind: str, *pairs: tuple[str, tuple[str, ...] | str]) -> np.ndarray:
    return statistics(measure(f"{kind} F1"), items(*pairs)).rows


@pytest.mark.parametrize(("kind", "description", "reference", "counts"), COUNTED)
def test_facts_that_a_reader_counts(kind: str, description: str, reference: str, counts: tuple[int, ...]) -> None:
    assert tuple(rows(kind, (description, reference))[0]) == counts


def test_figures_are_micro_averages() -> None:
    some = items(
        ("19 red cells.", SMEAR), ("Six nuclei and two worms.", "Five nuclei and two worms."), ("", "Two worms.")
    )
    # said: 1 + 2 + 0, of these right: 1 + 1; known: 2 + 2 + 1, of these found: 1 + 1
    precision, recall = 2 / 3, 2 / 5
    assert statistics(measure("numbers precision"), some).value == pytest.approx(precision)
    assert statistics(measure("numbers recall"), some).value == pytest.approx(recall)
    assert statistics(measure("numbers F1"), some).value == pytest.approx(2 * precision * recall / (precision + recall))


def test_silence_has_no_precision_and_no_recall() -> None:
    some = items(("", "Two worms."))
    assert math.isnan(statistics(measure("numbers precision"), some).value)
    assert statistics(measure("numbers recall"), some).value == 0
    assert statistics(measure("numbers F1"), some).value == 0


def test_an_item_without_facts_changes_nothing() -> None:
    one = ("19 red cells.", SMEAR)
    some = statistics(measure("numbers F1"), items(one, ("Fine worms.", "Nice worms.")))
    assert some.value == statistics(measure("numbers F1"), items(one)).value
    assert some.scores is not None
    assert np.isnan(some.scores).tolist() == [False, True]
    assert math.isnan(statistics(measure("numbers F1"), items(("Fine worms.", "Nice worms."))).value)


def test_of_several_references_the_best_one_counts() -> None:
    assert tuple(rows("numbers", ("Two worms.", ("Five worms.", "Two worms.", "Two worms and six eggs.")))[0]) == (
        1,
        1,
        1,
        1,
    )


NOUNS = st.sampled_from(["nuclei", "worms", "red cells", "left lobes", "platelets"])
SAYINGS = st.lists(
    st.tuples(st.sampled_from(["no", "two", "12", "about 20"]), NOUNS).map(" ".join), min_size=1, max_size=4
)


@given(SAYINGS)
def test_a_description_agrees_with_itself(sayings: list[str]) -> None:
    text = " ".join(f"There are {saying}." for saying in sayings)
    right, said, found, known = rows("facts", (text, text))[0]
    assert right == said == found == known > 0


@given(SAYINGS, SAYINGS)
def test_no_more_is_right_than_said_and_found_than_known(mine: list[str], theirs: list[str]) -> None:
    texts = [" ".join(f"There are {saying}." for saying in sayings) for sayings in (mine, theirs)]
    right, said, found, known = rows("facts", (texts[0], texts[1]))[0]
    assert right <= said
    assert found <= known
    assert bool(right) == bool(found)
