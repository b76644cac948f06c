"""The files that are made from the segments, and made again whenever they can't be used.

``rows-N.npy`` is the RowTable; ``image-N.*`` and ``text-N.*`` are the stores. An approximate store grows with the
index, and what leaves the index stays in it, dead: ``image-N.npy`` beside it (of kind "image_map") then says of each
vector that was added at which position it is now, -1 for none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.errors import StoreError
from ragvlm.index import served
from ragvlm.index.checks import damage
from ragvlm.index.lock import writing
from ragvlm.index.manifest import Derived, Manifest, read_manifest
from ragvlm.index.mapped import MappedSegments, SegmentVectors
from ragvlm.index.rowtable import RowTable, load_array
from ragvlm.index.segments import EMBEDDINGS
from ragvlm.paths import atomic_path, sha256_file
from ragvlm.stores import chosen, load_store, make_store
from ragvlm.stores.approximate import ApproximateStore, fill
from ragvlm.types import Int64, VectorStore

QUESTIONS = "questions"  # vectors of the questions that records answer: see ``ragvlm.index.questions``
TOLERANCE = 1e-2  # of a cosine: what a store that rounds its vectors may be away from the segments
DEAD = 0.2  # the share of a store's vectors that may be dead before it is made anew


def update_derived(root: Path, manifest: Manifest) -> tuple[Derived, ...]:
    """The derived files of the segments in ``manifest``, written for the generation that comes after it.

    What ``manifest.derived`` lists, of whatever state, is used as far as it goes: a store of the same vectors is taken
    over; an approximate one is grown by the new vectors, and the removed ones are marked, unless too many are dead or
    it has outgrown its form. Readers of the present generation go on with their own files. Raises StoreError where a
    segment is damaged.
    """
    segments = MappedSegments(root, manifest)
    table = RowTable.read(segments, manifest)
    items = [write(root, manifest, "rows", table.save, len(table), ".npy")]
    items += [item] if (item := current(root, manifest, QUESTIONS)) else []
    for kind in EMBEDDINGS:
        source = source_of(manifest, segments, table, kind)
        if len(source):
            name = chosen(manifest.store, len(source))
            if cls := served.served(name):
                item = current(root, manifest, kind)
                kept = item is not None and item.store == name and served.whole(root, item)
                items.append(item if item and kept else served.fill(root, manifest, segments, table, source, kind, cls))
                continue
            items += _grown(root, manifest, table, source, kind, name) or [
                _saved(root, manifest, build_store(manifest, source, name), kind)
            ]
    return tuple(items)


def needed(manifest: Manifest) -> dict[str, int]:
    """The kinds of derived files that ``manifest`` needs, with their rows."""
    counts = manifest.counts
    sizes = {"rows": counts.records, "image": counts.pictures, "text": counts.captions}
    return {kind: rows for kind, rows in sizes.items() if rows}


def usable(root: Path, manifest: Manifest) -> bool:
    """Whether all derived files that ``manifest`` needs are listed and there, by their sizes."""
    return all(
        (item := current(root, manifest, kind)) is not None
        and item.rows == rows
        and (kind == "rows" or (item.store == chosen(manifest.store, rows) and served.whole(root, item)))
        for kind, rows in needed(manifest).items()
    )


def differs(root: Path, manifest: Manifest, item: Derived) -> str | None:
    """How a derived file differs from the segments, None where it doesn't; an approximate store's codes aren't read."""
    segments = MappedSegments(root, manifest)
    table = RowTable.read(segments, manifest)
    # a map is looked at with its store, and questions can't be encoded here
    if item.state != manifest.state or item.kind.endswith("_map") or item.kind == QUESTIONS:
        return None if item.state == manifest.state else "is of another state than the segments"
    try:
        if item.kind == "rows":
            same = np.array_equal(RowTable.load(root / item.file).array, table.array)
            return None if same else "holds other rows than the segments"
        source = source_of(manifest, segments, table, item.kind.removesuffix("_map"))
        store = _opened(root, manifest, item, source)
    except StoreError as error:
        return f"can't be used ({error})"
    starts = np.cumsum([0, *(len(vectors) for vectors in source.blocks())])
    nearest = min(
        (store.get(np.arange(start, start + len(vectors))) * vectors).sum(axis=1).min(initial=1.0)
        for start, vectors in zip(starts, source.blocks(), strict=False)
    )
    return "holds other vectors than the segments" if nearest < 1 - TOLERANCE else None


