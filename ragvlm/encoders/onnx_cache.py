"""Models in the cache, most of them ONNX: made once, found intact ever after, or made again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ragvlm.encoders.digests import remembered_sha256
from ragvlm.errors import InputError, StoreError, require
from ragvlm.paths import atomic_path, cache_dir, sha256_file

FACTS = "export.json"
_DIGEST = "[0-9a-f]" * 16
_LOCK_SECONDS = 1800  # an export takes seconds, of the largest models minutes; who holds it for longer has hung


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
    with _locked(folder, stem):
        return _intact(folder, stem) or _make(folder, stem, export)


def cached_folder(
    name: str, key: str, export: Callable[[Path], Mapping[str, Any]], *, home: str = "onnx", use: str = "ONNX Runtime"
) -> Path:
    """The folder of the model ``name`` that consists of several files; ``export`` writes them where it is absent.

    It lies in the part ``home`` of the cache; ``use`` is what the note in the log says that it is for.

    ``export`` gets an empty folder and returns facts (JSON values), which are kept beside the files as ``FACTS`` with
    the files' SHA-256; the folder's name carries the SHA-256 of that file. Otherwise as ``cached_model``.
    """
    folder, stem = cache_dir() / home, f"{name}-{key[:16]}"
    found = find_folder(name, key, home=home)
    if found:
        return found
    with _locked(folder, stem):
        return find_folder(name, key, home=home) or _make_folder(folder, stem, export, use)


def find_folder(name: str, key: str, *, home: str = "onnx") -> Path | None:
    """The folder that ``cached_folder`` made, or None where there is none or a file of it is altered or absent.

    Files are hashed anew only where the file system shows a change (``remembered_sha256``). Raises StoreError for a
    cache that can't be made.
    """
    for folder in sorted((cache_dir() / home).glob(f"{name}-{key[:16]}.{_DIGEST}")):
        try:
            if folder.suffix == f".{sha256_file(folder / FACTS)[:16]}" and _files_intact(folder):
                return folder
        except OSError:  # a file is gone, or another process has just replaced the folder
            continue
    return None


def read_facts(folder: Path) -> dict[str, Any]:
    """What ``export`` said of an intact folder, with "files": name -> SHA-256."""
    return dict(json.loads((folder / FACTS).read_text(encoding="utf-8")))


def open_session(path: Path, threads: int | None = None, *, arrange: bool = True) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU with ``threads`` threads (default: the cores it may use).

    Without ``arrange`` weights stay as they lie in the file: opening is several times faster, each run slower.
    """
    runtime = require("onnxruntime", "embedded")
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}: give 1 or more")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or _cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # waiting threads sleep: spinning costs a third more CPU and gains no time where the cores are shared
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not arrange:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@contextmanager
def _locked(folder: Path, stem: str) -> Iterator[None]:
    """Of several processes one goes on; what the file system refuses becomes a StoreError."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{stem}.lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout as error:
        raise StoreError(f"{error.lock_file}: another process has held it for {_LOCK_SECONDS} s; end it") from error
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}; set RAGVLM_CACHE to a folder you can write") from error


def _intact(folder: Path, stem: str) -> Path | None:
    for path in sorted(folder.glob(f"{stem}.*.onnx")):
        try:
            if path.name == _file_name(stem, sha256_file(path)):
                return path
        except OSError:  # another process has just replaced it
            continue
    return None


def _make(folder: Path, stem: str, export: Callable[[], bytes]) -> Path:
    _tell(stem, "ONNX Runtime")
    data = export()
    for damaged in folder.glob(f"{stem}.*.onnx"):
        damaged.unlink()
    path = folder / _file_name(stem, hashlib.sha256(data).hexdigest())
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return path


def _files_intact(folder: Path) -> bool:
    return all(remembered_sha256(folder / name) == digest for name, digest in read_facts(folder)["files"].items())


def _make_folder(folder: Path, stem: str, export: Callable[[Path], Mapping[str, Any]], use: str) -> Path:
    _tell(stem, use)
    for stale in (*folder.glob(f".{stem}.*"), *folder.glob(f"{stem}.{_DIGEST}")):  # of a killed export, or damaged
        shutil.rmtree(stale)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=f".{stem}."))
    try:
        facts = export(temporary)
        digests = {path.name: sha256_file(path) for path in sorted(temporary.iterdir())}
        with atomic_path(temporary / FACTS) as path:
            path.write_text(json.dumps({**facts, "files": digests}, indent=2), encoding="utf-8")
        for path in temporary.iterdir():
            path.chmod(0o644)
        temporary.chmod(0o755)
        return temporary.rename(folder / f"{stem}.{sha256_file(temporary / FACTS)[:16]}")
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _tell(stem: str, use: str) -> None:
    name = stem.rpartition("-")[0]
    logging.getLogger(__name__).info("preparing %s for %s (the first time only) ...", name, use)


def _file_name(stem: str, digest: str) -> str:
    return f"{stem}.{digest[:16]}.onnx"


def _cores() -> int:
    # a container or a batch system may allow fewer cores than the machine has
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
