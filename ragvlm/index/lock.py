"""One writer at a time for an index folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ragvlm.errors import StoreError

NAME = ".lock"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold the lock of the existing folder ``path``; it falls with the process, however that ends.

    Raises StoreError at once where another process holds it or where the folder can't be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path / NAME, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise StoreError(
            f"index {path}: another process is writing it; wait until it ends, or choose another --out"
        ) from error
    except OSError as error:
        raise StoreError(f"index {path}: {error.strerror or error}; choose a folder that can be written") from error
    try:
        yield
    finally:
        lock.release()
