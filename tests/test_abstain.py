"""The conformal test, by hand and by its guarantee."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import build, make_corpus, of

from ragvlm.abstain import NEIGHBOURS, calibrate, judge, nonconformity
from ragvlm.types import Record


def test_nonconformity_is_the_mean_distance_of_the_nearest_five() -> None:
    assert nonconformity([0.9, 0.8, 0.7, 0.6, 0.5, -1.0]) == pytest.approx(1 - 0.7)
    assert nonconformity([0.9]) == pytest.approx(0.1)
    assert nonconformity([]) == float("inf")


def test_p_value_by_hand() -> None:
    # 2 of 4 corpus scores are at least 0.3; with the query's own that is 3 of 5
    verdict = judge([0.7], [0.1, 0.2, 0.3, 0.4], alpha=0.05)
    assert verdict.p_value == pytest.approx(3 / 5)
    assert not verdict.abstain
    far = judge([0.0], [0.1] * 39, alpha=0.05)
    assert far.p_value == pytest.approx(1 / 40)
    assert far.abstain
    assert "p = 0.025" in far.reason


def test_a_small_corpus_can_not_refuse_at_a_small_level() -> None:
    assert not judge([-1.0], [0.1] * 10, alpha=0.05).abstain


@given(st.integers(0, 2**32 - 1))
def test_exchangeable_queries_are_refused_at_most_as_often_as_alpha_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=200)
    refused = [judge([1 - q], np.delete(scores, i).tolist(), 0.1).abstain for i, q in enumerate(scores)]
    # leave one out over 200 exchangeable scores: at most a share alpha has a p-value below alpha
    assert np.mean(refused) <= 0.1


def test_calibration_leaves_out_the_own_subject_and_equal_pixels(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", 12)
    index = build(corpus, tmp_path / "i")
    found = calibrate(index)
    assert found["neighbours"] == NEIGHBOURS
    assert len(found["nonconformity"]) == 12
    # worked anew with a plain loop over the embeddings
    vectors = index.image_embeddings(list(range(12)))
    for row in range(12):
        others = [float(vectors[row] @ vectors[o]) for o in range(12) if o // 2 != row // 2]
        expected = 1 - np.mean(sorted(others, reverse=True)[:5])
        assert min(abs(s - expected) for s in found["nonconformity"]) < 1e-4


def test_calibration_compares_with_records_that_speak_as_a_description_does(tmp_path: Path) -> None:
    whole = make_corpus(tmp_path / "c", 24)
    half = of(whole.root, [r if i % 2 else Record(id=r.id, image=r.image) for i, r in enumerate(whole.records)])
    index = build(half, tmp_path / "i", calibrate=True)
    scores = index.manifest.calibration["nonconformity"]
    assert len(scores) == 24
    vectors = index.image_embeddings(list(range(24)))
    first = sorted((float(vectors[0] @ vectors[o]) for o in range(1, 24, 2)), reverse=True)[:5]
    assert min(abs(s - (1 - np.mean(first))) for s in scores) < 1e-4
    whole_scores = build(whole, tmp_path / "w", calibrate=True).manifest.calibration["nonconformity"]
    assert sum(scores) > sum(whole_scores)


def test_calibration_without_comparable_records_is_empty(tmp_path: Path) -> None:
    whole = make_corpus(tmp_path / "c", 3)
    same = of(whole.root, [Record(id=r.id, image=r.image, subject_id="one") for r in whole.records])
    assert calibrate(build(same, tmp_path / "i"))["nonconformity"] == []
