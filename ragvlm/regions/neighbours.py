"""What an index's regions say of a picture: regions by label, and how many of each its annotators would count."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ragvlm.regions.choosing import Chosen, choose, mask_of
from ragvlm.regions.found import Edges, FoundRegion
from ragvlm.regions.learn import correction
from ragvlm.regions.profile import profiles
from ragvlm.regions.propose import Candidate, Planes, planes_of, propose
from ragvlm.regions.space import Votes, vote
from ragvlm.regions.store import Regions
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragvlm.index import Index

CITED = 5  # records whose regions are named as evidence


@dataclass(frozen=True)
class Seen:
    """A picture seen by the regions of an index; ``hidden`` are ids of records that have no vote."""

    regions: Regions
    planes: Planes
    candidates: tuple[Candidate, ...]
    votes: Votes
    size: tuple[int, int]
    hidden: frozenset[str]

    def chosen(self, label: str) -> Chosen:
        """All regions of ``label`` with any chance, at the working size."""
        number = self.regions.labels.index(label)
        height, width = self.planes.values.shape[:2]
        return choose(self._boxes, self.votes.scores[:, number], self.votes.moves[:, number], (width, height))

    def found(self, label: str, threshold: float | None = None, *, masks: bool = True) -> tuple[FoundRegion, ...]:
        """The regions of ``label`` of at least ``threshold`` [as measured], surest first, at the picture's size."""
        least = self.regions.measured[label]["threshold"] if threshold is None else threshold
        chosen = self.chosen(label)
        out = []
        for box, score, members in zip(chosen.boxes, chosen.scores, chosen.members, strict=True):
            if score >= least:
                edges = self._edges(box * self.planes.scale)
                own = [self.candidates[int(i)] for i in members]
                mask = mask_of(edges, own, self.planes.scale) if masks else None
                out.append(FoundRegion(edges, label, min(float(score), 1.0), mask, self._cited(label, members)))
        return tuple(out)

    def expected(self, label: str, vector: Float32, vectors: Float32) -> float:
        """How many the annotators of the corpus would count: from the summed scores, corrected by what they counted in
        the pictures most alike. ``vector`` (dim,) is the picture's embedding, ``vectors`` (records, dim) are those of
        ``regions.record_ids``."""
        measured, number = self.regions.measured[label], self.regions.labels.index(label)
        alike = np.nan_to_num(np.asarray(vectors @ vector, np.float64), nan=-np.inf)
        alike[[record in self.hidden for record in self.regions.record_ids]] = -np.inf
        told = measured["slope"] * float(self.chosen(label).scores.sum()) + measured["offset"]
        return max(0.0, told + correction(alike, self.regions.residuals[:, number]))

    @cached_property
    def _boxes(self) -> np.ndarray:
        return np.array([one.box for one in self.candidates], np.float64).reshape(-1, 4)

    def _edges(self, box: np.ndarray) -> Edges:
        left, top, right, bottom = (float(edge) for edge in box)
        width, height = self.size
        return max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom)

    def _cited(self, label: str, members: np.ndarray) -> tuple[str, ...]:
        nearest = self.votes.nearest[members, self.regions.labels.index(label)]
        rows = self.regions.known["rows"][nearest[nearest >= 0]]
        return tuple(dict.fromkeys(self.regions.record_ids[int(row)] for row in rows))[:CITED]


def see(regions: Regions, image: Image, hidden: Collection[str] = ()) -> Seen:
    """Look at ``image`` (RGB) by the regions of an index, without those of the records ``hidden``."""
    planes = planes_of(image)
    candidates = propose(planes)
    names = frozenset(hidden)
    rows = np.flatnonzero([record in names for record in regions.record_ids])
    asked = regions.space.project(profiles(planes, candidates))
    votes = vote(asked, regions.known, len(regions.labels), np.isin(regions.known["rows"], rows))
    return Seen(regions, planes, tuple(candidates), votes, image.size, names)


def hidden_records(index: Index, subject_id: str | None, exclude_ids: Collection[str]) -> frozenset[str]:
    """Ids of the records of a query's own subject, and of those that are left out."""
    own = index.pseudonym(subject_id) if subject_id is not None else None
    same = (record.id for record in index.records if own is not None and record.subject_id == own)
    return frozenset(exclude_ids) | frozenset(same)


def vectors_of(index: Index, regions: Regions) -> Float32:
    """The picture embeddings of ``regions.record_ids``: float32 (records, dim)."""
    rows = {record.id: row for row, record in enumerate(index.records)}
    return index.image_embeddings(np.array([rows[name] for name in regions.record_ids], np.int64))
