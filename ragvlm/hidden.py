"""Files by keyed hashes of their names: a name may carry a patient's, so a record can do without it.

``folder#file=1f0c...`` is the file (or folder) below ``folder`` whose relative path has this hash under the user's own
key (``ragvlm.pseudonym``). Whoever has the files but not the key can't tell which is meant.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock

from ragvlm.pseudonym import pseudonymizer

_known: dict[str, dict[str, str]] = {}
_lock = Lock()


def digest(relative: str) -> str:
    """16 hex digits for a path relative to its corpus, or for another name that must not be shown."""
    return pseudonymizer()(f"file {relative}")[:16]


def find(folder: Path, wanted: str) -> Path:
    """The path below ``folder`` whose digest is ``wanted``; where there is none, one that does not exist."""
    key = str(folder.absolute())
    with _lock:
        if wanted not in _known.get(key, {}):
            _known[key] = {digest(relative): relative for relative in _below(folder)}
        return folder / _known[key].get(wanted, f"{wanted} (moved, or hashed with another key)")


def _below(folder: Path) -> list[str]:
    found: list[str] = []
    for place, subfolders, files in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(place, name).relative_to(folder).as_posix() for name in (*subfolders, *files)]
    return found
