"""What a reader holds of an index: the records and the stores of one generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast, overload

import numpy as np

from ragvlm.index.derived import open_store, open_table, source_of
from ragvlm.index.manifest import Manifest
from ragvlm.index.mapped import MappedSegments, SegmentVectors
from ragvlm.index.rowtable import RowTable
from ragvlm.index.segments import METADATA, TEXTS, to_record
from ragvlm.types import Float32, Int64, Record

if TYPE_CHECKING:
    import pyarrow as pa

    from ragvlm.types import VectorStore


class Records(Sequence[Record]):
    """Records read from their segments when they are asked for: a query looks at few of many."""

    def __init__(self, segments: MappedSegments, table: RowTable) -> None:
        self._segments, self._stored = segments, table.stored

    def __len__(self) -> int:
        return len(self._stored)

    @overload
    def __getitem__(self, row: int) -> Record: ...
    @overload
    def __getitem__(self, row: slice) -> list[Record]: ...
    def __getitem__(self, row: int | slice) -> Record | list[Record]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        return to_record(self._segments.row(int(self._stored[range(len(self))[row]]), TEXTS))


class ContentHashes(Sequence[str | None]):
    """The hashes of the rows' pixels, read like ``Records``."""

    def __init__(self, segments: MappedSegments, table: RowTable) -> None:
        self._segments, self._stored = segments, table.stored

    def __len__(self) -> int:
        return len(self._stored)

    @overload
    def __getitem__(self, row: int) -> str | None: ...
    @overload
    def __getitem__(self, row: slice) -> list[str | None]: ...
    def __getitem__(self, row: int | slice) -> str | list[str | None] | None:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        found = self._segments.row(int(self._stored[range(len(self))[row]]), ["content_hash"])
        return cast("str | None", found["content_hash"])


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of one kind: int64 ``rows`` (m,) of all positions, ascending; see the properties of Index."""

    source: SegmentVectors
    store: VectorStore | None
    rows: Int64

    def of_rows(self, rows: Sequence[int] | Int64) -> Float32:
        """The vectors of ``rows``: float32 (m, dim), NaN where there is none."""
        wanted = np.asarray(rows, np.int64).reshape(-1)
        out = np.full((len(wanted), self.source.dim), np.nan, np.float32)
        if len(self.rows):
            at = np.minimum(np.searchsorted(self.rows, wanted), len(self.rows) - 1)
            there = self.rows[at] == wanted
            out[there] = self.source.take(at[there])
        return out


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Records and stores of one generation; see the properties of Index."""

    segments: MappedSegments
    table: RowTable
    records: Records
    hashes: ContentHashes
    image: Vectors
    text: Vectors

    def live(self) -> pa.Table:
        """The columns METADATA of all live rows, in row order; reads all segments."""
        return self.segments.rows(self.table.stored, METADATA)


def read_snapshot(path: Path, manifest: Manifest, store: str) -> Snapshot:
    """What ``manifest`` lists in the folder ``path``, with the stores called ``store``. Raises StoreError."""
    segments = MappedSegments(path, manifest)
    table = open_table(path, manifest, segments)

    def vectors(kind: str) -> Vectors:
        source, rows = source_of(manifest, segments, table, kind), table.rows_of(kind)
        return Vectors(source, open_store(path, manifest, source, kind, len(rows), store), rows)

    records, hashes = Records(segments, table), ContentHashes(segments, table)
    return Snapshot(segments, table, records, hashes, vectors("image"), vectors("text"))
