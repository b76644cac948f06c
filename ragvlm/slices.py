"""Which slices of two volumes belong together: of the query's, and of the reference's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ragvlm.formats.volumes import volume_of
from ragvlm.types import Float32, Query

if TYPE_CHECKING:
    from ragvlm.index import Index


def of_query(query: Query, vectors: Float32 | None, reference: Float32) -> str | None:
    """The name of the query's slice that is nearest to ``reference`` (dim,); ``vectors`` (slices, dim) are theirs.

    None where the query is no volume or the reference has no picture (a row of NaN).
    """
    if vectors is None or len(vectors) < 2 or np.isnan(reference).any():
        return None
    return list(query.slices)[int(np.argmax(vectors @ reference))]


def of_reference(index: Index, row: int, vector: Float32 | None) -> int | None:
    """The slice that the record in ``row`` is, or of a whole volume the one nearest to the query's ``vector`` (dim,).

    The slices of a volume stand behind it, unless they were indexed at other times: those are not looked at.
    """
    record = index.records[row]
    if "slice" in record.extra:
        return int(record.extra["slice"])
    last = min(row + int(record.extra.get("slices_taken", 0)), len(index.records) - 1)
    rows = [other for other in range(row + 1, last + 1) if volume_of(index.records[other]) == record.id]
    if vector is None or not rows:
        return None
    similarities = np.nan_to_num(index.image_embeddings(rows) @ vector, nan=-2.0)
    found = index.records[rows[int(np.argmax(similarities))]].extra.get("slice")
    return int(found) if found is not None else None
