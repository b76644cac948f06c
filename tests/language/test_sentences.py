"""Splitting: scientific abbreviations by example, and what must hold for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragvlm.language.sentences import bare, normalise, split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["Two cells.", "No platelets."],
        ["Many C. elegans worms, approx. 20, lie in a well.", "See Fig. 2 for S. aureus, e.g. in pus."],
        ["Beads of 0.5 um.", "It is a smear."],
        ["Alam et al. 2019 drew boxes.", "So did others."],
        ["1. Two cells.", "2. Three cells."],
        ["Slide no. 3 is pale.", "There are none."],
        ["J. M. Smith took it.", "(In 2000.)", 'He wrote "pale."', "Why?!", "Nobody knows."],
        ["stained with DAPI.", "no mitoses.", "p53 is seen"],
        ["The medium is acid.", "pH is 5."],
        ["Vitamin D.", "The end."],
        ["细胞。", "两个。"],
    ],
)
def test_sentences_end_where_a_reader_ends_them(sentences):
    assert split_sentences(" ".join(sentences)) == sentences


def test_blank_lines_and_bullets_end_a_sentence_but_a_wrapped_line_does_not():
    assert split_sentences("Findings\n\n- two\n  cells\n- no platelets") == [
        "Findings",
        "- two cells",
        "- no platelets",
    ]


@given(st.text())
def test_nothing_but_white_space_is_lost_or_added(text):
    sentences = split_sentences(text)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence and sentence == " ".join(sentence.split()) for sentence in sentences)


@given(st.lists(st.sampled_from(["The cells are pale.", "Is it so?", "About 0.5 um, e.g. here."]), max_size=6))
def test_known_sentences_come_back(sentences):
    assert split_sentences(" ".join(sentences)) == sentences


def test_normal_forms_ignore_case_spaces_and_the_last_mark():
    assert normalise(" Two  Cells. ") == normalise("two cells") != normalise("two cell")


def test_openings_that_say_nothing_are_left_out():
    assert bare("The image shows two cells.") == "Two cells."
    assert bare("The new image is a smear.") == "A smear."
    for kept in ("The image is out of focus.", "The cells show tails.", "Two cells.", ""):
        assert bare(kept) == kept
