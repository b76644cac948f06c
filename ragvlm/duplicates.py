"""Near-duplicate guard: which references show the query's own picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ragvlm.errors import ImageError
from ragvlm.types import Float32, Query

if TYPE_CHECKING:
    from ragvlm.index import Index

# measured on pairs of different pictures and on altered copies: benchmarks/duplicates.py
NEAR_COSINE = 0.85
NEAR_BITS = 6  # of the 64 of a perceptual hash
# a JPEG in full and at a fraction: 0.994 at least on blank noise, where perceptual hashes fail, else above 0.999
SAME_COSINE = 0.99
CHECKED = 8  # that many of the nearest rows: among more look-alikes an exact duplicate may be called near


def duplicates_of(index: Index, query: Query, vector: Float32 | None) -> dict[int, str]:
    """Rows that show the query's own picture: "exact" by equal pixels, "near" by perceptual hash and embedding both.

    The hash is compared with all rows: a coarse copy can lie behind many look-alikes in the order of embeddings.
    Of rows whose pixels were hashed at a fraction of their size (large JPEGs) those nearest to the query are decoded
    in full and compared.
    """
    if query.image is None or vector is None:
        return {}
    from ragvlm.images import perceptual_hash, pixel_hash

    own = np.uint64(perceptual_hash(query.image))
    bits = np.bitwise_count(index.rows.phash ^ own)
    rows = np.flatnonzero(bits <= NEAR_BITS)
    # a row without a picture has a vector of NaN, which is near to nothing
    near = rows[index.image_embeddings(rows) @ vector >= NEAR_COSINE]
    digest = pixel_hash(query.image)
    alike = np.flatnonzero(index.rows.content == np.uint64(int(digest[:16], 16))).tolist()
    exact = {row: "exact" for row in alike if index.content_hashes[row] == digest}
    exact |= {row: "exact" for row in _fractions(index, vector) if full_hash(index, row) == digest}
    return {int(row): "near" for row in near} | exact


def _fractions(index: Index, vector: Float32) -> list[int]:
    """The few rows that may show the query's pixels and were hashed at a fraction of their size."""
    if index.image_store is None:
        return []
    scores, positions = index.image_store.search(vector[None], CHECKED)
    rows = np.asarray(index.image_rows)[positions[0][scores[0] >= SAME_COSINE]]
    return [int(row) for row in rows if "/" in (index.content_hashes[row] or "")]


def full_hash(index: Index, row: int) -> str | None:
    """``pixel_hash`` of a row's picture in full, from its file where the index holds that of a fraction.

    None without a picture, and where the file can't be read any more.
    """
    from ragvlm.images import open_image, pixel_hash

    known = index.content_hashes[row]
    if known is None or "/" not in known:
        return known
    try:
        return pixel_hash(open_image(index.image_path(index.records[row]) or ""))
    except ImageError:
        return None
