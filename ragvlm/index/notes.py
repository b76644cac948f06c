"""The lists beside an index: records that vanished from the corpus, and what could not be indexed. One JSON a line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ragvlm.errors import StoreError
from ragvlm.index.manifest import Derived, Manifest
from ragvlm.paths import atomic_path, sha256_file

SKIPPED = "skipped.jsonl"


def write_vanished(root: Path, manifest: Manifest, ids: Collection[str]) -> Derived | None:
    """The list of the marked ``ids``, named after the coming generation; the old list where it says the same."""
    if not ids:
        return None
    old = manifest.vanished
    if old is not None and old.rows == len(ids) and read_vanished(root, manifest) == set(ids):
        return old
    path = root / f"vanished-{manifest.generation + 1:06d}.jsonl"
    with atomic_path(path) as temporary:
        temporary.write_bytes(_lines({"id": name} for name in sorted(ids)))
        size, digest = temporary.stat().st_size, sha256_file(temporary)
    return Derived("vanished", path.name, len(ids), size, digest)


def read_vanished(root: Path, manifest: Manifest) -> frozenset[str]:
    """The ids that are marked. Raises StoreError where the list is missing or damaged."""
    item = manifest.vanished
    if item is None:
        return frozenset()
    try:
        lines = (root / item.file).read_text(encoding="utf-8").splitlines()
        return frozenset(str(json.loads(line)["id"]) for line in lines)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "damaged"
        raise StoreError(
            f"index {root}: {item.file}: {reason}; make it again: ragvlm verify {root} --repair"
        ) from error


def write_skipped(root: Path, skipped: Collection[tuple[str, str]]) -> None:
    """Write, or where there are none remove, ``skipped.jsonl``: ``item`` (the picture or the id) and ``reason``."""
    path = root / SKIPPED
    if not skipped:
        path.unlink(missing_ok=True)
        return
    content = _lines({"item": item, "reason": reason} for item, reason in skipped)
    if not path.exists() or path.read_bytes() != content:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)


def forget_skipped(root: Path, names: Collection[str]) -> int:
    """Take the items called ``names`` out of ``skipped.jsonl``; how many are left."""
    try:
        rows = [json.loads(line) for line in (root / SKIPPED).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, RecursionError):
        return 0
    kept = [(row["item"], row["reason"]) for row in rows if row["item"] not in names]
    write_skipped(root, kept)
    return len(kept)


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    # of a file's name that is no UTF-8 this makes JSON's own escapes
    return b"".join(json.dumps(row, ensure_ascii=False).encode(errors="backslashreplace") + b"\n" for row in rows)
