"""Which slices belong together: of a volume as query, and of a volume as reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ragvlm.formats.volumes import volume_of
from ragvlm.types import Float32, Query

if TYPE_CHECKING:
    from ragvlm.index import Index


def nearest(index: Index, row: int, query: Query, vectors: Float32 | None) -> tuple[str | None, int | None]:
    """The pair of slices that are most alike: the name of the query's, the number of that of the record in ``row``.

    ``vectors`` (slices, dim) are the query's; None where it has no picture. None stands where the query or the
    reference is no volume; a reference that is a slice is that slice. The slices of a whole volume stand behind it,
    unless they were indexed at other times: those are not looked at.
    """
    record = index.records[row]
    last = min(row + int(record.extra.get("slices_taken", 0)), len(index.records) - 1)
    rows = [other for other in range(row + 1, last + 1) if volume_of(index.records[other]) == record.id] or [row]
    numbers = [index.records[other].extra.get("slice") for other in rows]
    if vectors is None or (len(vectors) < 2 and len(rows) < 2):
        return None, numbers[0] if len(rows) == 1 else None
    similarities = np.nan_to_num(vectors @ index.image_embeddings(rows).T, nan=-2.0)
    one, other = np.unravel_index(int(np.argmax(similarities)), similarities.shape)
    named = len(vectors) > 1 and similarities[one, other] > -2
    return list(query.slices)[int(one)] if named else None, numbers[int(other)]
