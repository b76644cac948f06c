from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragvlm.classifiers.calibrate import (
    conformal_threshold,
    fit_temperature,
    least_groups,
    log_loss,
    prediction_sets,
    temper,
)
from ragvlm.errors import InputError

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, n: int, labels: int, sharpness: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, labels) and labels that follow them: a classifier that is calibrated by construction."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, labels)) * sharpness
    rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rows.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return rows.astype(np.float32), truth


@given(SEEDS, st.integers(2, 8), st.floats(0.1, 10))
def test_temper_keeps_order_and_sum(seed: int, labels: int, temperature: float) -> None:
    rows, _ = drawn(seed, 20, labels)
    found = temper(rows, temperature)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found.argmax(axis=1) == rows.argmax(axis=1)).all()
    assert np.allclose(temper(rows, 1.0), rows, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 6), st.floats(0.05, 20))
def test_a_temperature_never_makes_it_worse(seed: int, labels: int, wrong: float) -> None:
    rows, truth = drawn(seed, 30, labels)
    spoilt = temper(rows, wrong)
    fitted = fit_temperature(spoilt, truth)
    assert log_loss(temper(spoilt, fitted), truth) <= log_loss(spoilt, truth) + 1e-9


@pytest.mark.parametrize("wrong", [0.25, 0.5, 2.0, 4.0])
def test_what_was_overconfident_by_a_factor_is_brought_back(wrong: float) -> None:
    rows, truth = drawn(0, 4000, 5)
    assert fit_temperature(temper(rows, wrong), truth) == pytest.approx(1 / wrong, rel=0.1)


def test_of_one_record_a_subject_the_threshold_is_the_usual_quantile() -> None:
    scores = np.random.default_rng(0).random(99)
    for alpha in (0.05, 0.1, 0.3):
        rank = math.ceil((99 + 1) * (1 - alpha))
        assert conformal_threshold(scores, np.arange(99), alpha) == np.sort(scores)[rank - 1]


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 40), st.floats(0.02, 0.6))
def test_too_few_subjects_give_all_labels(seed: int, subjects: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, subjects, 3 * subjects)
    scores = rng.random(len(groups))
    found = conformal_threshold(scores, groups, alpha)
    assert math.isinf(found) == (len(set(groups)) < least_groups(alpha))
    assert prediction_sets(np.array([[0.999, 0.001]], np.float32), math.inf).all()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from([0.05, 0.1, 0.2]), st.booleans())
def test_sets_hold_the_right_label_as_often_as_promised(seed: int, alpha: float, many: bool) -> None:
    """Coverage over many draws of calibration and query, also where a subject's records are alike."""
    rng = np.random.default_rng(seed)
    subjects, trials, covered = 40, 400, 0
    for _ in range(trials):
        of_subject = rng.normal(size=subjects + 1)
        sizes = rng.integers(1, 6, subjects) if many else np.ones(subjects, int)
        groups = np.repeat(np.arange(subjects), sizes)
        scores = of_subject[groups] + 0.3 * rng.normal(size=len(groups))
        covered += of_subject[-1] + 0.3 * rng.normal() <= conformal_threshold(scores, groups, alpha)
    # four standard errors of 400 draws
    assert covered / trials >= 1 - alpha - 4 * math.sqrt(alpha * (1 - alpha) / trials)


def test_sets_grow_as_alpha_falls() -> None:
    rows, truth = drawn(1, 300, 6)
    scores = 1 - rows[np.arange(300), truth].astype(np.float64)
    sizes = [
        prediction_sets(rows, conformal_threshold(scores, np.arange(300), alpha)).sum() for alpha in (0.3, 0.1, 0.02)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_what_cannot_be() -> None:
    for alpha in (0, 1, -1, math.nan):
        with pytest.raises(InputError, match="alpha"):
            conformal_threshold([0.1], [0], alpha)
    with pytest.raises(InputError, match="no record is held out"):
        fit_temperature(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))
