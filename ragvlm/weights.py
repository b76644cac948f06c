"""Weights of the modalities, learned on an index's own corpus by cross-validation.

Each record with a picture asks for the others as a query would: without its own subject and its exact duplicates. The
weights are those of a grid on the simplex that find the best references: the mean gain of the top five, where the gain
of a reference is the cosine of its caption to the query's own, or 1 for the same label. A fifth of the subjects is held
out at a time; what is promised is what the weights of the other four fifths reach there, against the pictures alone,
and only where that is more beyond chance (cluster bootstrap by subject, ``ragvlm.statistics``) are they kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.errors import InputError
from ragvlm.measures.base import Statistics
from ragvlm.modalities import regions
from ragvlm.modalities.metadata import MetadataSpace, facts_of, value_of
from ragvlm.modalities.spaces import MODALITIES, region_matrix
from ragvlm.modalities.weighing import shares
from ragvlm.retrieve import FEEDBACK
from ragvlm.statistics import paired
from ragvlm.types import Float32, Int64, Record

if TYPE_CHECKING:
    from ragvlm.index import Index

TOP = 5  # references whose gain counts: as many as a description rests on
STEP = 0.1  # of the grid of weights
FOLDS = 5
SAMPLE = 1000  # records that are compared with each other
LEAST = 20  # records and subjects below which nothing is learned
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Trial:
    """What the records of a corpus find among each other; n records, in the order of ``ids``.

    ``shares``: similarities of each modality on the corpus' scale, float32 (n, n); ``eligible`` bool (n, n): what may
    serve; ``gain`` float32 (n, n); ``subjects`` (n,): whose they are.
    """

    ids: tuple[str, ...]
    shares: Mapping[str, Float32]
    scales: Mapping[str, Mapping[str, float]]
    eligible: np.ndarray[Any, np.dtype[np.bool_]]
    gain: Float32
    subjects: tuple[str, ...]

    def score(self, weights: Mapping[str, float]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Mean gain of each record's TOP eligible others, by these weights: float64 (n,), NaN where there are fewer."""
        fused = np.where(self.eligible, sum(w * self.shares[name] for name, w in weights.items() if w > 0), -1)
        top = np.argpartition(-fused, TOP - 1, axis=1)[:, :TOP]
        found = np.take_along_axis(self.gain, top, axis=1).mean(axis=1, dtype=np.float64)
        return np.where(self.eligible.sum(axis=1) >= TOP, found, np.nan)


def learn(index: Index, objective: str = "caption", *, seed: int = 0) -> dict[str, Any]:
    """Learn the weights and commit them to the manifest; returns the JSON object kept as ``calibration["fusion"]``.

    ``objective``: "caption", or the name of a label or column, which then is no part of the metadata.
    Raises InputError where the corpus is too small, or has no such objective, StoreError where another process writes.
    """
    from ragvlm.index.lock import writing
    from ragvlm.index.manifest import read_manifest

    found = cross_validated(trial(index, objective, seed=seed), seed=seed)
    with writing(index.path):
        old = read_manifest(index.path)
        if old.segments != index.manifest.segments:
            raise InputError(f"index {index.path} was changed meanwhile: run the same command again")
        kept = {"objective": objective, **found}
        new = replace(old, calibration={**old.calibration, "fusion": kept})
        index.manifest = new.committed(index.path)
    return kept


def summary(found: Mapping[str, Any]) -> str:
    """What ``learn`` found, in a sentence for a person."""
    weights = ", ".join(f"{name} {weight:g}" for name, weight in found["weights"].items())
    gain = found["held_out_gain"]
    return (
        f"weights: {weights}. On {found['records']} records of {found['subjects']} subjects, held out, the references' "
        f"mean gain ({found['objective']}) is {found['held_out']:.3f}, by pictures alone {found['image_only']:.3f}: "
        f"{gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
        + ("" if found["helps"] else "; no gain beyond chance, so pictures alone are kept")
    )


def trial(index: Index, objective: str = "caption", *, seed: int = 0) -> Trial:
    """The records of ``index`` (SAMPLE drawn at random of more) as queries against each other. Raises as ``learn``."""
    rows = np.sort(np.random.default_rng(seed).permutation(index.image_rows)[:SAMPLE])
    records = [index.records[int(row)] for row in rows]
    gain, known = _gain(index, rows, records, objective)
    rows, records, gain = rows[known], [r for r, k in zip(records, known, strict=True) if k], gain[np.ix_(known, known)]
    subjects = tuple(record.subject_id or f"record {record.id}" for record in records)
    if len(set(subjects)) < LEAST:
        raise InputError(
            f"index {index.path} has {len(set(subjects))} subjects with a picture and {objective!r}: "
            f"weights are learned from {LEAST} on"
        )
    eligible = _eligible(index, rows, subjects)
    similarities = _similarities(index, rows, records, eligible, objective)
    scales = {name: _scale(matrix, eligible) for name, matrix in similarities.items()}
    shared = {name: shares(matrix, (scales[name]["mean"], scales[name]["sd"])) for name, matrix in similarities.items()}
    return Trial(tuple(r.id for r in records), shared, scales, eligible, gain, subjects)


