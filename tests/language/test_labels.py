"""The wording of labels and the vote over them."""

from __future__ import annotations

import math

import pytest
from texts import context_of

from ragvlm.language.labels import label_sentence, label_sentences, votes, without_tallies
from ragvlm.language.sentences import split_sentences
from ragvlm.types import Record


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("stain", "DAPI", "The stain is DAPI."),
        ("kind", "blood_smear", "Kind of image: blood smear."),
        ("counterstain", "eosin.", "Counterstain: eosin."),
        ("red_cells", 19, "There are 19 red cells."),
        ("nuclei", 1, "There is one nucleus."),
        ("platelets", 0, "There are no platelets."),
        ("wbc", 1, "There is one white blood cell."),
        ("RBC", 19, "There are 19 red blood cells."),
        ("grade", 3, "Grade: 3."),
        ("cells", -1, "Cells: -1."),
        ("mean_area", 0.12345678, "Mean area: 0.123457."),
        ("mitotic", True, "Mitotic: yes."),
        ("mitotic", False, "Mitotic: no."),
        ("specimen", "C. elegans", "The specimen is C. elegans."),
        ("note", "Pale. Thin.", "Note: Pale; Thin."),
    ],
)
def test_a_label_is_one_sentence(name, value, sentence):
    assert label_sentence(name, value) == sentence
    assert split_sentences(sentence) == [sentence]


def test_a_record_says_its_modality_first_and_skips_what_can_not_be_said():
    record = Record("a", modality="CT", labels={"x": math.nan, "y": " ", "z": 2, "stain": "eosin"})
    assert label_sentences(record) == ["Imaged by CT.", "The stain is eosin.", "Z: 2."]


def test_texts_by_weighted_mode_numbers_by_weighted_lower_median():
    context = context_of(
        Record("a", labels={"stain": "GFP", "nuclei": 9}),
        Record("b", labels={"stain": "DAPI", "nuclei": 2}),
        Record("c", labels={"stain": "DAPI", "nuclei": 5}),
        Record("d", labels={}),
        scores=[0.8, 0.5, 0.4, 0.4],
    )
    stain, nuclei = votes(context)
    assert (stain.value, stain.agree, stain.total) == ("DAPI", 2, 3)  # 0.9 against 0.8
    assert stain.tallied == "The stain is DAPI (2 of 3 references)."
    # in order 2 (0.5), 5 (0.4), 9 (0.8): half of 1.7 is reached at 5
    assert nuclei.value == 5
    assert nuclei.tallied == "There are five nuclei (2 to 9 in 3 references)."


@pytest.mark.parametrize("values", [("a", "b"), ("a", "a"), (3, 3), (2, 9), (-1.5, 2.5e9), (0,)])
def test_a_tally_is_taken_away_and_nothing_else(values: tuple[str | float, ...]) -> None:
    vote = votes(context_of(*(Record(str(i), labels={"size": value}) for i, value in enumerate(values))))[0]
    assert vote.tallied != vote.sentence
    assert (
        without_tallies(f"{vote.tallied} Two cells (4 of 5 stained).") == f"{vote.sentence} Two cells (4 of 5 stained)."
    )


def test_ties_go_to_the_better_rank_and_negative_scores_do_not_vote():
    records = [Record("a", labels={"stain": "GFP"}), Record("b", labels={"stain": "DAPI"})]
    assert votes(context_of(*records, scores=[0.5, 0.5]))[0].value == "GFP"
    assert votes(context_of(*records, scores=[-0.5, 0.1]))[0].value == "DAPI"
    assert votes(context_of(*records, scores=[-0.5, -0.6]))[0].value == "GFP"


def test_a_label_of_mixed_types_is_voted_as_text():
    vote = votes(context_of(Record("a", labels={"grade": 2}), Record("b", labels={"grade": "high"})))[0]
    assert (vote.value, vote.total, vote.low) == (2, 2, None)
    assert vote.tallied == "Grade: 2 (1 of 2 references)."
