"""Fused search over all that a query has: what each modality ranks first, scored by all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ragvlm.errors import InputError
from ragvlm.fusion import Ranking
from ragvlm.modalities import regions
from ragvlm.modalities.spaces import metadata_of, regions_of
from ragvlm.modalities.weighing import Weights, ranked
from ragvlm.types import Float32, Query

if TYPE_CHECKING:
    from ragvlm.index import Index


def weights_of(index: Index, given: Mapping[str, float]) -> Weights:
    """The weights that ``index`` learned, or those ``given``. Raises InputError where it learned none."""
    known = index.manifest.calibration.get("fusion")
    if not known:
        raise InputError(
            f"index {index.path} has no learned weights, or was changed since: learn them with: "
            f"ragvlm fuse {index.path}"
        )
    return Weights.of(known, given)


def weigh(
    index: Index,
    query: Query,
    vectors: Mapping[str, Float32 | None],
    rankings: tuple[Ranking, ...],
    weights: Weights,
    eligible: Callable[[int], bool],
    depth: int,
) -> Ranking:
    """The rows that any modality ranks among its first ``depth``, by the weighted scores of all, best first.

    ``vectors``: what asks pictures ("image") and captions ("caption"), None where the query has nothing for them;
    ``rankings`` are theirs. Raises InputError for metadata that no record has, and where nothing of the query weighs.
    """
    beside = _beside(index, query)
    chosen = {row for ranking in rankings for row, _ in ranking}
    for similarity in beside.values():
        chosen.update(_first(similarity, eligible, depth))
    rows = np.array(sorted(chosen), np.int64)
    found = {name: similarity[rows] for name, similarity in beside.items()}
    stored = {"image": index.image_embeddings, "caption": index.text_embeddings}
    for name, vector in vectors.items():
        if vector is not None and vector.size:
            found[name] = np.asarray(stored[name](rows) @ vector, np.float32)
    return ranked(rows, weights.scores(found)) if len(rows) else []


def _beside(index: Index, query: Query) -> dict[str, Float32]:
    """Similarity of all rows by metadata and regions, where the query has them."""
    found = {}
    if query.metadata:
        space = metadata_of(index)
        found["metadata"] = space.similarity(space.resolve(query.metadata))
    if query.regions:
        found["regions"] = regions.similarity(np.array(query.regions, np.float32), regions_of(index))
    return found


def _first(similarity: Float32, eligible: Callable[[int], bool], depth: int) -> list[int]:
    """The ``depth`` most similar eligible rows; a tie goes to the lower row."""
    found: list[int] = []
    for row in np.argsort(-np.nan_to_num(similarity, nan=-1.0), kind="stable"):
        if len(found) == depth or not similarity[row] > 0:
            break
        if eligible(int(row)):
            found.append(int(row))
    return found
