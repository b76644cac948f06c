"""Statistics and the table of names."""

from __future__ import annotations

import numpy as np
import pytest

from ragvlm import measures as table
from ragvlm.errors import InputError
from ragvlm.measures import TASKS, Item, Measure, Statistics, measure, measures
from ragvlm.measures.base import library, refuse, texts_of


def test_mean_statistics_leave_out_items_without_a_score() -> None:
    found = Statistics.of_scores([0.0, np.nan, 1.0, 0.5])
    assert found.value == 0.5
    assert found.mean
    assert found.defined.tolist() == [True, False, True, True]


def test_a_resample_counts_an_item_as_often_as_it_was_drawn() -> None:
    found = Statistics.of_scores([0.0, 1.0])
    assert found.on(np.array([0, 1, 1, 1])) == 0.75


def test_nothing_defined_is_nan() -> None:
    assert np.isnan(Statistics.of_scores([np.nan]).value)
    assert np.isnan(Statistics.of_scores([]).value)


def test_a_ratio_of_sums_is_not_the_mean_of_the_scores() -> None:
    rows = np.array([[1.0, 1.0], [0.0, 9.0]])
    ratio = Statistics(rows, lambda r: float(r[:, 0].sum() / r[:, 1].sum()), rows[:, 0] / rows[:, 1], additive=True)
    assert ratio.value == 0.1
    assert ratio.reduce(rows.sum(0, keepdims=True)) == 0.1
    assert ratio.scores is not None
    assert ratio.scores.mean() == 0.5


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(InputError, match="unknown measure 'BLUE-4'"):
        measure("BLUE-4")
    with pytest.raises(InputError, match="unknown task 'sing': choose one of describe, vqa"):
        measures("sing")


@pytest.mark.parametrize("family", table.FAMILIES, ids=lambda family: f"{family.task}: {family.shown}")
def test_every_family_makes_its_defaults(family: table.Family) -> None:
    assert family.task in TASKS
    for name in family.defaults:
        made = measure(name, family.task)
        assert isinstance(made, Measure)
        assert made == measure(name, family.task)
        assert hash(made) == hash(measure(name, family.task))
        assert (made.name, made.task) == (name, family.task)
        assert made.source


def test_errors_name_five_items() -> None:
    items = [Item(id=f"i{n}", cluster="c", prediction=None, references=()) for n in range(7)]
    assert str(refuse(items, "why")) == "'i0', 'i1', 'i2', 'i3', 'i4' and 2 more: why"
    with pytest.raises(InputError, match=r"'i0'.*the prediction is no text"):
        texts_of(items)
    with pytest.raises(InputError, match="'a': no reference text"):
        texts_of([Item(id="a", cluster="a", prediction="", references=())])
    with pytest.raises(InputError, match="'a': no reference text"):
        texts_of([Item(id="a", cluster="a", prediction="", references="one text")])


def test_a_library_is_named_with_its_version() -> None:
    assert library("numpy") == f"numpy {np.__version__}"
    assert library("no-such-package") == "no-such-package (not installed)"
