"""Retrieval measures against examples worked by hand, against trec_eval itself (pytrec_eval) and against properties."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from ragvlm.errors import InputError
from ragvlm.measures.base import Item
from ragvlm.measures.retrieval import Retrieval, retrieval


def query(found: Any, gains: Any, name: str = "q") -> Item:
    return Item(name, name, found, gains)


def ranking(*documents: str) -> list[tuple[str, float]]:
    return [(document, 1 - 0.1 * rank) for rank, document in enumerate(documents)]


# relevant: a (gain 2), c, e; found: b a d c, so the hits are at ranks 2 and 4 and e is missed
BY_HAND = query(ranking("b", "a", "d", "c"), {"a": 2, "b": 0, "c": 1, "e": 1})
IDEAL_3 = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)


@pytest.mark.parametrize(
    ("kind", "k", "value"),
    [
        ("Precision", 2, 1 / 2),
        ("Precision", 5, 2 / 5),  # four were found: still by 5
        ("Recall", 2, 1 / 3),
        ("Recall", 4, 2 / 3),
        ("hit", 1, 0.0),
        ("hit", 2, 1.0),
        ("mAP", 2, (1 / 2) / 3),
        ("mAP", 4, (1 / 2 + 2 / 4) / 3),
        ("mAP", None, (1 / 2 + 2 / 4) / 3),
        ("MRR", None, 1 / 2),
        ("MRR", 2, 1 / 2),
        ("MRR", 1, 0.0),
        ("nDCG", 3, (2 / math.log2(3)) / IDEAL_3),
        ("nDCG", None, (2 / math.log2(3) + 1 / math.log2(5)) / IDEAL_3),
    ],
)
def test_worked_by_hand(kind: str, k: int | None, value: float) -> None:
    assert retrieval(kind, k).statistics([BY_HAND]).value == pytest.approx(value)


def test_hit_and_recall_differ_where_a_query_has_two_relevant_documents() -> None:
    items = [query(ranking("a", "x"), {"a": 1, "b": 1})]
    assert retrieval("hit", 1).statistics(items).value == 1.0
    assert retrieval("Recall", 1).statistics(items).value == 0.5


def test_a_query_without_hits_scores_0_and_one_without_relevant_documents_is_not_defined() -> None:
    items = [query(ranking("a"), {"a": 1}), query([], {"a": 1}), query(ranking("a"), {"a": 0}), query([], {})]
    for measure in (retrieval("nDCG", 5), retrieval("MRR"), retrieval("hit", 1), retrieval("mAP", 3)):
        found = measure.statistics(items)
        assert found.scores is not None
        np.testing.assert_array_equal(found.scores, [1.0, 0.0, np.nan, np.nan])
        assert found.value == 0.5
        assert found.defined.sum() == 2
    assert math.isnan(retrieval("MRR").statistics(items[2:]).value)
    assert math.isnan(retrieval("MRR").statistics([]).value)


def test_measures_are_values() -> None:
    assert retrieval("ndcg", 10) == Retrieval("nDCG", 10)
    assert {retrieval("nDCG", 10), retrieval("NDCG", 10)} == {Retrieval("nDCG", 10)}
    assert [retrieval("mAP").name, retrieval("hit", 5).name] == ["mAP", "hit@5"]
    assert "ir-measures" in retrieval("mrr").source
    assert retrieval("mrr").higher_is_better


DOCUMENTS = st.sampled_from([f"d{i}" for i in range(12)])
# few scores, so that many are tied, and two that are equal in 32 bits only
SCORES = st.sampled_from([0.0, 0.25, 0.5, 0.5 + 1e-12, 0.5 + 1e-6, -1.0, 3e38])
QUERIES = st.lists(
    st.tuples(
        st.dictionaries(DOCUMENTS, SCORES, max_size=10),
        st.dictionaries(DOCUMENTS, st.integers(-1, 3), min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)
TREC_EVAL = {
    "map": retrieval("mAP"),
    "map_cut_3": retrieval("mAP", 3),
    "recall_3": retrieval("Recall", 3),
    "P_3": retrieval("Precision", 3),
    "ndcg": retrieval("nDCG"),
    "ndcg_cut_3": retrieval("nDCG", 3),
    "recip_rank": retrieval("MRR"),
    "success_3": retrieval("hit", 3),
}


@settings(max_examples=150, deadline=None)
@given(QUERIES)
def test_equals_trec_eval_also_in_ties(queries: list[tuple[dict[str, float], dict[str, int]]]) -> None:
    items = [query(list(found.items()), gains, str(i)) for i, (found, gains) in enumerate(queries)]
    # trec_eval's nDCG may never end on a query of which all gains are negative
    qrels = {str(i): gains for i, (_, gains) in enumerate(queries) if max(gains.values()) >= 1}
    run = {str(i): found for i, (found, _) in enumerate(queries)}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, set(TREC_EVAL)).evaluate(run)
    for name, measure in TREC_EVAL.items():
        scores = measure.statistics(items).scores
        assert scores is not None
        for i, score in enumerate(scores):
            expected = theirs.get(str(i), {}).get(name, 0.0) if str(i) in qrels else math.nan
            assert score == pytest.approx(expected, abs=1e-12, nan_ok=True), name


@settings(max_examples=50, deadline=None)
@given(QUERIES, st.randoms(use_true_random=False))
def test_bounds_and_the_order_of_queries_and_documents(
    queries: list[tuple[dict[str, float], dict[str, int]]], random: Any
) -> None:
    items = [query(list(found.items()), gains, str(i)) for i, (found, gains) in enumerate(queries)]
    shuffled = [query(random.sample(i.prediction, len(i.prediction)), i.references, i.id) for i in items]
    random.shuffle(shuffled)
    for measure in TREC_EVAL.values():
        found = measure.statistics(items)
        assert math.isnan(found.value) or 0 <= found.value <= 1 + 1e-12
        assert found.value == pytest.approx(measure.statistics(shuffled).value, nan_ok=True)


def test_the_best_ranking_scores_1() -> None:
    items = [query(ranking("a", "c", "b"), {"a": 3, "b": 1, "c": 2})]
    for kind in ("mAP", "Recall", "Precision", "nDCG", "MRR", "hit"):
        assert retrieval(kind, 3).statistics(items).value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("found", "gains", "words"),
    [
        ([("a", math.nan)], {"a": 1}, "finite"),
        ([("a", 1e39)], {"a": 1}, "finite"),
        ([("a", 1.0), ("a", 0.5)], {"a": 1}, "twice"),
        (["d1", "d2"], {"a": 1}, "sequence of"),
        ({"d1": 0.5}, {"a": 1}, "sequence of"),
        ([("a", "0.5")], {"a": 1}, "no number"),
        ([("a", 1.0)], ["a"], "mapping"),
        ([("a", 1.0)], {"a": 0.5}, "whole number"),
        ([("a", 1.0)], {"a": 10**9}, "whole number"),
    ],
)
def test_refuses_in_one_line_that_names_the_query(found: Any, gains: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        retrieval("mAP", 5).statistics([query(found, gains, "query 7")])
    assert "'query 7'" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("kind", "k"), [("recall", None), ("hit", None), ("nDCG", 0), ("F", 3)])
def test_refuses_names_that_mean_nothing(kind: str, k: int | None) -> None:
    with pytest.raises(InputError):
        retrieval(kind, k)
