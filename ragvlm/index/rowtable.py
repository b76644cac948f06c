"""What is looked up in all rows at once, as one array of numbers beside the segments that can be memory-mapped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.errors import StoreError
from ragvlm.index.manifest import Manifest
from ragvlm.index.mapped import MappedSegments
from ragvlm.index.segments import live_masks
from ragvlm.types import Int64, UInt64

COLUMNS = ("row_hash", "content_hash", "phash", "caption")
DIGITS = 16  # hexadecimal, of 64 bits


class RowTable:
    """Six numbers a live row, in row order; ``array`` is uint64 (6, n).

    ``keys`` and ``content`` are the first 64 bits of ``row_hash`` and ``content_hash`` (0 without a picture), ``phash``
    is the perceptual hash (0 without one); ``stored`` (int64) counts the row among all rows of the segments, ``image``
    and ``text`` (int64) its embeddings among all embeddings, -1 where it has none.
    """

    def __init__(self, array: UInt64) -> None:
        self.array = array
        self.keys: UInt64 = array[0]
        self.content: UInt64 = array[1]
        self.phash: UInt64 = array[2]
        self.stored: Int64 = array[3].view(np.int64)
        self.image: Int64 = array[4].view(np.int64)
        self.text: Int64 = array[5].view(np.int64)

    def __len__(self) -> int:
        return int(self.array.shape[1])

    def rows_of(self, kind: str) -> Int64:
        """The rows that have an embedding of ``kind``: int64 (m,), ascending."""
        return np.flatnonzero((self.image if kind == "image" else self.text) >= 0)

    @classmethod
    def read(cls, segments: MappedSegments, manifest: Manifest) -> RowTable:
        """From the segments. Raises StoreError where one is damaged."""
        parts = [np.empty((6, 0), np.uint64)]
        counted, start = {"image": 0, "text": 0}, 0
        for number, mask in enumerate(live_masks(segments.root, manifest)):
            table = segments.read(number, COLUMNS)
            numbers = [_leading(table[name].to_pylist()) for name in COLUMNS[:3]]
            stored = np.arange(len(mask)) + start
            start += len(mask)
            there = {"image": table["content_hash"].is_valid(), "text": table["caption"].is_valid()}
            places = []
            for kind, valid in there.items():
                known = np.array(valid.to_pylist(), bool)
                places.append(np.where(known, np.cumsum(known) - 1 + counted[kind], -1))
                counted[kind] += int(known.sum())
            part = np.stack([*numbers, *(column.astype(np.int64).view(np.uint64) for column in (stored, *places))])
            parts.append(part[:, mask])
        return cls(np.concatenate(parts, axis=1))

    def save(self, path: Path) -> None:
        """Write the array to ``path`` in numpy's format."""
        with path.open("wb") as stream:
            np.save(stream, self.array, allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> RowTable:
        """Memory-map what ``save`` wrote. Raises StoreError where ``path`` isn't such a file."""
        array = load_array(path, np.uint64)
        if array.ndim != 2 or len(array) != 6:
            raise StoreError(f"{path} isn't a table of rows; build the index again")
        return cls(array)


def load_array(path: Path, dtype: type[np.generic]) -> np.ndarray[Any, Any]:
    """A mapped array in numpy's format. Raises StoreError where ``path`` isn't one of ``dtype``."""
    try:
        array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"{path} can't be read: {str(error).splitlines()[0]}") from error
    if array.dtype != dtype:
        raise StoreError(f"{path} holds {array.dtype}; build the index again")
    # not a subclass of ndarray: whose every operation costs more
    return array.view(np.ndarray)


def _leading(digests: Sequence[str | None]) -> UInt64:
    digits = "".join((digest or "").ljust(DIGITS, "0")[:DIGITS] for digest in digests)
    return np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64)
