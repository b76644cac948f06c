"""Sentence -> references, with an encoder whose cosines can be counted by hand."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from texts import WordEncoder, context_of

from ragvlm.errors import InputError
from ragvlm.evidence import EvidenceChecker, confidence, drop_unsupported, supported_text
from ragvlm.generators import load_generator
from ragvlm.prompt import build_prompt
from ragvlm.types import Context, Evidence, Query, Record


def check(text, context, threshold=0.7, encoder=None):
    return EvidenceChecker(encoder or WordEncoder(), threshold).check(text, context)


def test_support_by_hand():
    context = context_of("The red cells are pale.", "The red cells are very pale.", "A lung.")
    (item,) = check("the red cells are pale", context)
    # word by word: 1; then 5 common words of 5 and 6: 5 / sqrt(5 * 6) = 0.913; the lung shares none
    assert item.record_ids == ("a", "b")
    assert item.support == 1
    (item,) = check("the red cells are pale", context_of("The red cells are very pale.", "A lung."))
    assert item.support == pytest.approx(5 / math.sqrt(30), abs=1e-6)
    assert check("the red cells are pale", context, 0.95)[0].record_ids == ("a",)


def test_equal_supports_keep_the_rank():
    assert check("Two cells.", context_of("Two cells.", "One lung.", "two cells"))[0].record_ids == ("a", "c")


@pytest.mark.parametrize(("name", "value", "other"), [("benign", True, False), ("label", "a", "b"), ("size", 0.5, 0.6)])
def test_another_value_of_a_label_is_no_evidence_for_it(name, value, other):
    records = [
        Record("yes", labels={name: value}),
        Record("no", labels={name: other}),
        Record("same", labels={name: value}),
    ]
    context = context_of(*records)
    text = load_generator("template").generate([build_prompt(context)])[0]
    (item,) = check(text, context, threshold=0.2)
    assert item.record_ids == ("yes", "same")
    # a reference that says it in its caption and has no such label still counts by similarity
    told = context_of(Record("x", labels={"stain": "DAPI"}), Record("y", caption="The stain is a DAPI."))
    assert check("The stain is DAPI.", told)[0].record_ids == ("x", "y")


def test_facts_overrule_similarity():
    context = context_of("An opacity in the right upper lobe.", "An opacity in the right lower lobe.")
    (item,) = check("An opacity lies in the right lower lobe.", context)
    assert item.record_ids == ("b",)


def test_a_fact_may_come_from_another_sentence_of_the_same_reference():
    claim = "A smear with a white cell in the centre of the field."
    whole = context_of("A smear with a white cell. It lies in the centre of the field.")
    assert check(claim, whole)[0].supported
    assert not check(claim, context_of("A smear with a white cell.", "It lies in the centre of the field."))[
        0
    ].supported


def test_a_sentence_of_one_side_is_no_evidence_for_the_other():
    context = context_of("The right lung is clear. The left lung shows a small round dense mass.")
    assert not check("The left lung is clear.", context)[0].supported


def test_labels_are_evidence_word_by_word_without_encoding():
    encoder = WordEncoder()
    context = context_of(*(Record(str(i), labels={"nuclei": n, "stain": "DAPI"}) for i, n in enumerate((4, 9, 4))))
    text = load_generator("template").generate([build_prompt(context)])[0]
    evidence = check(text, context, encoder=encoder)
    assert [item.record_ids for item in evidence] == [("0", "1", "2"), ("0", "2")]
    assert [item.sentence for item in evidence] == text.replace(". T", ".|T").split("|")
    assert encoder.encoded == []


def test_a_false_tally_is_refused():
    context = context_of(*(Record(str(i), labels={"stain": stain}) for i, stain in enumerate(("DAPI", "GFP"))))
    assert check("The stain is DAPI (1 of 2 references).", context)[0].supported
    assert not check("The stain is DAPI (2 of 2 references).", context)[0].supported


def test_each_sentence_is_encoded_once():
    encoder = WordEncoder()
    checker = EvidenceChecker(encoder, 0.5)
    context = context_of("The cells are pale. The field is dim.", "The cells are very pale.")
    texts = ["The cells are pale here.", "The cells are pale here. The field is rather dim."]
    many = checker.check_many(texts, [context, context])
    assert many == [checker.check(text, context) for text in texts]
    assert len(encoder.encoded) == len(set(encoder.encoded))


def test_nothing_to_check_and_nothing_to_check_against():
    assert check("", context_of("A cell.")) == ()
    assert check("A cell.", Context(Query("q"))) == (Evidence("A cell.", (), 0.0),)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_thresholds_out_of_range(threshold):
    with pytest.raises(InputError, match="threshold"):
        EvidenceChecker(WordEncoder(), threshold)


def test_what_is_unsupported_is_dropped_or_marked():
    evidence = (Evidence("Two cells.", ("a",), 1.0), Evidence("A moon.", (), 0.2))
    assert supported_text(drop_unsupported(evidence)) == "Two cells."
    assert supported_text(evidence) == "Two cells. A moon. [unsupported]"


def test_confidence_by_hand():
    context = context_of("One.", "Two.", Record("silent"), "Four.", scores=[0.6, 0.3, 0.9, -0.2])
    evidence = (Evidence("x", ("a",), 1.0), Evidence("y", ("a", "b", "d"), 1.0), Evidence("z", (), 0.0))
    # the weights that count are 0.6, 0.3 and 0: (0.6 / 0.9 + 0.9 / 0.9 + 0) / 3
    assert confidence(evidence, context) == pytest.approx((2 / 3 + 1) / 3)
    assert confidence((), context) == 0
    assert confidence(evidence, context_of("One.", scores=[-1])) == 0


VOCABULARY = re.findall(r"\w+", "two three no red white left right cells nuclei are in the pale")
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=7)


@given(st.lists(WORDS, min_size=1, max_size=4), WORDS)
def test_supports_are_bounded_ordered_and_certain_for_copies(captions, claim):
    context = context_of(*(" ".join(words) for words in captions))
    ids = [hit.record.id for hit in context.hits]
    for item in check(" ".join(claim), context, 0.3):
        assert 0 <= item.support <= 1
        assert set(item.record_ids) <= set(ids)
    for hit in context.hits:
        assert all(hit.record.id in item.record_ids for item in check(hit.record.caption, context))


def test_real_captions_support_themselves(shared_data):
    for name in ("blood-cells", "cell-assays"):
        lines = (shared_data / name / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
        context = context_of(
            *(Record(str(i), caption=json.loads(line)["caption"]) for i, line in enumerate(lines[:20]))
        )
        for hit in context.hits:
            evidence = check(hit.record.caption, context)
            assert all(hit.record.id in item.record_ids and item.support == 1 for item in evidence)
