"""Conditions on records: what they allow, what they refuse, and that a filtered search equals a filtered ranking."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny import COLOURS, build, make_corpus

from ragvlm.describe import Describer
from ragvlm.errors import InputError
from ragvlm.filters import Filter, as_word, facts_of
from ragvlm.index import Index
from ragvlm.types import Record

SMEAR = Record(
    id="a",
    modality="MR",
    licence="MIT",
    labels={"stain": "Wright", "cells": 3, "dense": True, "width": 0.5},
    extra={"organs": ["liver", "spleen"], "row": 7.0, "nested": {"a": 1}, "source": "scanner"},
)


@pytest.mark.parametrize(
    ("where", "allowed"),
    [
        ({}, True),
        ({"modality": "MR"}, True),
        ({"modality": "CT"}, False),
        ({"modality": {"CT", "MR"}, "licence": "MIT"}, True),
        ({"modality": "MR", "licence": "CC0"}, False),
        ({"labels.stain": "Wright"}, True),
        ({"labels.cells": 3}, True),
        ({"labels.cells": "3"}, True),
        ({"labels.cells": 3.0}, True),
        ({"labels.cells": range(2, 5)}, True),
        ({"labels.dense": True}, True),
        ({"labels.dense": "true"}, True),
        ({"labels.dense": 1}, False),
        ({"labels.width": 0.5}, True),
        ({"extra.organs": "spleen"}, True),
        ({"extra.organs": "kidney"}, False),
        ({"extra.row": 7}, True),
        ({"source": "scanner"}, False),
        ({"extra.source": "scanner"}, True),
        (["modality=MR", "modality=CT", "labels.stain=Wright"], True),
        ("labels.stain=Giemsa", False),
    ],
)
def test_what_a_filter_allows(where: Any, allowed: bool) -> None:
    assert Filter.of(where).allows(SMEAR) is allowed


def test_a_bare_name_is_a_field_then_a_label_then_a_column() -> None:
    records = [Record(id="0"), SMEAR]
    named = Filter.of({"modality": "MR", "stain": "Wright", "row": 7, "extra.source": "scanner"}).resolved(records)
    assert {name for name, _ in named.conditions} == {"modality", "labels.stain", "extra.row", "extra.source"}
    assert named.allows(SMEAR)
    assert Filter.of({"a.b": 1}).resolved([Record(id="1", labels={"a.b": 1})]).to_dict() == {"labels.a.b": ["1"]}


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        InputError, match=r"no record of the index has 'colour'; known are .*labels\.stain, .*modality$"
    ):
        Filter.of({"colour": "red"}).resolved([SMEAR])
    with pytest.raises(InputError, match="'source'"):  # a field that no record fills
        Filter.of({"source": "x"}).resolved([SMEAR])


@pytest.mark.parametrize("where", [["stain"], ["=x"], ["stain="], {"stain": None}, {"stain": []}, {"stain": {"a": 1}}])
def test_what_is_no_condition(where: Any) -> None:
    with pytest.raises(InputError, match="where"):
        Filter.of(where)


scalars = st.one_of(st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.sampled_from(["3", "true", "x", "CT"]))


@given(labels=st.dictionaries(st.sampled_from("abc"), scalars), wanted=st.dictionaries(st.sampled_from("abc"), scalars))
def test_allows_is_a_comparison_of_words(labels: dict[str, Any], wanted: dict[str, Any]) -> None:
    found = Filter.of({f"labels.{name}": value for name, value in wanted.items()}).allows(Record("r", labels=labels))
    assert found == all(name in labels and as_word(labels[name]) == as_word(value) for name, value in wanted.items())


def test_facts_are_words_with_qualified_names() -> None:
    assert ("extra.organs", "liver") in facts_of(SMEAR)
    assert ("labels.dense", "true") in facts_of(SMEAR)
    assert not [name for name, _ in facts_of(SMEAR) if name.startswith("extra.nested")]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    root = tmp_path_factory.mktemp("filters")
    return build(make_corpus(root / "c", 200), root / "i", calibrate=True)


def _square(colour: str) -> Image.Image:
    return Image.new("RGB", (12, 12), COLOURS[colour])


@pytest.mark.parametrize("mode", ["image", "text", "fused"])
@pytest.mark.parametrize("where", [{"colour": "blue"}, {"number": {3, 150, 199}}, {"licence": "CC0-1.0", "row": 7}])
def test_a_filtered_search_is_the_search_without_the_others(index: Index, mode: str, where: Any) -> None:
    everything = index.search("a red square", k=200, mode=mode, where=None)
    asked = Filter.of(where).resolved(index.records)
    wanted = [hit.record.id for hit in everything if asked.allows(hit.record)]
    found = index.search("a red square", k=5, mode=mode, where=where)
    assert found
    assert len(found) == min(5, len(wanted))
    if mode != "fused":  # ranks of a fused list are those among the allowed
        assert [hit.record.id for hit in found] == wanted[:5]
    assert all(asked.allows(hit.record) for hit in found)


def test_where_goes_with_exclusion_of_the_subject(index: Index) -> None:
    numbers = {4, 5, 6}  # of subjects s2, s2 and s3
    found = index.search(_square("red"), k=9, where={"number": numbers}, subject_id="s2")
    assert [hit.record.labels["number"] for hit in found] == [6]


def test_describe_rests_on_allowed_references_alone(index: Index) -> None:
    description = Describer(index, k=3, alpha=0, where=["colour=green"])(_square("red"))
    assert {hit.record.labels["colour"] for hit in description.context.hits} == {"green"}
    assert description.to_dict()["provenance"]["parameters"]["where"] == {"colour": ["green"]}


def test_nothing_allowed_is_no_hit_and_no_description(index: Index) -> None:
    assert index.search("red", where={"modality": "CT"}) == []
    assert Describer(index, alpha=0, where={"modality": "CT"})(_square("red")).abstained


def test_a_condition_without_a_value_ends_the_command_with_one_line(index: Index) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ragvlm", "search", "red", "-i", str(index.path), "--where", "colour"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().endswith("where takes NAME=VALUE, not 'colour'")
    assert "Traceback" not in done.stderr
