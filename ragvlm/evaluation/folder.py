"""The folder of a run: whose it is, and the files that are written whole."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from ragvlm.errors import InputError, StoreError, one_line
from ragvlm.paths import atomic_path

SUITE, CONFIG, LEAKAGE, METRICS = "suite.toml", "config.json", "leakage.json", "metrics.json"
NEIGHBOURS, PREDICTIONS, REFERENCES = "neighbours.jsonl", "predictions.jsonl", "references.jsonl"
SCORES, TIMINGS, MACHINE, INDEX = "scores.jsonl", "timings.jsonl", "machine.json", "index"
FOREIGN, FOREIGN_NEIGHBOURS = "foreign.jsonl", "foreign-neighbours.jsonl"
_LOCK = ".lock"
_PACKAGES = (
    "numpy", "onnxruntime", "torch", "transformers", "peft", "accelerate", "faiss-cpu", "llama-cpp-python", "pillow",
)  # fmt: skip


@contextmanager
def claimed(folder: Path, suite: bytes, settings: Mapping[str, Any]) -> Iterator[None]:
    """Make or take up the run in ``folder``, and hold it against other processes.

    A run that has predicted nothing yet is begun anew where suite or settings are others now.
    Raises InputError where it holds another suite's run, one of other ``settings`` (the first that differs is named),
    or something else; StoreError where another process writes it, or where it can't be written.
    """
    from filelock import FileLock, Timeout

    _check(folder, suite, settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK, timeout=0):
            if _differs(folder, suite, settings):
                for name in (LEAKAGE, NEIGHBOURS, PREDICTIONS, FOREIGN, FOREIGN_NEIGHBOURS, CONFIG, SUITE):
                    (folder / name).unlink(missing_ok=True)
                shutil.rmtree(folder / INDEX, ignore_errors=True)
            if not (folder / SUITE).exists():
                with atomic_path(folder / SUITE) as temporary:
                    temporary.write_bytes(suite)
            if not (folder / CONFIG).exists():
                write_json(folder / CONFIG, settings)
            yield
    except Timeout as error:
        raise StoreError(f"{folder}: another process is at this run; wait until it ends") from error


def _check(folder: Path, suite: bytes, settings: Mapping[str, Any]) -> None:
    if not folder.exists():
        return
    if not (folder / SUITE).is_file():
        other = next((path.name for path in _listed(folder) if not path.name.startswith(".")), None)
        if other is not None:
            raise InputError(f"{folder} holds {one_line(other)!r}, no run: choose another --out")
        return
    begun = (folder / PREDICTIONS).is_file() and (folder / PREDICTIONS).stat().st_size > 0
    if begun and (other := _differs(folder, suite, settings)):
        raise InputError(f"{folder} holds a run {other}: choose another --out")


def _differs(folder: Path, suite: bytes, settings: Mapping[str, Any]) -> str:
    """How the run in ``folder`` differs from the one that is wanted; empty where it doesn't, or where there is none."""
    known, config = folder / SUITE, folder / CONFIG
    if known.is_file() and known.read_bytes() != suite:
        return f"of another suite ({known} differs)"
    return first_difference(read_json(config) if config.is_file() else settings, settings)


def first_difference(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The first of the settings ``wanted`` that is another one ``there``, in words; empty where all are the same."""
    for name, value in json.loads(json.dumps(wanted)).items():
        if there.get(name) != value:
            return one_line(f"with {name} {json.dumps(there.get(name))}, not {json.dumps(value)}")
    return ""


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; choose another --out") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in ``path``. Raises InputError where it can't be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: can't be read: choose another --out, or remove the folder") from error
    return dict(found)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """``value`` as indented JSON, the same bytes for the same value; written whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Written whole or not at all; left alone where the file holds ``text`` already."""
    if path.is_file() and path.read_bytes() == text.encode():
        return
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def machine() -> dict[str, Any]:
    """Hardware and versions: what may differ between two runs of the same settings."""
    found = {str(d.metadata["Name"]).lower(): d.version for d in distributions() if d.metadata["Name"]}
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: found[name] for name in _PACKAGES if name in found},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return names[0].partition(":")[2].strip() if names else platform.processor()
