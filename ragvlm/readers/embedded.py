"""Pictures whose bytes lie inside a table.

A Record names its picture by a path, and everything that shows or encodes one opens that path. So the bytes are
copied out once, into the cache folder, under their SHA-256: equal pictures share a file, and reading the same
table again writes nothing.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from ragvlm.errors import CorpusError
from ragvlm.images import SUPPORTED_SUFFIXES
from ragvlm.paths import cache_dir


def keep(data: bytes, called: str | None) -> Path:
    """The file in ``<cache>/pictures`` that holds ``data``; ``called`` lends it its suffix. Raises CorpusError."""
    digest = hashlib.sha256(data).hexdigest()
    suffix = Path(called or "").suffix.lower()
    path = cache_dir() / "pictures" / digest[:2] / (digest + (suffix if suffix in SUPPORTED_SUFFIXES else ""))
    try:
        if not (path.is_file() and path.stat().st_size == len(data)):
            _write(path, data)
    except OSError as error:
        raise CorpusError(
            f"{path}: {error.strerror or error}; set RAGVLM_CACHE to a folder with room for the pictures"
        ) from error
    return path


def _write(path: Path, data: bytes) -> None:
    # not synced, unlike paths.atomic_path: thousands of small files that can be made again at any time
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as stream:
        temporary = Path(stream.name)
        try:
            stream.write(data)
            stream.close()
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
