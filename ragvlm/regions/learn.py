"""The regions of an index, gathered from its pictures and boxes, and measured on themselves.

Every picture's candidates are asked as a query's would be, without those of their own picture and subject: what is
found so sets, for each label, the score from which a region counts, and says how well regions and counts are found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.errors import InputError, RagvlmError
from ragvlm.images import open_image
from ragvlm.regions.choosing import Chosen, choose
from ragvlm.regions.profile import profiles
from ragvlm.regions.propose import overlaps, planes_of, propose
from ragvlm.regions.records import boxes_of
from ragvlm.regions.space import LEAST_FIT, Space, vote
from ragvlm.regions.store import Regions
from ragvlm.types import Float32, Int64, Record

if TYPE_CHECKING:
    from ragvlm.index import Index

LEAST = 10  # pictures with boxes below which nothing is learned
MOST = 60_000  # stored candidates
ALIKE = 20  # pictures whose residuals correct a count
_SHARPNESS = 20.0  # of their weight by cosine
_MATCH = 0.5
_THRESHOLDS = np.arange(0.08, 0.72, 0.02)


@dataclass(frozen=True, slots=True)
class _Pictured:
    """One picture's candidates at the working size, and its boxes there."""

    record: Record
    row: int
    size: tuple[int, int]
    boxes: NDArray[np.float64]
    profiles: Float32
    right: NDArray[np.float64]
    labels: Int64


def regions_of(index: Index, progress: Callable[[int, int], None] | None = None) -> Regions:
    """The regions of ``index``: as saved beside it, else gathered now and saved.

    Raises InputError where fewer than LEAST pictures of its corpus have boxes, or can't be read any more.
    """
    found = Regions.load(index)
    if found is None:
        found = gather(index, progress)
        found.save(index)
    return found


def gather(index: Index, progress: Callable[[int, int], None] | None = None) -> Regions:
    """Candidates of all pictures with boxes, the space, and what is measured. Raises as ``regions_of``."""
    rows = [(row, record) for row, record in enumerate(index.records) if record.image and "boxes" in record.extra]
    names = sorted({label for _, record in rows for label, _ in boxes_of(record)})
    if len(rows) < LEAST or not names:
        raise InputError(
            f"index {index.path}: {len(rows)} pictures have boxes, {LEAST} are needed: index a corpus with a column "
            "'boxes', or give an encoder such as CLIP, or PaliGemma as generator"
        )
    pictures = []
    for done, (row, record) in enumerate(rows, 1):
        try:
            pictures.append(_pictured(index, record, row, names))
        except RagvlmError:
            continue  # a picture that is gone shows nothing; the others still do
        finally:
            if progress is not None:
                progress(done, len(rows))
    if len(pictures) < LEAST:
        raise InputError(f"index {index.path}: of {len(rows)} pictures with boxes {len(pictures)} can be read still")
    return _learned(index, pictures, tuple(names))


def _pictured(index: Index, record: Record, row: int, names: Sequence[str]) -> _Pictured:
    image = open_image(index.image_path(record) or "")
    planes = planes_of(image)
    candidates = propose(planes)
    found = boxes_of(record)
    height, width = planes.values.shape[:2]
    return _Pictured(
        record,
        row,
        (width, height),
        np.array([one.box for one in candidates], np.float64).reshape(-1, 4),
        profiles(planes, candidates),
        np.array([edges for _, edges in found], np.float64).reshape(-1, 4) / planes.scale,
        np.array([names.index(label) for label, _ in found], np.int64),
    )


def _learned(index: Index, pictures: Sequence[_Pictured], names: tuple[str, ...]) -> Regions:
    targets = [_targets(one) for one in pictures]
    labels, fits, moves = (np.concatenate([target[i] for target in targets]) for i in range(3))
    every = np.concatenate([one.profiles for one in pictures])
    rows = np.repeat(np.arange(len(pictures)), [len(one.boxes) for one in pictures])
    kept, weights = _sample(fits)
    space = Space.fit(every[kept], labels[kept], fits[kept], weights)
    known = {
        "points": space.project(every[kept]),
        "labels": labels[kept],
        "fits": np.asarray(fits[kept], np.float32),
        "moves": np.asarray(moves[kept], np.float32),
        "weights": weights,
        "rows": rows[kept],
    }
    subjects = [one.record.subject_id or f"record {one.record.id}" for one in pictures]
    chosen = []
    for number, one in enumerate(pictures):
        own = np.array([i for i, subject in enumerate(subjects) if subject == subjects[number]])
        votes = vote(space.project(one.profiles), known, len(names), np.isin(known["rows"], own))
        chosen.append([choose(one.boxes, votes.scores[:, i], votes.moves[:, i], one.size) for i in range(len(names))])
    vectors = index.image_embeddings(np.array([one.row for one in pictures], np.int64))
    measured, residuals = _measured(pictures, chosen, names, vectors, subjects)
    return Regions(names, tuple(one.record.id for one in pictures), known, space, measured, residuals)


