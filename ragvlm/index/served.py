"""Stores that a server keeps: in the index lies a descriptor, and what it names must come and go with it.

A generation of the index has a collection of its own. Its descriptor is written before it is made, under the name of
the coming generation: a killed run leaves a descriptor that no manifest names, and whoever removes that drops what it
names. The collection of the old generation is dropped with its descriptor, after the commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ragvlm.errors import InputError, StoreError
from ragvlm.filters import ServedStore
from ragvlm.index.manifest import Derived, Manifest
from ragvlm.index.segments import TEXTS, keep, to_record
from ragvlm.paths import sha256_file
from ragvlm.registry import entries
from ragvlm.stores import load_store
from ragvlm.types import Int64, Record, VectorStore

if TYPE_CHECKING:
    from ragvlm.index.mapped import MappedSegments, SegmentVectors
    from ragvlm.index.rowtable import RowTable


def served(name: str) -> type[ServedStore] | None:
    """The class of the store ``name``, if a server keeps it."""
    store = load_store(name)
    return cast("type[ServedStore]", store) if hasattr(store, "create") else None


def fill(
    root: Path,
    manifest: Manifest,
    segments: MappedSegments,
    table: RowTable,
    source: SegmentVectors,
    kind: str,
    cls: type[ServedStore],
) -> Derived:
    """A new collection with the vectors of ``source`` and what their records say, for the coming generation."""
    path = root / f"{kind}-{manifest.generation + 1:06d}{cls.suffix}"
    store = cls.create(path, source.dim, **manifest.store_options)
    records = _records(segments, table.stored[table.rows_of(kind)])
    for vectors in source.blocks():
        store.add_facts(vectors, list(islice(records, len(vectors))))
    store.save(path)
    return Derived(
        kind, path.name, len(store), path.stat().st_size, sha256_file(path), manifest.state, store=store.name
    )


def _records(segments: MappedSegments, stored: Int64) -> Iterator[Record]:
    """The records of the rows ``stored`` (m,), ascending, counted over all segments; one segment is held at a time."""
    start = 0
    for number, segment in enumerate(segments.segments):
        low, high = np.searchsorted(stored, (start, start + segment.rows))
        mask = np.zeros(segment.rows, bool)
        mask[stored[low:high] - start] = True
        yield from map(to_record, keep(segments.read(number, TEXTS), mask).to_pylist())
        start += segment.rows


def open_served(root: Path, manifest: Manifest, item: Derived | None, cls: type[ServedStore]) -> VectorStore | None:
    """The store that ``item`` describes, None where a build is not done. Raises StoreError where it isn't whole."""
    if item is not None and item.store == cls.name:
        return cls.load(root / item.file)
    if manifest.store != cls.name:
        raise InputError(f"index {root} isn't in {cls.name}: index the corpus again with --store {cls.name}")
    if manifest.complete:
        raise StoreError(f"index {root}: no {cls.name} store is left; run the command that indexed it again")
    return None


def whole(root: Path, item: Derived) -> bool:
    """Whether what ``item`` describes is there; True for a store that is its file."""
    cls = served(item.store)
    if cls is None:
        return True
    try:
        return len(cls.load(root / item.file)) == item.rows
    except StoreError:
        return False


def remove(path: Path) -> None:
    """Remove a file of the index, and what it names on a server; quietly, since the next run would do it again."""
    for name, entry in entries("stores").items():
        if not entry.missing and path.suffix not in (".npy", ".parquet", ".faiss", ".tmp"):
            cls = served(name)
            if cls is not None and path.suffix == cls.suffix:
                cls.discard(path)
    with suppress(OSError):
        path.unlink()