def cross_validated(found: Trial, *, seed: int = 0) -> dict[str, Any]:
    """Weights, scales, and what they reach on subjects that had no part in choosing them (JSON types)."""
    grid = simplex([name for name in MODALITIES if name in found.shares])
    scores = np.array([found.score(weights) for weights in grid])
    alone = found.score({"image": 1.0})
    held_out, chosen = held_out_scores(found, grid, scores, seed=seed)
    gain = paired(
        Statistics.of_scores(held_out), Statistics.of_scores(alone), found.subjects, resamples=RESAMPLES, seed=seed
    )
    helps = bool(gain.low > 0)
    best = grid[_best(scores)] if helps else {"image": 1.0}
    return {
        "weights": {name: round(weight, 3) for name, weight in best.items() if weight > 0},
        "scales": {name: dict(scale) for name, scale in found.scales.items()},
        "records": len(found.ids),
        "subjects": len(set(found.subjects)),
        "top": TOP,
        "image_only": round(float(np.nanmean(alone)), 6),
        "held_out": round(float(np.nanmean(held_out)), 6),
        "held_out_gain": {key: round(getattr(gain, key), 6) for key in ("value", "low", "high")},
        "folds": [{name: round(weight, 3) for name, weight in weights.items() if weight > 0} for weights in chosen],
        "helps": helps,
    }


def held_out_scores(
    found: Trial, grid: Sequence[Mapping[str, float]], scores: np.ndarray[Any, Any], *, seed: int = 0
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[Mapping[str, float]]]:
    """The scores of each record (n,) by the weights that suit the subjects of the other folds, and those weights.

    ``scores`` (len(grid), n) are those of all weights.
    """
    folds = folds_of(found.subjects, seed)
    held_out, chosen = np.full(len(folds), np.nan), []
    for fold in range(FOLDS):
        best = _best(scores[:, folds != fold])
        chosen.append(grid[best])
        held_out[folds == fold] = scores[best, folds == fold]
    return held_out, chosen


def folds_of(subjects: Sequence[str], seed: int = 0) -> Int64:
    """The fold of each record, 0 to FOLDS - 1: int64 (n,). Subjects are shuffled; all of one are in the same."""
    names = sorted(set(subjects))
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[int(place)]: number % FOLDS for number, place in enumerate(order)}
    return np.array([fold_of[subject] for subject in subjects], np.int64)


def simplex(names: Sequence[str]) -> list[dict[str, float]]:
    """All weights in steps of STEP that add up to 1; those of one modality alone come first."""
    steps = round(1 / STEP)
    parts = [part for part in product(range(steps + 1), repeat=len(names)) if sum(part) == steps]
    parts.sort(key=lambda part: (sum(value > 0 for value in part), [-value for value in part]))
    return [{name: value * STEP for name, value in zip(names, part, strict=True)} for part in parts]


def _best(scores: np.ndarray[Any, Any]) -> int:
    return int(np.argmax(np.round(np.nanmean(scores, axis=1), 9)))  # of equal ones the simplest


def _gain(
    index: Index, rows: Int64, records: Sequence[Record], objective: str
) -> tuple[Float32, np.ndarray[Any, np.dtype[np.bool_]]]:
    if objective == "caption":
        vectors = index.text_embeddings(rows)
        known = ~np.isnan(vectors[:, 0])
        gain = np.nan_to_num(vectors) @ np.nan_to_num(vectors).T
    else:
        words = [value_of(record, objective) for record in records]
        known = np.array([word is not None for word in words])
        codes = np.unique([word or "" for word in words], return_inverse=True)[1]
        gain = (codes[:, None] == codes[None, :]).astype(np.float32)
    if known.sum() < LEAST:
        raise InputError(f"index {index.path} has {known.sum()} records with {objective!r}: {LEAST} are needed")
    return np.asarray(gain, np.float32), known


def _eligible(index: Index, rows: Int64, subjects: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    whose = np.unique(subjects, return_inverse=True)[1]
    picture = np.unique([index.content_hashes[int(row)] or f"row {row}" for row in rows], return_inverse=True)[1]
    return np.asarray((whose[:, None] != whose[None, :]) & (picture[:, None] != picture[None, :]), np.bool_)


def _similarities(
    index: Index, rows: Int64, records: Sequence[Record], eligible: np.ndarray[Any, Any], objective: str
) -> dict[str, Float32]:
    """What each record sees of the others, by modality; those that the corpus has."""
    images = index.image_embeddings(rows)
    found = {"image": np.asarray(images @ images.T, np.float32)}
    texts = index.text_embeddings(rows)
    if not np.isnan(texts).all():
        asked = images if index.manifest.shared_space else _feedback(found["image"], texts, eligible)
        found["caption"] = np.asarray(asked @ texts.T, np.float32)
    without = (objective, f"labels.{objective}", f"extra.{objective}")
    space = MetadataSpace(records, without)
    if space.columns:
        found["metadata"] = np.array([space.similarity(facts_of(record)) for record in records], np.float32)
    shapes = region_matrix([record.extra.get("regions") for record in records])
    if (~np.isnan(shapes[:, 0])).sum() >= LEAST:
        found["regions"] = np.array([regions.similarity(own, shapes) for own in shapes], np.float32)
    return found


def _feedback(similarity: Float32, texts: Float32, eligible: np.ndarray[Any, Any]) -> Float32:
    """The mean caption vector of each record's nearest pictures, weighted by similarity: as a fused search asks."""
    near = np.where(eligible, similarity, -np.inf)
    top = np.argsort(-near, axis=1, kind="stable")[:, :FEEDBACK]
    weights = np.maximum(np.take_along_axis(near, top, axis=1), 0)[..., None]
    vectors = texts[top]
    mean = np.nansum(weights * vectors, axis=1)
    return np.asarray(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9), np.float32)


def _scale(matrix: Float32, eligible: np.ndarray[Any, Any]) -> dict[str, float]:
    values = matrix[eligible]
    return {"mean": round(float(np.nanmean(values)), 6), "sd": round(float(np.nanstd(values)), 6)}
