"""Fusion by weights: each modality's similarity on the scale of the corpus, times its weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from ragvlm.errors import InputError
from ragvlm.fusion import LEAST_DEVIATION, Ranking
from ragvlm.modalities.spaces import MODALITIES
from ragvlm.types import Float32


@dataclass(frozen=True, slots=True)
class Weights:
    """``weights`` of modalities, each >= 0; ``scales`` are mean and standard deviation of the corpus' similarities."""

    weights: Mapping[str, float]
    scales: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, known: Mapping[str, Any], given: Mapping[str, float]) -> Weights:
        """From ``manifest.calibration["fusion"]``, with the weights ``given`` in place of the learned ones, if any.

        Raises InputError for an unknown modality, a weight below 0 and none above 0.
        """
        chosen = dict(given or known["weights"])
        for name, weight in chosen.items():
            if name not in known["scales"]:
                have = ", ".join(known["scales"])
                raise InputError(f"weights: this index has no modality {name!r} to weigh: it has {have}")
            if not 0 <= weight < float("inf"):
                raise InputError(f"weights: {name} is {weight}: give a number from 0 on")
        if not any(chosen.values()):
            raise InputError("weights: all are 0: give at least one modality a weight")
        scales = {name: (float(scale["mean"]), float(scale["sd"])) for name, scale in known["scales"].items()}
        return cls(chosen, scales)

    def scores(self, similarities: Mapping[str, Float32]) -> Float32:
        """Fused scores, float32 (n,) in [0, 1]. ``similarities`` (n,) by modality: those that the query has.

        Each similarity becomes the share of a normal distribution of the corpus' own that lies below it, as in
        ``fusion.mean_calibrated``; NaN (a record that lacks the modality) counts 0. The mean is weighted by those
        modalities alone that the query has. Raises InputError where it has none that weighs.
        """
        used = {name: weight for name, weight in self.weights.items() if weight > 0 and name in similarities}
        if not used:
            weighed = ", ".join(name for name in MODALITIES if self.weights.get(name))
            raise InputError(f"the query has nothing that weighs: this index weighs {weighed}")
        total = sum(weight * shares(similarities[name], self.scales[name]) for name, weight in used.items())
        return np.asarray(total / sum(used.values()), np.float32)


def shares(similarities: Float32, scale: tuple[float, float]) -> Float32:
    """The share of a normal distribution with mean and deviation ``scale`` below each similarity; 0 for NaN."""
    normal = NormalDist(scale[0], max(scale[1], LEAST_DEVIATION / 5))
    flat = np.asarray(similarities, np.float64).ravel()
    known = ~np.isnan(flat)
    # a table, since the exact function takes one number at a time
    grid = np.linspace(normal.mean - 6 * normal.stdev, normal.mean + 6 * normal.stdev, 2048)
    table = np.array([normal.cdf(value) for value in grid])
    out = np.zeros(len(flat), np.float32)
    out[known] = np.interp(flat[known], grid, table)
    return out.reshape(np.shape(similarities))


def ranked(rows: np.ndarray[Any, np.dtype[np.int64]], scores: Float32) -> Ranking:
    """Rows with their scores, best first, equal scores by lower row."""
    order = np.lexsort((rows, -scores))
    return [(int(rows[i]), float(scores[i])) for i in order]
