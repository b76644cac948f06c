"""How well pictures find their captions, and captions their pictures, before and after a head."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.measures.base import Statistics
from ragvlm.retrieve import FEEDBACK
from ragvlm.statistics import paired
from ragvlm.types import Float32, Int64

DEPTHS = (1, 5, 10)
WAYS = ("image to text", "text to image")


@dataclass(frozen=True, slots=True)
class Pair:
    """n records: vectors of pictures (n, d) and captions (n, t), unit rows; equal ``captions`` (n,) are equal words."""

    images: Float32
    texts: Float32
    captions: Int64
    subjects: tuple[str, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """Name of a measure, as "image to text R@5" -> its value for each record, float64 (n,)."""

    values: dict[str, NDArray[np.float64]]
    subjects: tuple[str, ...]

    def means(self) -> dict[str, float]:
        """The mean of each."""
        return {name: round(float(found.mean()), 4) for name, found in self.values.items()}


def figures(pair: Pair, neighbours: Pair | None = None) -> Figures:
    """R@1, R@5, R@10 (a relevant one is among the best) and mAP among the n records of ``pair``, both ways.

    Relevant to a picture are the captions that read like its own; equal scores are counted against it. With
    ``neighbours`` the towers share no space: a picture then asks with the mean caption, weighted by likeness, of the
    FEEDBACK pictures of ``neighbours`` that are nearest to it, as a fused search does, and a caption the other way.
    """
    if neighbours is None:
        asked = {WAYS[0]: pair.images @ pair.texts.T, WAYS[1]: pair.texts @ pair.images.T}
    else:
        words = _by_way_of(pair.images, neighbours.images, neighbours.texts)
        pictures = _by_way_of(pair.texts, neighbours.texts, neighbours.images)
        asked = {WAYS[0]: words @ pair.texts.T, WAYS[1]: pictures @ pair.images.T}
    same = pair.captions[:, None] == pair.captions[None, :]
    found: dict[str, NDArray[np.float64]] = {}
    for way, scores in asked.items():
        # stable, the relevant ones behind the others of the same score
        order = np.lexsort((same, -scores), axis=1)
        hits = np.take_along_axis(same, order, axis=1)
        found |= {f"{way} R@{k}": np.asarray(hits[:, :k].any(axis=1), np.float64) for k in DEPTHS}
        precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
        found[f"{way} mAP"] = (precision * hits).sum(axis=1) / hits.sum(axis=1)
    return Figures(found, pair.subjects)


def gains(after: Figures, before: Figures) -> dict[str, Any]:
    """After less before, with the limits of a paired 95 % interval by subject: "NAME", "NAME low", "NAME high"."""
    out: dict[str, float] = {}
    for name, values in after.values.items():
        found = paired(Statistics.of_scores(values), Statistics.of_scores(before.values[name]), after.subjects)
        limits = {"": found.value, " low": found.low, " high": found.high}
        out |= {name + which: round(value, 4) for which, value in limits.items() if not math.isnan(value)}
    return out


def _by_way_of(asking: Float32, keys: Float32, values: Float32) -> Float32:
    cosines = asking @ keys.T
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :FEEDBACK]
    weights = np.maximum(np.take_along_axis(cosines, nearest, axis=1), 0)
    mean = (weights[..., None] * values[nearest]).sum(axis=1)
    return np.asarray(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12), np.float32)