def without(manifest: Manifest, files: Collection[str]) -> tuple[Derived, ...]:
    """The entries of ``manifest`` but those of ``files``; a store and its map go together."""
    gone = {item.kind.removesuffix("_map") for item in manifest.derived if item.file in files}
    return tuple(item for item in manifest.derived if item.kind.removesuffix("_map") not in gone)


def current(root: Path, manifest: Manifest, kind: str) -> Derived | None:
    """The entry of ``kind``, if it is of the present state and its file is there, by its size."""
    item = manifest.derived_of(kind)
    fresh = item is not None and item.state == manifest.state and _size(root / item.file) == item.bytes
    return item if fresh else None


def open_table(root: Path, manifest: Manifest, segments: MappedSegments) -> RowTable:
    """The table of rows: maps its file, or reads the segments, where it is missing, stale or unreadable."""
    item = current(root, manifest, "rows")
    if item is not None:
        with suppress(StoreError):
            table = RowTable.load(root / item.file)
            if len(table) == manifest.counts.records:
                return table
    table = RowTable.read(segments, manifest)
    repair(root, manifest, lambda latest: [write(root, latest, "rows", table.save, len(table), ".npy")], "rows")
    return table


def source_of(manifest: Manifest, segments: MappedSegments, table: RowTable, kind: str) -> SegmentVectors:
    """The vectors of ``kind`` by position."""
    places, dim = (table.image, manifest.image_dim) if kind == "image" else (table.text, manifest.text_dim)
    count = manifest.counts.pictures if kind == "image" else manifest.counts.captions
    if manifest.stored_rows == len(table) == count:  # every row counts and has a vector
        return SegmentVectors(segments, kind, dim, None)
    return SegmentVectors(segments, kind, dim, places if count == len(table) else places[places >= 0])


def open_store(
    root: Path, manifest: Manifest, source: SegmentVectors, kind: str, rows: int, wish: str
) -> VectorStore | None:
    """The store of ``kind`` with ``rows`` vectors, None where there are none.

    Maps its file; where that is missing, stale or unreadable, builds the store from the segments and, if the
    folder can be written, puts the file right.
    """
    if rows == 0:
        return None
    if len(source) != rows:
        raise StoreError(f"index {root}: the segments hold {len(source)} of {rows} {kind} embeddings; index again")
    name = chosen(wish, rows)
    item = current(root, manifest, kind)
    if cls := served.served(name):
        return served.open_served(root, manifest, item, cls) or build_store(manifest, source, "numpy")
    if item is not None and item.store == name and item.rows == rows:
        with suppress(StoreError):
            return tuned(manifest, kind, _opened(root, manifest, item, source))
    store = build_store(manifest, source, name)
    if name == chosen(manifest.store, rows):
        repair(root, manifest, lambda latest: [_saved(root, latest, store, kind)], kind, f"{kind}_map")
    return tuned(manifest, kind, store)


def build_store(manifest: Manifest, source: SegmentVectors, name: str) -> VectorStore:
    """A store called ``name`` with all vectors of ``source``; the manifest's options are those of its own store."""
    options = manifest.store_options if name == chosen(manifest.store, len(source)) else {}
    store = make_store(name, source.dim, options)
    if isinstance(store, ApproximateStore):
        fill(store, source)
        return store
    for vectors in source.blocks():
        store.add(vectors)
    return store


def tuned(manifest: Manifest, kind: str, store: VectorStore) -> VectorStore:
    """``store``, which looks as far as the manifest's options say, and what ``tune-index`` found for it."""
    if isinstance(store, ApproximateStore):
        found = manifest.tuning.get(kind, {})
        wanted = dict(manifest.store_options) | (found["settings"] if found.get("store") == store.name else {})
        store.set(**{name: wanted[name] for name in store.settings if name in wanted})
    return store


def _opened(root: Path, manifest: Manifest, item: Derived, source: SegmentVectors) -> VectorStore:
    store = load_store(item.store).load(root / item.file)
    if isinstance(store, ApproximateStore):
        places = _map_of(root, manifest, item.kind)
        store.attach(source, places)
        slots = len(source) if places is None else len(places)
        if store.slots != slots:
            raise StoreError(f"{item.file} holds {store.slots} vectors instead of {slots}")
    if len(store) != item.rows or store.dim != source.dim:
        raise StoreError(f"{item.file} holds {len(store)} vectors of {store.dim} numbers")
    return store


