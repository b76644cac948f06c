"""Near-duplicate guard: which references show the query's own picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragvlm.types import Float32, Query

if TYPE_CHECKING:
    from ragvlm.index import Index

NEAR_COSINE = 0.97
NEAR_BITS = 8  # of the 64 of a perceptual hash


def duplicates_of(index: Index, query: Query, vector: Float32 | None) -> dict[int, str]:
    """Rows that show the query's own picture: equal pixels, or near in embedding and perceptual hash both."""
    if query.image is None or vector is None or index.image_store is None or not len(index.image_store):
        return {}
    from ragvlm.images import hamming, perceptual_hash, pixel_hash

    digest = pixel_hash(query.image)
    found = {row: "exact" for row, other in enumerate(index.content_hashes) if other == digest}
    scores, positions = index.image_store.search(vector[None, :], min(64, len(index.image_store)))
    close = [int(index.image_rows[p]) for s, p in zip(scores[0], positions[0], strict=True) if s >= NEAR_COSINE]
    if any(row not in found for row in close):
        own = perceptual_hash(query.image)
        for row in close:
            if row not in found and hamming(own, index.phashes[row]) <= NEAR_BITS:
                found[row] = "near"
    return found
