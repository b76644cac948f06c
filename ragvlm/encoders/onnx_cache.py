"""ONNX models in the cache: made once, found intact ever after, or made again."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ragvlm.errors import InputError, StoreError, require
from ragvlm.paths import atomic_path, cache_dir, sha256_file

_LOCK_SECONDS = 600  # an export takes seconds; whoever holds the lock for longer has hung


def cached_model(name: str, key: str, export: Callable[[], bytes]) -> Path:
    """The file of the ONNX model ``name`` whose contents depend on ``key``; ``export`` makes it where absent.

    The file's name carries the SHA-256 of its bytes, so a truncated or altered file is noticed on every load
    and made again. Of several processes that find it absent, one exports and the others wait. Raises
    StoreError where the cache can't be written, and whatever ``export`` raises.
    """
    folder = cache_dir() / "onnx"
    stem = f"{name}-{key[:16]}"
    found = _intact(folder, stem)
    if found:
        return found
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{stem}.lock", timeout=_LOCK_SECONDS):
            return _intact(folder, stem) or _make(folder, stem, export)
    except Timeout as error:
        raise StoreError(f"{error.lock_file}: another process has held it for {_LOCK_SECONDS} s; end it") from error
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}; set RAGVLM_CACHE to a folder you can write") from error


def open_session(path: Path, threads: int | None = None) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU with ``threads`` threads (default: the cores it may use)."""
    runtime = require("onnxruntime", "embedded")
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}: give 1 or more")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or _cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # waiting threads sleep: spinning costs a third more CPU and gains no time where the cores are shared
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _intact(folder: Path, stem: str) -> Path | None:
    for path in sorted(folder.glob(f"{stem}.*.onnx")):
        try:
            if path.name == _file_name(stem, sha256_file(path)):
                return path
        except OSError:  # another process has just replaced it
            continue
    return None


def _make(folder: Path, stem: str, export: Callable[[], bytes]) -> Path:
    logging.getLogger(__name__).info("preparing %s for ONNX Runtime (the first time only) ...", stem.rpartition("-")[0])
    data = export()
    for damaged in folder.glob(f"{stem}.*.onnx"):
        damaged.unlink()
    path = folder / _file_name(stem, hashlib.sha256(data).hexdigest())
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return path


def _file_name(stem: str, digest: str) -> str:
    return f"{stem}.{digest[:16]}.onnx"


def _cores() -> int:
    # a container or a batch system may allow fewer cores than the machine has
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