def _targets(one: _Pictured) -> tuple[Int64, Float32, Float32]:
    """Of each candidate the likest box's label, the IoU with it, and the moves of the edges to it."""
    n = len(one.boxes)
    if not len(one.right) or not n:
        return np.zeros(n, np.int64), np.zeros(n, np.float32), np.zeros((n, 4), np.float32)
    shared = overlaps(one.boxes, one.right)
    likest = shared.argmax(axis=1)
    sides = one.boxes[:, 2:] - one.boxes[:, :2]
    moves = (one.right[likest] - one.boxes) / np.hstack([sides, sides])
    return one.labels[likest], shared.max(axis=1).astype(np.float32), moves.astype(np.float32)


def _sample(fits: Float32) -> tuple[Int64, Float32]:
    """Which candidates are kept, and the weight of each: all that show something, a quarter of the others; fewer where
    there are too many."""
    rng = np.random.default_rng(0)
    showing, rest = np.flatnonzero(fits >= LEAST_FIT), np.flatnonzero(fits < LEAST_FIT)
    few = rng.permutation(rest)[: max(1, min(len(rest) // 4, MOST // 2))] if len(rest) else rest
    some = rng.permutation(showing)[: MOST // 2]
    kept = np.sort(np.concatenate([some, few]))
    heavy = fits[kept] < LEAST_FIT
    weights = np.where(heavy, len(rest) / max(len(few), 1), len(showing) / max(len(some), 1))
    return kept, weights.astype(np.float32)


def _measured(
    pictures: Sequence[_Pictured],
    chosen: Sequence[Sequence[Chosen]],
    names: Sequence[str],
    vectors: Float32,
    subjects: Sequence[str],
) -> tuple[dict[str, dict[str, float]], NDArray[np.float32]]:
    """By label: ``threshold`` of the best F1 at IoU 0.5, that ``f1`` with ``precision`` and ``recall``; ``slope`` and
    ``offset`` from a picture's summed scores to its count; ``count_error``, the mean absolute error of the expected
    count, and ``neighbour_error``, that of the count of the picture most alike."""
    alike = np.where(np.equal.outer(subjects, subjects), -np.inf, vectors @ vectors.T)
    alike = np.nan_to_num(alike, nan=-np.inf, posinf=-np.inf)
    measured: dict[str, dict[str, float]] = {}
    residuals = np.zeros((len(pictures), len(names)), np.float32)
    for i, name in enumerate(names):
        truth = np.array([float((one.labels == i).sum()) for one in pictures])
        sums = np.array([of[i].scores.sum() for of in chosen])
        slope, offset = np.linalg.lstsq(np.column_stack([sums, np.ones_like(sums)]), truth, rcond=None)[0]
        residuals[:, i] = truth - (slope * sums + offset)
        expected = slope * sums + offset + [correction(row, residuals[:, i]) for row in alike]
        found = _best([of[i] for of in chosen], [one.right[one.labels == i] for one in pictures])
        measured[name] = found | {
            "slope": float(slope),
            "offset": float(offset),
            "boxes": float(truth.sum()),
            "count_error": float(np.abs(np.round(np.maximum(expected, 0)) - truth).mean()),
            "neighbour_error": float(np.abs(truth[alike.argmax(axis=1)] - truth).mean()),
        }
    return measured, residuals


def correction(alike: NDArray[Any], residuals: NDArray[Any]) -> float:
    """What the count of the ALIKE pictures most alike, by cosine, has beyond the expected one, weighted by likeness."""
    near = np.argsort(-alike, kind="stable")[:ALIKE]
    near = near[np.isfinite(alike[near])]
    if not len(near):
        return 0.0
    weight = np.exp(_SHARPNESS * (alike[near] - alike[near[0]]))
    return float(weight @ residuals[near] / weight.sum())


def _best(chosen: Sequence[Chosen], right: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """The threshold of the best F1."""
    scores = np.concatenate([one.scores for one in chosen])
    hits = np.concatenate([_hits(one.boxes, boxes) for one, boxes in zip(chosen, right, strict=True)])
    wanted = sum(len(boxes) for boxes in right)
    best: Mapping[str, float] = {"threshold": 1.0, "f1": 0.0, "precision": 0.0, "recall": 0.0}
    for threshold in _THRESHOLDS:
        found = int((scores >= threshold).sum())
        matched = int(hits[scores >= threshold].sum())
        f1 = 2 * matched / max(found + wanted, 1)
        if f1 > best["f1"]:
            best = {"threshold": float(threshold), "f1": f1, "precision": matched / found, "recall": matched / wanted}
    return {name: round(value, 4) for name, value in best.items()}


def _hits(boxes: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of ``boxes``, surest first, match a box of their own: COCO's greedy matching."""
    out = np.zeros(len(boxes), bool)
    free = overlaps(boxes, right)
    for i in range(len(boxes) if len(right) else 0):
        best = int(free[i].argmax())
        if free[i, best] >= _MATCH:
            out[i] = True
            free[:, best] = -1
    return out
