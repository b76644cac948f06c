"""SHA-256 of large files, remembered as long as the file system says that they are untouched."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from pathlib import Path

from ragvlm.errors import StoreError
from ragvlm.paths import atomic_path, cache_dir, sha256_file

_WORTH = 1 << 20  # bytes; smaller files are hashed faster than looked up
_SETTLED = 2_000_000_000  # ns; the coarsest file system counts time in steps of 2 s


def remembered_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes; read from ``cache_dir()/digests`` where the file hasn't changed since.

    A change shows in size, inode, or the times of the last change of contents and of inode (ns), as git's index has
    it; what a failing disk alters without them is not seen. A file that changed within the last 2 s isn't
    remembered, as a second change might carry the same time. Raises OSError for a file that can't be read.
    """
    state = _state(path)
    if state[0] < _WORTH:
        return sha256_file(path)
    try:
        note = cache_dir() / "digests" / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]}.json"
    except StoreError:  # nowhere to remember it
        return sha256_file(path)
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_text(encoding="utf-8"))
        if known["state"] == state:
            return str(known["sha256"])
    digest = sha256_file(path)
    if _state(path) == state and time.time_ns() - max(state[1:3]) > _SETTLED:
        with suppress(StoreError), atomic_path(note) as temporary:
            temporary.write_text(json.dumps({"path": str(path), "state": state, "sha256": digest}), encoding="utf-8")
    return digest


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
