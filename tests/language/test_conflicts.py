"""Facts against facts: pairs of a claim and a reference, judged by a reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragvlm.language.conflicts import conflict, unstated
from ragvlm.language.facts import facts_of, stem
from ragvlm.language.numbers import spell

SMEAR = "Stained blood smear showing one white blood cell, 19 red blood cells and no platelets."
AGREE = [
    ("19 red cells and one white cell", SMEAR),
    ("There are nineteen red blood cells and zero platelets.", SMEAR),
    ("six oval nuclei", "6 large oval nuclei, evenly bright"),
    ("a dozen worms", "twelve worms"),
    ("two hundred nuclei", "about 200 nuclei"),
    ("about 20 cells", "19 cells"),
    ("more than 5 cells", "7 cells"),
    ("no more than two cells", "two cells"),
    ("six to eight nuclei", "seven nuclei"),
    ("one white cell", "a white cell in the centre"),
    ("Red cells: 19.", "There are 19 red cells."),
    ("Platelets are absent.", "There are no platelets."),
    ("no pleural effusion", "without effusion"),
    ("beads of 0.5 µm", "0.5 um beads"),
    ("after 24 hours", "after 24 h"),
    ("left effusion", "bilateral effusions"),
    ("in the lower right", "in the right lower quadrant"),
    ("bright nuclei on a dark field", "bright nuclei on a black ground"),
    ("Ki67 is expressed", "stained for Ki-67"),
    ("stained with Giemsa", "a Wright-Giemsa-stained smear"),
    ("1,200 colonies", "1200 colonies"),
    ("the left lung is clear", "The right lung is opaque; the left lung is clear."),
]
DIFFER = [
    ("right lower lobe", "right upper lobe", "height"),
    ("right lower and left upper lobes", "right upper and left lower lobes", "position"),
    ("two platelets", "no platelets", "number"),
    ("no platelets", "two platelets", "denied"),
    ("19 red blood cells", "19 white cells", "number"),
    ("13 red blood cells", SMEAR, "number"),
    ("19 white blood cells", SMEAR, "number"),
    ("seven nuclei", "six to eight nuclei", "number"),
    ("many cells, 12 of them dividing", "many cells", "number"),
    ("0.5 mm beads", "0.5 um beads", "number"),
    ("One of them divides.", "Two of them divide.", "number"),
    ("bilateral effusions", "left effusion", "side"),
    ("posterior wall", "anterior wall", "depth"),
    ("medial margin", "lateral margin", "mediality"),
    ("cells without tails", "cells with bright tails", "denied"),
    ("no sign of DNA damage", "a sign of DNA damage", "denied"),
    ("The heart is not enlarged.", "The heart is enlarged.", "denied"),
    ("The heart is enlarged.", "The heart is not enlarged.", "denied"),
    ("The nodule isn't visible.", "The nodule is visible.", "denied"),
    ("no clumps", "two cells", "denied"),
    ("a plate without 16 colonies", "a plate with 16 colonies", "denied"),
    ("a well without several dark worms", "a well with several dark worms", "denied"),
    ("The cells are crowded.", "The cells are sparse.", "crowding"),
    ("stained with GFP", "stained with DAPI", "name"),
    ("a smear stained with Leishman", "a smear stained with Giemsa", "name"),
]


def verdict(claim: str, reference: str) -> str | None:
    mine, theirs = facts_of(claim), facts_of(reference)
    return unstated(mine, theirs) or conflict(mine, theirs)


@pytest.mark.parametrize(("claim", "reference"), AGREE)
def test_claims_that_a_reader_accepts(claim, reference):
    assert verdict(claim, reference) is None


@pytest.mark.parametrize(("claim", "reference", "kind"), DIFFER)
def test_claims_that_a_reader_refuses(claim, reference, kind):
    assert kind in (verdict(claim, reference) or "")


@pytest.mark.parametrize("sentence", sorted({text for pair in [*AGREE, *DIFFER] for text in pair[:2]}))
def test_no_sentence_stands_against_itself(sentence):
    assert verdict(sentence, sentence) is None


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_equal_numbers_agree_in_words_and_digits_and_others_do_not(a, b):
    claim, reference = f"There are {a} red cells.", f"The smear shows {spell(b)} red blood cells."
    assert (verdict(claim, reference) is None) == (a == b)


@given(st.text(max_size=80))
def test_any_text_can_be_read_and_agrees_with_itself(text):
    facts = facts_of(text)
    assert not [q for q in facts.quantities if q.low > q.high]
    assert facts | facts == facts_of(text) | facts


@pytest.mark.parametrize(
    ("plural", "single"),
    [("nuclei", "nucleus"), ("bodies", "body"), ("cells", "cell"), ("lens", "lens"), ("masses", "mass"), ("pus", "pus"),
     ("hours", "h"), ("µm", "um"), ("gas", "gas"), ("boxes", "box")],
)  # fmt: skip
def test_stems(plural, single):
    assert stem(plural) == single


def test_a_number_takes_its_noun_from_behind_or_before():
    def nouns(sentence):
        return [(q.low, " ".join(q.noun)) for q in facts_of(sentence).quantities if not q.article]

    assert nouns("six large oval nuclei pointing left") == [(6, "large oval nucleus")]
    assert nouns("Red cells: 19.") == [(19, "red cell")]
    assert nouns("The count of foci was about 12.") == [(12, "focus")]
    assert nouns("see Fig. 2") == [(2, "")]
    assert nouns("magnified 40x, 5 um thick") == [(40, "x"), (5, "um")]
