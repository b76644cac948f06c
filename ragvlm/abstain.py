"""Abstention: is a query as close to the corpus as the corpus is to itself?

A conformal test (Vovk, Gammerman and Shafer 2005, doi 10.1007/b106715). The non-conformity score of a picture is
its mean cosine distance to its NEIGHBOURS nearest references. The corpus gives the scores that are normal, each
record against the others that have a caption, labels or answered questions, since nothing rests on others (and without
its own subject and its exact duplicates). A query's p-value is the share of scores, its own included, that are at
least as large as its own; below ``alpha`` it is refused. If a query is exchangeable with the corpus' records, it is
refused with a probability of at most ``alpha``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.formats.volumes import volume_of

if TYPE_CHECKING:
    from ragvlm.index import Index
    from ragvlm.types import Float32, Int64, VectorStore

NEIGHBOURS = 5
SAMPLE = 2000  # more scores would not move a p-value by more than 0.0005


@dataclass(frozen=True, slots=True)
class Verdict:
    """``score``: the query's non-conformity (a cosine distance in [0, 2]); ``p_value`` in (0, 1]; ``n``: how many
    scores of the corpus it was compared with."""

    score: float
    p_value: float
    n: int
    alpha: float

    @property
    def abstain(self) -> bool:
        """Whether the query is stranger to the corpus than ``alpha`` allows."""
        return self.p_value < self.alpha

    @property
    def reason(self) -> str:
        """Why, in plain words."""
        return (
            f"nothing in the corpus is close enough: its distance to its nearest references ({self.score:.3f}) "
            f"is larger than usual within the corpus (p = {self.p_value:.3f}, alpha = {self.alpha:g})"
        )

    def to_dict(self) -> dict[str, float | int]:
        """As it stands in a description's provenance."""
        return {
            "score": round(self.score, 6),
            "p_value": round(self.p_value, 6),
            "n": self.n,
            "alpha": self.alpha,
        }


def nonconformity(similarities: Sequence[float]) -> float:
    """Mean cosine distance of the nearest NEIGHBOURS; infinite without any neighbour."""
    nearest = list(similarities)[:NEIGHBOURS]
    return 1 - float(np.mean(nearest)) if nearest else float("inf")


def judge(similarities: Sequence[float], calibration: Sequence[float], alpha: float) -> Verdict:
    """The verdict on a query with these nearest similarities, given the corpus' own scores in any order."""
    score = round(nonconformity(similarities), 6)  # as the corpus' own are kept: ties must count
    at_least = int(np.sum(np.asarray(calibration, dtype=np.float64) >= score))
    return Verdict(score, (1 + at_least) / (len(calibration) + 1), len(calibration), alpha)


def calibrate(index: Index, *, seed: int = 0) -> dict[str, Any]:
    """What the manifest keeps: the corpus' scores, and mean and deviation of its nearest similarities by modality."""
    out: dict[str, Any] = {"neighbours": NEIGHBOURS, "nonconformity": []}
    for name, store, rows, embeddings in (
        ("image", index.image_store, index.image_rows, index.image_embeddings),
        ("text", index.text_store, index.text_rows, index.text_embeddings),
    ):
        if store is None or len(store) < 2:
            continue
        sample = np.sort(np.random.default_rng(seed).permutation(len(rows))[:SAMPLE])
        nearest = [
            own
            for start in range(0, len(sample), 256)
            for own in _leave_one_out(index, store, rows, sample[start : start + 256], embeddings)
        ]
        firsts = [own[0] for own in nearest if own]
        if firsts:
            scale = {"mean": float(np.mean(firsts)), "sd": float(np.std(firsts))}
            out[f"{name}_similarity"] = {key: round(value, 6) for key, value in scale.items()}
        if name == "image":
            out["nonconformity"] = sorted(round(nonconformity(own), 6) for own in nearest if own)
    return out


def _leave_one_out(index: Index, store: VectorStore, rows: Int64, sample: Int64, embeddings: Any) -> list[list[float]]:
    """Similarities of each sampled record to its nearest others, best first, at most NEIGHBOURS."""
    vectors: Float32 = embeddings([int(rows[p]) for p in sample])
    found = []
    for reach in (min(8 * NEIGHBOURS, len(store)), len(store)):
        scores, positions = store.search(vectors, reach)
        found = [
            _firsts(
                (volume_of(index.records[int(rows[position])]), float(score))
                for score, position in zip(scores[i], positions[i], strict=True)
                if _stranger(index, int(rows[own]), int(rows[position]))
            )
            for i, own in enumerate(sample)
        ]
        if all(len(similarities) == NEIGHBOURS for similarities in found):
            break
    return found


def _firsts(found: Iterable[tuple[str, float]]) -> list[float]:
    """At most NEIGHBOURS scores, best first; of a volume's slices the nearest counts, as in a search."""
    best: dict[str, float] = {}
    for volume, score in found:
        best.setdefault(volume, score)
    return list(best.values())[:NEIGHBOURS]


def _stranger(index: Index, row: int, other: int) -> bool:
    """Whether ``other`` may be evidence for ``row``: it speaks, and is another record, subject and picture."""
    subject, digest = index.records[row].subject_id, index.content_hashes[row]
    reference = index.records[other]
    return (
        row != other
        and bool(reference.caption or reference.labels or reference.extra.get("questions"))
        and (subject is None or subject != reference.subject_id)
        and (digest is None or digest != index.content_hashes[other])
    )
