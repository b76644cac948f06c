"""The generators without weights, by hand-worked examples."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from texts import context_of

from ragvlm.generators import load_generator
from ragvlm.generators.consensus import ngrams, similarity
from ragvlm.prompt import build_prompt
from ragvlm.types import Record

CAPTIONS = st.lists(
    st.sampled_from(["two red cells", "two cells", "one red cell", "a pale field", "no cells"]), max_size=6
)


def write(name, *records, **options):
    return load_generator(name, **options).generate([build_prompt(context_of(*records))])[0]


def test_similarity_by_hand():
    # 1-grams: two red cells / two cells share 2 of 3 and 2: 2 / sqrt(3 * 2); no common 2-gram; one has a 3-gram
    expected = (2 / math.sqrt(6) + 0 + 0) / 3
    assert similarity(ngrams("two red cells"), ngrams("Two cells.")) == pytest.approx(expected)
    assert similarity(ngrams("cell"), ngrams("Cell")) == 1
    assert similarity(ngrams(""), ngrams("")) == 0


def test_consensus_is_the_caption_nearest_to_the_others():
    assert (
        write("consensus", "A lung.", "Two red cells here.", "Two red cells there.", "Red cells.")
        == "Two red cells here."
    )
    assert write("consensus", "A lung.", "Two cells.") == "A lung."  # a tie: the better rank


@given(CAPTIONS)
def test_consensus_and_nearest_repeat_a_reference(captions):
    assert write("consensus", *captions) in (captions or [""])
    assert write("nearest", *captions) == (captions[0] if captions else "")


def test_records_without_caption_have_no_voice():
    silent = Record("x", labels={"stain": "DAPI"})
    for name in ("consensus", "nearest"):
        assert write(name, silent, "Two cells.", Record("y", caption=" ")) == "Two cells."
        assert write(name, silent) == ""


def test_template_says_each_label_once():
    records = [Record(str(i), labels={"nuclei": n, "stain": "DAPI"}) for i, n in enumerate((3, 4, 9))]
    assert (
        write("template", *records)
        == "The stain is DAPI (3 of 3 references). There are four nuclei (3 to 9 in 3 references)."
    )
    assert write("template", *records, tally=False) == "The stain is DAPI. There are four nuclei."
    assert write("template", "Only a caption.") == ""
