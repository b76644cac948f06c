"""The segments of one state of an index, opened: their columns on demand, their embeddings memory-mapped."""

from __future__ import annotations

import mmap
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ragvlm.errors import StoreError
from ragvlm.index.manifest import Manifest
from ragvlm.index.segments import EMBEDDINGS, METADATA, keep, numbers, read_segment, unreadable
from ragvlm.stores.exact import check_positions
from ragvlm.types import Float32, Int64

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

KEPT = 256  # row groups whose records stay in memory
SPARE = 256  # files that a process has open beside the segments
Half: TypeAlias = np.ndarray[Any, np.dtype[np.float16]]
_FLOATS = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)  # what each float16 is


class MappedSegments:
    """All segments of ``manifest``, open: what is read from them stays whole although a writer removes them.

    ``groups`` are their row groups, as (segment, number in it, run); see ``manifest.Segment``.
    """

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.root, self.segments = root, manifest.segments
        self.groups = [
            (segment, number, run)
            for segment, item in enumerate(manifest.segments)
            for number, run in enumerate(item.runs)
        ]
        self._starts = np.cumsum([0, *(run[0] for _, _, run in self.groups)])
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()
        self._files: dict[int, pq.ParquetFile] = {}
        _allow_files(len(self.segments) + SPARE)
        self._maps = [_map(root, segment.file) for segment in self.segments]

    def read(self, number: int, columns: Sequence[str]) -> pa.Table:
        """The named columns of segment ``number``, counted from 0. Raises StoreError where it is damaged."""
        import pyarrow as pa

        return read_segment(self.root, self.segments[number], columns, source=pa.py_buffer(self._maps[number]))

    def rows(self, stored: Int64, columns: Sequence[str]) -> pa.Table:
        """The named columns of the rows ``stored`` (m,), ascending, counted over all segments."""
        import pyarrow as pa

        tables = [pa.schema([(name, pa.string()) for name in columns]).empty_table()]
        start = 0
        for number, segment in enumerate(self.segments):
            low, high = np.searchsorted(stored, (start, start + segment.rows))
            mask = np.zeros(segment.rows, bool)
            mask[stored[low:high] - start] = True
            tables.append(keep(self.read(number, columns), mask))
            start += segment.rows
        return pa.concat_tables(tables).combine_chunks()

    def row(self, stored: int, columns: Sequence[str]) -> dict[str, Any]:
        """The named columns, of METADATA, of the row ``stored``, counted over all segments."""
        group = int(np.searchsorted(self._starts, stored, side="right")) - 1
        table = self._tables.pop(group, None)
        table = self._group(group, METADATA) if table is None else table
        self._tables[group] = table  # the one used last is the last to go
        if len(self._tables) > KEPT:
            self._tables.popitem(last=False)
        row = stored - int(self._starts[group])
        return {name: table[name][row].as_py() for name in columns}

    def half(self, group: int, kind: str, dim: int) -> Half:
        """The embeddings of ``kind`` of a row group: float16 (m, dim), mapped where they lie as one run."""
        number, _, run = self.groups[group]
        count, at = run[1:3] if kind == "image" else run[3:5]
        name = EMBEDDINGS[kind]
        try:
            if at:
                return np.frombuffer(self._maps[number], np.float16, count * dim, at).reshape(count, dim)
            column = self._group(group, [name])[name].combine_chunks().drop_null()
            return numbers(column.flatten(), np.float16).reshape(count, dim)
        except ValueError as error:
            file = self.segments[number].file
            raise StoreError(
                f"index {self.root}: {file} holds {name} of another length than {dim}; index again"
            ) from error

    def _group(self, group: int, columns: Sequence[str]) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        segment, number, _ = self.groups[group]
        try:
            if segment not in self._files:
                source = pa.BufferReader(pa.py_buffer(self._maps[segment]))
                self._files[segment] = pq.ParquetFile(source, page_checksum_verification=True)
            return self._files[segment].read_row_group(number, columns=list(columns))
        except (OSError, pa.ArrowException) as error:
            raise unreadable(self.root, self.segments[segment], error) from error


class SegmentVectors:
    """The embeddings of ``kind`` ("image" or "text") by position, from the segments: no copy of them is kept.

    ``places`` (n,) counts each position's embedding among all of the segments, None where it is the position itself.
    """

    def __init__(self, segments: MappedSegments, kind: str, dim: int, places: Int64 | None) -> None:
        self.dim = dim
        self._segments, self._kind, self._places = segments, kind, places
        self._halves: dict[int, Half] = {}
        counts = (run[1] if kind == "image" else run[3] for _, _, run in segments.groups)
        self._starts = np.cumsum([0, *counts])

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._places is None else len(self._places)

    def take(self, positions: Int64) -> Float32:
        """The vectors at ``positions`` (m,): float32 (m, dim), unit rows. Raises InputError outside of [0, n)."""
        places = check_positions(positions, len(self))
        if self._places is not None:
            places = self._places[places]
        numbers = np.searchsorted(self._starts, places, side="right") - 1
        rows = np.empty((len(places), self.dim), np.float16)
        places = places - self._starts[numbers]
        for i, (number, row) in enumerate(zip(numbers.tolist(), places.tolist(), strict=True)):
            rows[i] = self._half(number)[row]
        return unit(rows)

    def blocks(self) -> Iterator[Float32]:
        """All vectors in order, a row group each: float32 (m, dim), unit rows."""
        for number, (start, end) in enumerate(zip(self._starts, self._starts[1:], strict=False)):
            rows = self._half(number)
            if self._places is not None:
                # positions follow the order of the segments
                low, high = np.searchsorted(self._places, (start, end))
                rows = rows[self._places[low:high] - start]
            yield unit(rows)

    def _half(self, number: int) -> Half:
        found = self._halves.get(number)
        if found is None:
            found = self._halves[number] = self._segments.half(number, self._kind, self.dim)
        return found


def unit(rows: Half) -> Float32:
    """``rows`` as float32 of unit length: half precision moved the length by up to 1e-3."""
    vectors = _FLOATS.take(rows.view(np.uint16))  # half the time of a cast
    scaled: Float32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def _map(root: Path, name: str) -> mmap.mmap:
    try:
        with (root / name).open("rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # an empty file can't be mapped
        raise StoreError(f"index {root}: {name} can't be opened ({error}); copy the index again") from error


def _allow_files(wanted: int) -> None:
    """Raise the process' own bound on open files to ``wanted``, as far as the system allows it."""
    try:
        import resource
    except ImportError:  # Windows has no such bound
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, bound), hard))
