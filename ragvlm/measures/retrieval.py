"""Retrieval: mAP, Recall, Precision, nDCG, MRR and hit, each of the best K, by ir-measures.

An item is a query: its prediction a sequence of (document id, score), its references a mapping of document id to gain
(1 or more is relevant, 0 and less judged not relevant). Documents are ranked as trec_eval ranks them: see
``ragvlm.measures.trec``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from ragvlm.errors import InputError, require
from ragvlm.measures.base import Float64, Item, Statistics, library, refuse
from ragvlm.measures.trec import MAX_GAIN, check_found, trec_order

# our name, and that of ir-measures
KINDS = {
    "map": ("mAP", "AP"),
    "recall": ("Recall", "R"),
    "precision": ("Precision", "P"),
    "ndcg": ("nDCG", "nDCG"),
    "mrr": ("MRR", "RR"),
    "hit": ("hit", "Success"),
}
_NEED_K = {"Recall", "Precision", "hit"}


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The mean over queries of one measure of the best ``k`` documents (all of them where ``k`` is None).

    With gains g_i of the document at rank i, r_i = 1 where g_i >= 1 else 0, and R relevant documents in all:

    - Precision@k = sum_{i<=k} r_i / k, also where fewer than k documents were found;
    - Recall@k = sum_{i<=k} r_i / R;
    - hit@k = 1 where any r_i = 1 for i <= k, else 0. Work on image-text retrieval in the style of CLIP calls this
      "Recall@k"; the two are equal only where R = 1 for each query;
    - mAP@k: mean over queries of sum_{i<=k} r_i Precision@i / R (trec_eval's map_cut: by R, not by min(R, k));
    - MRR@k: mean over queries of 1 / (rank of the first relevant document), 0 where it isn't among the k;
    - nDCG@k = DCG@k / DCG@k of the best order, DCG@k = sum_{i<=k} max(g_i, 0) / log2(i + 1) (Järvelin and Kekäläinen
      2002, doi 10.1145/582415.582418, with trec_eval's linear gain).

    All in [0, 1], higher is better. A query whose relevant documents weren't found scores 0, one without any relevant
    document isn't defined (NaN) and doesn't enter the mean: trec_eval itself counts it as 0. Raises MissingExtraError
    without ``ragvlm[eval]``, and InputError naming the items for a prediction or references of another form, a score
    that isn't finite, a document found twice and a gain that is no whole number.
    """

    kind: str
    k: int | None = None

    task = "retrieve"
    higher_is_better = True

    @property
    def name(self) -> str:
        """Such as "nDCG@10"."""
        return self.kind if self.k is None else f"{self.kind}@{self.k}"

    @property
    def source(self) -> str:
        """ir-measures and the trec_eval below it."""
        return f"{library('ir-measures')}, {library('pytrec-eval-terrier')}"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """The mean over queries: rows are the queries' scores."""
        return Statistics.of_scores(self._scores(items))

    def _scores(self, items: Sequence[Item]) -> Float64:
        ir = require("ir_measures", "eval")
        qrels: dict[str, dict[str, int]] = {}
        run: dict[str, dict[str, float]] = {}
        for i, item in enumerate(items):
            gains = _gains(item)
            if any(gain >= 1 for gain in gains.values()):
                qrels[str(i)], run[str(i)] = self._query(item, gains)
        scores = np.full(len(items), np.nan)
        scores[[int(i) for i in qrels]] = 0.0  # a query that found nothing comes back without a figure
        for metric in ir.pytrec_eval.iter_calc([self._metric(ir)], qrels, run) if qrels else ():
            scores[int(metric.query_id)] = metric.value
        return scores

    def _query(self, item: Item, gains: Mapping[str, int]) -> tuple[dict[str, int], dict[str, float]]:
        """Judgments and ranking for trec_eval, documents renamed so that any id will do and no rank is tied."""
        ranked = trec_order(_found(item))[: self.k]
        names = {document: f"f{rank}" for rank, (document, _) in enumerate(ranked)}
        missed = count()
        judged = {names.get(document) or f"m{next(missed)}": max(gain, 0) for document, gain in gains.items()}
        return judged, {name: -float(rank) for rank, name in enumerate(names.values())}

    def _metric(self, ir: Any) -> Any:
        metric = getattr(ir, KINDS[self.kind.lower()][1])
        # the ranking was cut at k before, and only MRR has no cut of its own in trec_eval
        return metric if self.k is None or self.kind == "MRR" else metric @ self.k


def retrieval(kind: str, k: int | None = None) -> Retrieval:
    """The measure ``kind`` (of KINDS, upper or lower case) of the best ``k`` documents; None takes all.

    Raises InputError for another kind, for ``k`` below 1, and where Recall, Precision or hit lack their K.
    """
    if kind.lower() not in KINDS:
        raise InputError(f"unknown retrieval measure {kind!r}: choose one of {', '.join(k for k, _ in KINDS.values())}")
    kind, _ = KINDS[kind.lower()]
    if k is None and kind in _NEED_K:
        raise InputError(f"{kind} needs its K: write {kind}@10")
    if k is not None and k < 1:
        raise InputError(f"{kind}@{k}: K must be 1 or more")
    return Retrieval(kind, k)


def _gains(item: Item) -> dict[str, int]:
    if not isinstance(item.references, Mapping):
        raise refuse([item], "the references are no mapping of document id to gain")
    for document, gain in item.references.items():
        if not isinstance(gain, (int, np.integer)) or gain > MAX_GAIN:
            raise refuse([item], f"gain {gain!r} of document {document!r}: give a whole number, at most {MAX_GAIN}")
    return {str(document): int(gain) for document, gain in item.references.items()}


def _found(item: Item) -> list[tuple[str, float]]:
    found = item.prediction
    if not isinstance(found, (tuple, list)) or not all(
        type(pair) in (tuple, list) and len(pair) == 2 for pair in found
    ):
        raise refuse([item], "the prediction is no sequence of (document id, score)")
    scores = np.asarray([score for _, score in found])
    if len(scores) and scores.dtype.kind not in "fiu":
        raise refuse([item], "the prediction has a score that is no number")
    pairs = [(str(document), score) for (document, _), score in zip(found, scores.tolist(), strict=True)]
    check_found(pairs, f"query {item.id!r}")
    return pairs
