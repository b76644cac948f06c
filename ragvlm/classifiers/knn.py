"""The labels of the nearest references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.classifiers.indexed import IndexClassifier, Judgement
from ragvlm.classifiers.labelled import Labelled
from ragvlm.errors import InputError
from ragvlm.index import Index
from ragvlm.labelsets import LabelSet
from ragvlm.types import Float32, Hit, Int64, Query

KERNEL = 0.07
_BLOCK = 512  # queries that are compared with all references at a time


class KnnClassifier(IndexClassifier):
    """The ``k`` nearest references vote for their labels, each with the weight exp((s - 1) / KERNEL) of its cosine s,
    relative to the nearest one's (Wu, Xiong, Yu and Lin, CVPR 2018, arXiv:1805.01978).

    One vote, shared by all labels, is added, so that no label is impossible. All references with a label are looked at,
    exactly. The other arguments and what is raised are those of ``IndexClassifier``; InputError for k below 1.
    """

    name = "knn"

    def __init__(
        self,
        index: Index | str | Path = "",
        labels: str | Path | Sequence[str] | LabelSet = (),
        *,
        k: int = 10,
        alpha: float | None = None,
        calibrate: bool = True,
        seed: int = 0,
    ) -> None:
        if k < 1:
            raise InputError(f"k is {k}: ask for at least 1 reference")
        self.k = k
        super().__init__(index, labels, alpha=alpha, calibrate=calibrate, seed=seed)

    @property
    def provenance(self) -> dict[str, Any]:
        """As of every ``IndexClassifier``, with k."""
        return super().provenance | {"k": self.k}

    def _fit(self) -> None:
        self._vectors = self.data.vectors

    def _crossed(self) -> tuple[Float32, Int64]:
        groups = self.data.groups
        found = self._voted(self._vectors, lambda start, end: groups[start:end, None] == groups[None, :])
        return found, self.data.truth

    def _of(self, others: Labelled) -> Float32:
        return self._voted(others.vectors, lambda start, end: np.zeros((end - start, len(self.data)), bool))

    def _judge(self, queries: Sequence[Query]) -> list[Judgement]:
        hidden = np.stack([self.own_rows(query) for query in queries])
        scores, places = self._nearest(self.encoded(queries), hidden)
        found = self._votes(scores, places)
        return [Judgement(row, self._hits(*near)) for row, *near in zip(found, scores, places, strict=True)]

    def _voted(self, vectors: Float32, hidden: Any) -> Float32:
        """Votes for many ``vectors``; ``hidden(start, end)`` says which references may not vote for a block of them."""
        edges = [*range(0, len(vectors), _BLOCK), len(vectors)]
        parts = [self._votes(*self._nearest(vectors[a:b], hidden(a, b))) for a, b in pairwise(edges)]
        return np.concatenate(parts)

    def _nearest(self, vectors: Float32, hidden: Any) -> tuple[Float32, Int64]:
        """Cosines and places in ``data`` of the k nearest, both (m, k), best first; -inf for those that are hidden."""
        cosines = np.where(hidden, -np.inf, vectors @ self._vectors.T)
        places = np.argsort(-cosines, axis=1, kind="stable")[:, : self.k]
        return np.take_along_axis(cosines, places, axis=1).astype(np.float32), places.astype(np.int64)

    def _votes(self, scores: Float32, places: Int64) -> Float32:
        return votes(scores, self.data.truth[places], len(self.labels))

    def _hits(self, scores: Float32, places: Int64) -> tuple[Hit, ...]:
        found: list[Hit] = []
        for score, place in zip(scores, places, strict=True):
            if np.isfinite(score):
                record = self.index.records[int(self.data.rows[place])]
                path = self.index.image_path(record)
                found.append(Hit(replace(record, image=str(path)) if path else record, float(score), len(found) + 1))
        return tuple(found)


def votes(scores: Float32, truth: Int64, labels: int) -> Float32:
    """Probabilities, float32 (m, labels), by neighbours' cosines (m, k), best first, and their labels (m, k).

    -inf is the cosine of one that may not vote.
    """
    best = np.where(np.isfinite(scores[:, :1]), scores[:, :1], 0)
    weights = np.exp((scores.astype(np.float64) - best) / KERNEL)
    each = [np.bincount(row, weights=w, minlength=labels) for row, w in zip(truth, weights, strict=True)]
    found = np.array(each).reshape(len(scores), labels) + 1 / labels
    return np.asarray(found / found.sum(axis=1, keepdims=True), np.float32)
