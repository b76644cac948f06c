"""The store files of an index: made from the segments, and made again whenever they can't be used."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ragvlm.errors import StoreError
from ragvlm.index.lock import writing
from ragvlm.index.manifest import Derived, Manifest, read_manifest
from ragvlm.index.segments import EMBEDDINGS, read_embeddings
from ragvlm.paths import atomic_path, sha256_file
from ragvlm.stores import load_store
from ragvlm.types import VectorStore


def build_store(root: Path, manifest: Manifest, kind: str, name: str) -> VectorStore:
    """A store called ``name`` with all live embeddings of ``kind`` ("image" or "text"), in row order."""
    store = load_store(name)(manifest.image_dim if kind == "image" else manifest.text_dim)
    for vectors in read_embeddings(root, manifest, kind):
        store.add(vectors)
    return store


def write_derived(root: Path, manifest: Manifest, name: str) -> tuple[Derived, ...]:
    """Write the store files of the segments in ``manifest``, named after the coming generation.

    Readers of the present generation go on with their own files, so they never see a mixture.
    """
    written = []
    for kind in EMBEDDINGS:
        store = build_store(root, manifest, kind, name)
        if len(store):
            written.append(_write(root, store, kind, manifest.generation + 1))
    return tuple(written)


def usable(root: Path, manifest: Manifest) -> bool:
    """Whether all store files that ``manifest`` needs are listed and there, by their sizes."""
    for kind, rows in (("image", manifest.counts.pictures), ("text", manifest.counts.captions)):
        item = manifest.derived_of(kind)
        if rows and (item is None or item.rows != rows or _size(root / item.file) != item.bytes):
            return False
    return True


def open_store(root: Path, manifest: Manifest, kind: str, rows: int, name: str) -> VectorStore | None:
    """The store of ``kind`` with ``rows`` vectors, None where there are none.

    Maps its file; where that is missing, stale or unreadable, builds the store from the segments and, if the
    folder can be written, puts the file right.
    """
    if rows == 0:
        return None
    item = manifest.derived_of(kind) if name == manifest.store else None
    if item is not None and item.rows == rows and _size(root / item.file) == item.bytes:
        with suppress(StoreError):
            store = load_store(name).load(root / item.file)
            if len(store) == rows and store.dim == (manifest.image_dim if kind == "image" else manifest.text_dim):
                return store
    store = build_store(root, manifest, kind, name)
    if len(store) != rows:
        raise StoreError(f"index {root}: the segments hold {len(store)} of {rows} {kind} embeddings; index again")
    if manifest.complete and name == manifest.store:
        # a reader without the right to write, or beside a writer, keeps the store in memory
        with suppress(StoreError):
            _repair(root, manifest, kind, store)
    return store


def _repair(root: Path, manifest: Manifest, kind: str, store: VectorStore) -> None:
    with writing(root):
        latest = read_manifest(root)
        if latest.segments != manifest.segments or latest.store != manifest.store:
            return
        old = latest.derived_of(kind)
        item = _write(root, store, kind, latest.generation + 1)
        latest.committed(root, derived=(*(other for other in latest.derived if other != old), item))
        if old is not None:
            with suppress(OSError):
                (root / old.file).unlink()


def _write(root: Path, store: VectorStore, kind: str, generation: int) -> Derived:
    name = f"{kind}-{generation:06d}{store.suffix}"
    with atomic_path(root / name) as temporary:
        store.save(temporary)
        size, digest = temporary.stat().st_size, sha256_file(temporary)
    return Derived(kind, name, len(store), size, digest)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
