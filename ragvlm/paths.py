"""Where things lie on disk, and the one way to write a file so that a kill leaves the old one or the new one."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ragvlm.errors import StoreError


def cache_dir() -> Path:
    """``$RAGVLM_CACHE``, else the platform's cache folder; made on first use."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("RAGVLM_CACHE")
    path = Path(chosen).expanduser() if chosen else user_cache_path("ragvlm")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cache folder {path}: {error.strerror}; set RAGVLM_CACHE to a folder you can write"
        ) from error
    return path


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_files(paths: Iterable[Path]) -> str:
    """Hex SHA-256 over the digests of files, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(sha256_file(path).encode())
    return digest.hexdigest()


@contextmanager
def atomic_path(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path``; on success it is synced and renamed to ``path``, otherwise removed.

    ``sync=False`` is for many small files that can be made again: they are whole, but may be absent after a power cut.
    Raises StoreError with the system's reason where the folder can't be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
    except OSError as error:
        raise StoreError(f"{path.parent}: {error.strerror}; choose a folder that can be written") from error
    temporary = Path(name)
    try:
        yield temporary
        if sync:
            sync_path(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        if sync:
            sync_path(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}; nothing was changed") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise StoreError where ``atomic_path`` could not write ``path``: long work should not end with that."""
    if path.is_dir():
        raise StoreError(f"{path}: is a folder; give the name of a file")
    with suppress(_Checked), atomic_path(path):
        raise _Checked


class _Checked(Exception):  # noqa: N818 (no error: leaves atomic_path before it replaces anything)
    pass


def sync_path(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    # a folder can't be opened for syncing on every platform; the rename itself is still atomic there
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
