"""Two rankings into one, and one ranking into a more varied one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import NormalDist

import numpy as np

from ragvlm.types import Float32

RRF_CONSTANT = 60  # the value of Cormack et al. 2009
LEAST_DEVIATION = 0.05  # a corpus of copies has none, and still must be ranked
Ranking = list[tuple[int, float]]  # (row of the index, similarity), best first


def reciprocal_rank(rankings: Sequence[Ranking]) -> Ranking:
    """Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009, doi 10.1145/1571941.1572114).

    The score of a row is the sum of 1 / (60 + rank) over the rankings that hold it; equal scores by lower row.
    """
    return _total((row, 1 / (RRF_CONSTANT + rank)) for ranking in rankings for rank, (row, _) in enumerate(ranking, 1))


def mean_calibrated(rankings: Sequence[Ranking], scales: Sequence[tuple[float, float]]) -> Ranking:
    """Fusion by calibrated scores: the mean of the similarities, each on the scale of its own ranking.

    ``scales`` are mean and standard deviation of the corpus' own nearest-neighbour similarities, one pair a ranking;
    a similarity becomes the share of a normal distribution with these that lies below it. A row that a ranking
    lacks counts 0 there. Scores in [0, 1]; equal scores by lower row.
    """
    return _total(
        (row, NormalDist(mean, max(sd, LEAST_DEVIATION)).cdf(score) / len(rankings))
        for ranking, (mean, sd) in zip(rankings, scales, strict=True)
        for row, score in ranking
    )


def feedback(similarities: Sequence[float], vectors: Float32) -> Float32 | None:
    """Pseudo-relevance feedback: the mean of ``vectors`` (n, dim) weighted by similarity, as a unit vector.

    Rows of NaN (a record without a caption, or picture) are left out; None where nothing is left.
    """
    weights = np.maximum(np.array(similarities, np.float32), 0)
    known = ~np.isnan(vectors).any(axis=1)
    if not known.any() or weights[known].sum() == 0:
        return None
    mean = weights[known] @ vectors[known]
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def _total(gains: Iterable[tuple[int, float]]) -> Ranking:
    points: dict[int, float] = {}
    for row, gain in gains:
        points[row] = points.get(row, 0.0) + gain
    return sorted(points.items(), key=lambda item: (-item[1], item[0]))


def diversify(ranking: Ranking, vectors: Float32, diversity: float) -> Ranking:
    """Maximal marginal relevance (Carbonell and Goldstein 1998, doi 10.1145/290941.291025).

    ``vectors``: float32 (len(ranking), dim), unit rows. Each next row is the one with the largest
    (1 - diversity) * score - diversity * (largest cosine to what stands above); scores are taken relative to the
    best, so that those of a rank fusion weigh as much as cosines.
    """
    scores = np.array([score for _, score in ranking], np.float32)
    scores = scores / scores.max() if scores.max(initial=0) > 0 else scores
    likeness = vectors @ vectors.T
    chosen: list[int] = []
    rest = list(range(len(ranking)))
    while rest:
        novel = [float(likeness[i, chosen].max()) if chosen else 0.0 for i in rest]
        worth = [(1 - diversity) * scores[i] - diversity * n for i, n in zip(rest, novel, strict=True)]
        chosen.append(rest.pop(int(np.argmax(worth))))
    return [ranking[i] for i in chosen]
