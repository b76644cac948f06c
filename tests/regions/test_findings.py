"""Counts put into sentences, and words taken for labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragvlm.regions.findings import Finding, corrected, state
from ragvlm.regions.phrases import label_for, same_words
from ragvlm.types import MEASURED, Evidence

CAPTION = "Light micrograph of a smear showing one white blood cell, 19 red blood cells and no platelets."


@pytest.mark.parametrize(
    ("label", "count", "wanted"),
    [
        ("WBC", 2, CAPTION.replace("one white blood cell", "two white blood cells")),
        ("rbc", 14, CAPTION.replace("19", "14")),
        ("Platelets", 1, CAPTION.replace("no platelets", "one platelet")),
        ("white_cells", 0, CAPTION.replace("one white blood cell", "no white blood cells")),
    ],
)
def test_a_caption_s_count_becomes_the_picture_s(label: str, count: int, wanted: str) -> None:
    assert state(CAPTION, label, count) == (wanted, True)


@pytest.mark.parametrize(
    ("sentence", "label", "count", "wanted"),
    [
        ("There is one platelet.", "platelets", 0, "There are no platelets."),
        ("There are 12 nuclei.", "nuclei", 1, "There is one nucleus."),
        ("Two large dark nuclei are seen.", "nuclei", 5, "Five large dark nuclei are seen."),
        ("There are 9 red cells (8 to 11 in 5 references).", "RBC", 10,
         "There are ten red cells (8 to 11 in 5 references)."),
    ],
)  # fmt: skip
def test_verbs_and_plurals_follow(sentence: str, label: str, count: int, wanted: str) -> None:
    assert state(sentence, label, count) == (wanted, True)


@pytest.mark.parametrize(
    "sentence", ["The red cells are crowded.", "Imaged at 40x.", "The white cell lies in the centre.", ""]
)
def test_a_sentence_without_the_count_stays(sentence: str) -> None:
    assert state(sentence, "RBC", 3) == (sentence, False)


def test_what_states_a_measured_count_says_so() -> None:
    told = (Evidence(CAPTION, ("a", "b"), 1.0), Evidence("The red cells are crowded.", ("a",), 0.9))
    first, second = corrected(told, [Finding("RBC", 7, ("x",)), Finding("WBC", 1, ("y",))])
    assert first.sentence == CAPTION.replace("19", "seven")
    assert first.record_ids == ("a", "b", MEASURED)
    assert second == told[1]
    assert corrected(told, []) == told


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_last_count_stands(one: int, two: int) -> None:
    after = state(state(CAPTION, "RBC", one)[0], "RBC", two)[0]
    assert after == state(CAPTION, "RBC", two)[0]


def _encode(texts: list[str]) -> np.ndarray:
    """cat-like texts in one direction, dog-like in another, the rest between."""
    table = {"cats": (1.0, 0.0), "kitten": (0.9, 0.436), "dogs": (0.0, 1.0), "pet": (0.7071, 0.7071)}
    return np.array([table.get(text, (-1.0, 0.0)) for text in texts], np.float32)


@pytest.mark.parametrize(
    ("phrase", "wanted"),
    [("Cat", "cats"), ("kitten", "cats"), ("pet", None), ("stone", None), ("dogs", "dogs")],
)
def test_words_mean_a_label_or_none(phrase: str, wanted: str | None) -> None:
    assert label_for(phrase, ["cats", "dogs"], _encode) == wanted


@pytest.mark.parametrize("phrase", ["white blood cell", "White blood cells", "leukocyte", "leucocytes", "wbc", "WBC"])
def test_other_names_of_a_label_need_no_encoder(phrase: str) -> None:
    def never(texts: list[str]) -> np.ndarray:
        raise AssertionError(texts)

    assert label_for(phrase, ["Platelets", "RBC", "WBC"], never) == "WBC"


def test_labels_are_the_same_by_their_names() -> None:
    assert same_words("WBC", "white_cells")
    assert not same_words("WBC", "RBC")
