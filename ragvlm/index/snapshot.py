"""What a reader holds of an index: the records and the stores of one generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from ragvlm.index.derived import open_store
from ragvlm.index.manifest import Manifest
from ragvlm.index.segments import METADATA, TEXTS, read_live, rows_with, to_record
from ragvlm.types import Float32, Int64, Record

if TYPE_CHECKING:
    import pyarrow as pa

    from ragvlm.types import VectorStore


class Records(Sequence[Record]):
    """Records made from a table's rows on first use: a query looks at few of many."""

    def __init__(self, table: pa.Table) -> None:
        self._columns = {name: table[name] for name in TEXTS}
        self._made: list[Record | None] = [None] * table.num_rows

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, row: int) -> Record: ...
    @overload
    def __getitem__(self, row: slice) -> list[Record]: ...
    def __getitem__(self, row: int | slice) -> Record | list[Record]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        record = self._made[row]
        if record is None:
            record = to_record({name: column[row].as_py() for name, column in self._columns.items()})
            self._made[row] = record
        return record


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Records and stores of one generation; see the properties of Index."""

    table: pa.Table
    records: Records
    image_store: VectorStore | None
    text_store: VectorStore | None
    image_rows: Int64
    text_rows: Int64


def read_snapshot(path: Path, manifest: Manifest, store: str) -> Snapshot:
    """What ``manifest`` lists in the folder ``path``, with the stores called ``store``. Raises StoreError."""
    table = read_live(path, manifest, METADATA)
    images, texts = rows_with(table, "image"), rows_with(table, "caption")
    image_store = open_store(path, manifest, "image", len(images), store)
    text_store = open_store(path, manifest, "text", len(texts), store)
    return Snapshot(table, Records(table), image_store, text_store, images, texts)


def embeddings_of(store: VectorStore | None, known: Int64, rows: Sequence[int] | Int64, dim: int) -> Float32:
    """The vectors of ``rows``, given the rows of all positions: float32 (m, dim), NaN where there is none."""
    wanted = np.asarray(rows, np.int64).reshape(-1)
    out = np.full((len(wanted), dim), np.nan, np.float32)
    if store is not None:
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        there = known[at] == wanted
        out[there] = store.get(at[there])
    return out
