"""One writer at a time for an index folder."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ragvlm.errors import StoreError
from ragvlm.index.manifest import utc_now

NAME = ".lock"
HOLDER = ".lock.json"  # who holds the lock; the file of the lock itself is emptied by whoever asks for it


@contextmanager
def writing(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of the existing folder ``path``; it falls with the process, however that ends.

    Where another process holds it: waits for it with ``wait``, else raises StoreError at once that says who does.
    Raises StoreError where the folder can't be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path / NAME)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            if not wait:
                raise StoreError(
                    f"index {path}: {_holder(path)} is writing it; wait until it ends (--wait), or choose another --out"
                ) from error
            logging.getLogger(__name__).info("index %s: waiting for %s", path, _holder(path))
            lock.acquire(poll_interval=0.2)
    except OSError as error:
        raise StoreError(f"index {path}: {error.strerror or error}; choose a folder that can be written") from error
    try:
        _sign(path)
        yield
    finally:
        with suppress(OSError):
            (path / HOLDER).unlink()
        lock.release()


def _sign(path: Path) -> None:
    """Say for others who writes; a disk that is full is found out by what matters more."""
    facts = {"pid": os.getpid(), "host": platform.node(), "since": utc_now()}
    with suppress(OSError):
        (path / HOLDER).write_text(json.dumps(facts), encoding="utf-8")


def _holder(path: Path) -> str:
    try:
        facts = json.loads((path / HOLDER).read_text(encoding="utf-8"))
        pid, host, since = int(facts["pid"]), str(facts["host"]), str(facts["since"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"  # it has taken the lock just now
    return f"another process (pid {pid} on {host}, since {since})"
