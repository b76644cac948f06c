"""Segments: parquet files that hold records beside their embeddings, readable by pandas, DuckDB and datasets."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ragvlm.errors import StoreError
from ragvlm.index.manifest import Manifest, Segment
from ragvlm.paths import atomic_path, sha256_file
from ragvlm.types import Float32, Record

if TYPE_CHECKING:
    import pyarrow as pa

TEXTS = ("id", "image", "caption", "subject_id", "study_id", "modality", "labels", "source", "licence", "extra")
HASHES = ("content_hash", "file_hash", "row_hash", "phash")
METADATA = (*TEXTS, *HASHES)
Mask: TypeAlias = NDArray[np.bool_]
GROUP_ROWS = 512  # a row group
EMBEDDINGS = {"image": "image_embedding", "text": "text_embedding"}


@dataclass(frozen=True, slots=True)
class Row:
    """A record as it is stored: its image is relative to the corpus root, its subject may be a pseudonym.

    ``row_hash`` covers all fields and the picture's bytes: a record with an equal one needs no new embedding.
    Embeddings are float32 (dim,), unit length; None without a picture (or a caption).
    """

    record: Record
    row_hash: str
    file_hash: str | None = None
    content_hash: str | None = None
    phash: int | None = None
    image_embedding: Float32 | None = None
    text_embedding: Float32 | None = None


def hash_row(record: Record, file_hash: str | None) -> str:
    """Hex SHA-256 over all fields of a record and the bytes of its picture."""
    fields = {name: getattr(record, name) for name in TEXTS}
    return hashlib.sha256(to_json(fields | {"file": file_hash}).encode()).hexdigest()


def to_json(value: Any) -> str:
    """``value`` as JSON with sorted keys; what JSON doesn't know becomes a string, NaN and infinity null."""
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def write_segment(root: Path, number: int, rows: Sequence[Row], dims: Mapping[str, int]) -> Segment:
    """Write ``segments/NUMBER.parquet`` and return its entry; ``dims`` are those of "image" and "text"."""
    import pyarrow as pa

    columns: dict[str, Any] = {name: [_text(row.record, name) for row in rows] for name in TEXTS}
    columns |= {name: [getattr(row, name) for row in rows] for name in HASHES}
    # 16 hex digits: readers that know no nullable uint64 would round it to a float
    columns["phash"] = [None if row.phash is None else f"{row.phash:016x}" for row in rows]
    arrays = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    for kind, name in EMBEDDINGS.items():
        arrays[name] = _vectors([getattr(row, name) for row in rows], dims[kind])
    return write_table(root, number, pa.table(arrays))


def write_table(root: Path, number: int, table: pa.Table) -> Segment:
    """Write a table with a segment's columns as ``segments/NUMBER.parquet``.

    Words are compressed, in small groups: a hit reads one of them. Embeddings are not, and have one page a group, so
    that they can be memory-mapped where they lie.
    """
    import pyarrow.parquet as pq

    name = f"segments/{number:06d}.parquet"
    with atomic_path(root / name) as temporary:
        pq.write_table(
            table,
            temporary,
            compression={column: "none" if column in EMBEDDINGS.values() else "zstd" for column in table.column_names},
            use_dictionary=[column for column in table.column_names if column not in EMBEDDINGS.values()],
            row_group_size=GROUP_ROWS,
            data_page_size=1 << 30,
            write_page_checksum=True,
        )
        size, digest = temporary.stat().st_size, sha256_file(temporary)
        runs = _runs(temporary, table)
    return Segment(name, table.num_rows, size, digest, runs)


def _runs(path: Path, table: pa.Table) -> tuple[tuple[int, int, int, int, int], ...]:
    """What Segment.runs holds: a page ends with its values; that they are there is seen by comparing."""
    import pyarrow.parquet as pq

    runs = []
    with pq.ParquetFile(path) as file, path.open("rb") as stream:
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            rows = table.slice(number * GROUP_ROWS, GROUP_ROWS)
            found = [_run(group, rows, name, stream) for name in EMBEDDINGS.values()]
            runs.append((group.num_rows, *found[0], *found[1]))
    return tuple(runs)


