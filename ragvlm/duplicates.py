"""Near-duplicate guard: which references show the query's own picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ragvlm.types import Float32, Query

if TYPE_CHECKING:
    from ragvlm.index import Index

# measured on pairs of different pictures and on altered copies: benchmarks/duplicates.py
NEAR_COSINE = 0.85
NEAR_BITS = 6  # of the 64 of a perceptual hash


def duplicates_of(index: Index, query: Query, vector: Float32 | None) -> dict[int, str]:
    """Rows that show the query's own picture: "exact" by equal pixels, "near" by perceptual hash and embedding both.

    The hash is compared with all rows: a coarse copy can lie behind many look-alikes in the order of embeddings.
    """
    if query.image is None or vector is None:
        return {}
    from ragvlm.images import perceptual_hash, pixel_hash

    own = np.uint64(perceptual_hash(query.image))
    bits = np.bitwise_count(np.array(index.phashes, np.uint64) ^ own)
    rows = np.flatnonzero(bits <= NEAR_BITS)
    # a row without a picture has a vector of NaN, which is near to nothing
    near = rows[index.image_embeddings(rows) @ vector >= NEAR_COSINE]
    digest = pixel_hash(query.image)
    exact = {row: "exact" for row, other in enumerate(index.content_hashes) if other == digest}
    return {int(row): "near" for row in near} | exact