def _map_of(root: Path, manifest: Manifest, kind: str) -> Int64 | None:
    item = manifest.derived_of(f"{kind}_map")
    if item is None:
        return None
    places: Int64 = load_array(root / item.file, np.int64)
    return places


def _grown(
    root: Path, manifest: Manifest, table: RowTable, source: SegmentVectors, kind: str, name: str
) -> list[Derived]:
    """The entries of the store that is there, taken over or grown; none where it can't be or should not."""
    item = manifest.derived_of(kind)
    if item is None or item.store != name or damage(root, item, checksums=True):
        return []
    try:
        places = _moved(root, manifest, item, table)
        fresh = np.setdiff1d(np.arange(len(source)), places)
        everywhere = np.concatenate([places, fresh])
        if np.array_equal(everywhere, np.arange(len(source))) and not len(fresh):
            return [replace(item, state=manifest.state)]
        store = load_store(name).load(root / item.file)
    except StoreError:
        return []
    if not isinstance(store, ApproximateStore) or store.slots != len(places) or store.outgrown(len(source)):
        return []
    if np.mean(everywhere < 0) > DEAD:
        return []
    items = [replace(item, rows=len(source), state=manifest.state)]
    if len(fresh):
        store.attach(source, everywhere)
        for start in range(0, len(fresh), 4096):
            store.add(source.take(fresh[start : start + 4096]))
        items = [_saved(root, manifest, store, kind)]
    if not np.array_equal(everywhere, np.arange(len(source))):
        items.append(write(root, manifest, f"{kind}_map", array_saver(everywhere), len(everywhere), ".npy"))
    return items


def _moved(root: Path, manifest: Manifest, item: Derived, table: RowTable) -> Int64:
    """The present position of each vector that the store ``item`` was given, -1 where its row is gone: int64 (n,)."""
    rows = manifest.derived_of("rows")
    if rows is None or rows.state != item.state:
        raise StoreError("no table of rows of that state is left")
    before = RowTable.load(root / rows.file)
    keys, now = before.keys[before.rows_of(item.kind)], table.keys[table.rows_of(item.kind)]
    places = _map_of(root, manifest, item.kind)
    places = np.arange(len(keys)) if places is None else places
    if len(keys) != item.rows or (len(places) and places.max() >= len(keys)):
        raise StoreError("the table of rows is another store's")
    order = np.argsort(now, kind="stable")
    wanted = keys[np.maximum(places, 0)]
    at = np.minimum(np.searchsorted(now[order], wanted), len(now) - 1)
    moved: Int64 = np.where((now[order][at] == wanted) & (places >= 0), order[at], -1)
    return moved


def _saved(root: Path, manifest: Manifest, store: VectorStore, kind: str) -> Derived:
    item = write(root, manifest, kind, store.save, len(store), store.suffix)
    return replace(item, store=store.name)


def array_saver(array: NDArray[Any]) -> Callable[[Path], None]:
    """What writes ``array`` in numpy's format."""

    def save(path: Path) -> None:
        with path.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)

    return save


def repair(root: Path, manifest: Manifest, make: Callable[[Manifest], Sequence[Derived]], *kinds: str) -> None:
    """Replace the entries of ``kinds`` by what ``make`` writes, unless that isn't a reader's to do."""
    if not manifest.complete:
        return
    # a reader without the right to write, or beside a writer, keeps what it made in memory
    with suppress(StoreError), writing(root):
        latest = read_manifest(root)
        if (latest.state, latest.store) != (manifest.state, manifest.store):
            return
        old = [item for item in latest.derived if item.kind in kinds]
        kept = [item for item in latest.derived if item.kind not in kinds]
        latest.committed(root, derived=(*kept, *make(latest)))
        for item in old:
            served.remove(root / item.file)


def write(root: Path, manifest: Manifest, kind: str, save: Callable[[Path], None], rows: int, suffix: str) -> Derived:
    """A file named after the generation that comes after ``manifest``."""
    name = f"{kind.removesuffix('_map')}-{manifest.generation + 1:06d}{suffix}"
    with atomic_path(root / name) as temporary:
        save(temporary)
        size, digest = temporary.stat().st_size, sha256_file(temporary)
    return Derived(kind, name, rows, size, digest, manifest.state)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