def _run(group: Any, rows: pa.Table, name: str, stream: BinaryIO) -> tuple[int, int]:
    column = rows[name].combine_chunks().drop_null()
    values = numbers(column.flatten(), np.float16).tobytes()
    for i in range(group.num_columns):
        chunk = group.column(i)
        if chunk.path_in_schema.startswith(f"{name}.") and values:
            start = chunk.data_page_offset + chunk.total_compressed_size - len(values)
            stream.seek(start)
            return len(column), start if stream.read(len(values)) == values else 0
    return len(column), 0


def _text(record: Record, name: str) -> str | None:
    value = getattr(record, name)
    return to_json(value) if name in ("labels", "extra") else value


def _vectors(vectors: Sequence[Float32 | None], dim: int) -> pa.Array:
    import pyarrow as pa

    blank = np.zeros(dim, np.float16)
    values = np.concatenate([blank if v is None else v.astype(np.float16) for v in vectors] or [blank[:0]])
    mask = pa.array([v is None for v in vectors], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(pa.array(values), dim, mask=mask)


def read_segment(root: Path, segment: Segment, columns: Sequence[str] | None = None, *, source: Any = None) -> pa.Table:
    """The named columns of one segment, all where None. Raises StoreError where the file is damaged.

    ``source`` is an Arrow buffer of the file's bytes, where they are at hand.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = root / segment.file if source is None else pa.BufferReader(source)
    try:
        # not read_table: that imports pyarrow.dataset, and with it pandas where that is installed: half a second
        with pq.ParquetFile(place, page_checksum_verification=True) as file:
            table = file.read(columns=None if columns is None else list(columns))
        if table.num_rows != segment.rows or (columns is not None and table.column_names != list(columns)):
            raise pa.ArrowInvalid(f"{table.num_rows} rows of {', '.join(table.column_names)}")
    except (OSError, pa.ArrowException) as error:
        raise unreadable(root, segment, error) from error
    return table


def unreadable(root: Path, segment: Segment, error: Exception) -> StoreError:
    """The error for a segment that pyarrow can't read."""
    reason = str(error).splitlines()[0]
    return StoreError(
        f"index {root}: {segment.file} can't be read ({reason}); see what can be mended: ragvlm verify {root}"
    )


def live_masks(root: Path, manifest: Manifest) -> list[Mask]:
    """Which rows of each segment count: of the rows with one id, the last."""
    masks = [np.ones(segment.rows, bool) for segment in manifest.segments]
    if manifest.stored_rows == manifest.counts.records:
        return masks
    last: dict[str, tuple[int, int]] = {}
    for number, segment in enumerate(manifest.segments):
        masks[number][:] = False
        for row, name in enumerate(read_segment(root, segment, ["id"])["id"].to_pylist()):
            last[name] = (number, row)
    for number, row in last.values():
        masks[number][row] = True
    return masks


def read_live(root: Path, manifest: Manifest, columns: Sequence[str]) -> pa.Table:
    """The named columns of all live rows, in row order."""
    import pyarrow as pa

    masks = live_masks(root, manifest)
    tables = [
        keep(read_segment(root, segment, columns), mask) for segment, mask in zip(manifest.segments, masks, strict=True)
    ]
    if not tables:
        return pa.schema([(name, pa.string()) for name in columns]).empty_table()
    return pa.concat_tables(tables).combine_chunks()


def keep(table: pa.Table, mask: Mask) -> pa.Table:
    """The rows of ``table`` where ``mask`` (n,) holds."""
    import pyarrow as pa

    if mask.all():
        return table
    rows = np.flatnonzero(mask).astype(np.int64)
    # from the buffer, as below: what converts arrays for us imports pandas where that is installed
    return table.take(pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(rows)]))


def numbers(array: pa.Array, dtype: type[np.generic]) -> np.ndarray[Any, Any]:
    """The values of an array without nulls, not a copy."""
    return np.frombuffer(array.buffers()[1] or b"", dtype)[array.offset : array.offset + len(array)]


def to_record(values: Mapping[str, Any]) -> Record:
    """The record in one row of the columns TEXTS."""
    parsed = {name: json.loads(values[name] or "{}") for name in ("labels", "extra")}
    return replace(Record(id=values["id"]), **{name: values[name] for name in TEXTS} | parsed)
