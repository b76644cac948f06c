"""Similarity by metadata: typed columns, averaged over what both know."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragvlm.errors import InputError
from ragvlm.modalities.metadata import MetadataSpace, facts_of
from ragvlm.types import Record

RECORDS = [
    Record("a", modality="CT", labels={"age": "40-49", "stain": "DAPI"}, extra={"organs": ["liver", "kidney"]}),
    Record("b", modality="CT", labels={"age": "60-69", "stain": "DAPI"}, extra={"organs": ["liver"]}),
    Record("c", modality="MR", labels={"age": "80+", "stain": "GFP"}, extra={"organs": ["brain"]}),
    Record("d", modality="MR", labels={"stain": "GFP"}, extra={"row": 3}),
]


def test_columns_have_the_type_of_their_values() -> None:
    kinds = {column.name: (column.kind, column.spread) for column in MetadataSpace(RECORDS).columns}
    assert kinds == {
        "modality": ("word", 0),
        "labels.age": ("number", 80 - 44.5),
        "labels.stain": ("word", 0),
        "extra.organs": ("set", 0),
    }


def test_similarity_is_the_mean_over_the_columns_that_both_have() -> None:
    space = MetadataSpace(RECORDS)
    found = space.similarity(space.resolve({"stain": "DAPI", "age": 44.5, "organs": ["Liver"]}))
    age_b = 1 - (64.5 - 44.5) / 35.5
    assert found.tolist() == pytest.approx([(1 + 1 + 0.5) / 3, (1 + age_b + 1) / 3, 0, 0])


def test_a_record_of_which_nothing_is_known_scores_nothing() -> None:
    space = MetadataSpace([*RECORDS, Record("e")])
    assert space.similarity({"labels.stain": "GFP"}).tolist() == [0, 0, 1, 1, 0]


def test_names_and_constants_are_no_metadata() -> None:
    records = [Record(f"r{i}", labels={"slide": f"s{i}", "site": "x", "n": 3, "stain": "AB"[i % 2]}) for i in range(10)]
    assert [column.name for column in MetadataSpace(records).columns] == ["labels.stain"]


def test_what_is_asked_for_may_be_left_out() -> None:
    assert "labels.stain" not in {c.name for c in MetadataSpace(RECORDS, {"labels.stain"}).columns}


def test_an_unknown_name_is_told_with_those_known() -> None:
    with pytest.raises(InputError, match=r"no column 'sex' can be compared: there are extra\.organs, labels\.age"):
        MetadataSpace(RECORDS).resolve({"sex": "f"})


def test_places_are_no_metadata() -> None:
    assert facts_of(Record("a", extra={"boxes": [], "region": {"x": 1}, "note": "", "site": "A"})) == {
        "extra.site": "A"
    }


scalars = st.one_of(st.text("ab 1<-+", max_size=4), st.integers(-99, 99), st.floats(-9, 9), st.booleans(), st.none())
labels = st.dictionaries(
    st.sampled_from("abc"), st.one_of(scalars, st.lists(st.sampled_from(["x", "y", ""]), max_size=3))
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(labels, min_size=1, max_size=8))
def test_any_values_give_shares_and_a_record_is_most_like_itself(rows: list[dict[str, object]]) -> None:
    records = [Record(str(i), extra=row) for i, row in enumerate(rows)]
    space = MetadataSpace(records)
    for row, record in enumerate(records):
        found = space.similarity(facts_of(record))
        assert ((found >= 0) & (found <= 1)).all()
        assert found[row] == found.max()
        assert np.isfinite(found).all()
