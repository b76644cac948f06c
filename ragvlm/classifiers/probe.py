"""A linear probe: logistic regression on the embeddings of the labelled references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.classifiers.calibrate import log_loss
from ragvlm.classifiers.indexed import IndexClassifier, Judgement
from ragvlm.classifiers.labelled import FOLDS, Labelled
from ragvlm.errors import InputError, require
from ragvlm.index import Index
from ragvlm.labelsets import LabelSet
from ragvlm.types import Float32, Int64, Query

STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
"""Inverse strengths of regularisation (C) that are tried; the vectors are of length 1, not scaled."""
_STEPS = 2000


@dataclass(frozen=True, slots=True)
class Linear:
    """Multinomial logistic regression: softmax(vectors @ weights.T + bias).

    ``weights`` float32 (L, dim), ``bias`` (L,), -inf for a label that was never seen; ``n`` records were learnt from.
    """

    weights: Float32
    bias: Float32
    n: int

    def probabilities(self, vectors: Float32) -> Float32:
        """float32 (m, L), rows that add up to 1; one record's weight is shared by all labels: none is impossible."""
        logits = np.asarray(vectors @ self.weights.T, np.float64) + self.bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return np.asarray((self.n * shares + 1 / len(self.bias)) / (self.n + 1), np.float32)


def fit_linear(vectors: Float32, truth: Int64, labels: int, strength: float) -> Linear:
    """Logistic regression with an L2 penalty, by scikit-learn's L-BFGS, of ``vectors`` (n, dim) on ``truth`` (n,)."""
    linear, pools = require("sklearn.linear_model", "classify"), require("threadpoolctl", "classify")
    seen = np.unique(truth)
    weights, bias = np.zeros((labels, vectors.shape[1]), np.float32), np.full(labels, -np.inf, np.float32)
    if len(seen) == 1:
        bias[seen] = 0
        return Linear(weights, bias, len(truth))
    with pools.threadpool_limits(1):  # threads cost more than they bring here
        # the penalty is the same in any turned axes, and the records span no more of them than they are
        axes = np.linalg.qr(vectors.T)[0] if len(vectors) < vectors.shape[1] else np.eye(vectors.shape[1], dtype="f4")
        model = linear.LogisticRegression(C=strength, max_iter=_STEPS).fit(vectors @ axes, truth)
    # of two classes scikit-learn keeps one row: the logit of the second against the first
    halves = np.array([[-0.5], [0.5]]) if len(seen) == 2 else np.ones((len(seen), 1))
    weights[seen], bias[seen] = halves * (model.coef_ @ axes.T), halves[:, 0] * model.intercept_
    return Linear(weights, bias, len(truth))


def cross_validated(data: Labelled, vectors: Float32, strength: float, seed: int) -> Float32:
    """Probabilities of each record of ``data``, float32 (n, L), by the other folds; a group is in one fold."""
    folds = data.folds(min(FOLDS, data.subjects), seed)
    out = np.empty((len(data), len(data.labels)), np.float32)
    for fold in np.unique(folds):
        rest = folds != fold
        model = fit_linear(vectors[rest], data.truth[rest], len(data.labels), strength)
        out[~rest] = model.probabilities(vectors[~rest])
    return out


class ProbeClassifier(IndexClassifier):
    """Logistic regression on the frozen embeddings (linear probe; Alain and Bengio 2016, arXiv:1610.01644).

    ``strength`` is scikit-learn's C; None tries STRENGTHS by FOLDS-fold cross-validation over the subjects and takes
    the one with the least log loss. A query of a subject that was learnt from is judged by a probe without it. The
    other arguments and what is raised are those of ``IndexClassifier``; MissingExtraError without ``ragvlm[classify]``.
    """

    name = "probe"

    def __init__(
        self,
        index: Index | str | Path = "",
        labels: str | Path | Sequence[str] | LabelSet = (),
        *,
        strength: float | None = None,
        alpha: float | None = None,
        calibrate: bool = True,
        seed: int = 0,
    ) -> None:
        if strength is not None and not 0 < strength < float("inf"):
            raise InputError(f"strength is {strength}: give a number above 0")
        self.strength = strength
        super().__init__(index, labels, alpha=alpha, calibrate=calibrate, seed=seed)

    @property
    def provenance(self) -> dict[str, Any]:
        """As of every ``IndexClassifier``, with the strength."""
        return super().provenance | {"strength": self.strength}

    def _fit(self) -> None:
        self._vectors = self.data.vectors
        tried = (self.strength,) if self.strength is not None else STRENGTHS
        crossed = {c: cross_validated(self.data, self._vectors, c, self.seed) for c in tried}
        self.strength = min(crossed, key=lambda c: log_loss(crossed[c], self.data.truth))
        self._held_out = crossed[self.strength]
        self.model = self._without(np.zeros(len(self.data), bool))

    def _crossed(self) -> tuple[Float32, Int64]:
        return self._held_out, self.data.truth

    def _of(self, others: Labelled) -> Float32:
        return self.model.probabilities(others.vectors)

    def _judge(self, queries: Sequence[Query]) -> list[Judgement]:
        rows = self.model.probabilities(self.encoded(queries))
        hidden = [self.own_rows(query) for query in queries]
        for at, own in enumerate(hidden):
            if own.any():
                rows[at] = self._without(own).probabilities(self.encoded([queries[at]]))[0]
        return [Judgement(row) for row in rows]

    def _without(self, own: Any) -> Linear:
        """The probe of all records but those of a subject, bool (n,)."""
        if own.all():
            raise InputError(f"index {self.index.path}: all labelled records are of the query's own subject")
        strength = 1.0 if self.strength is None else self.strength
        return fit_linear(self._vectors[~own], self.data.truth[~own], len(self.labels), strength)
