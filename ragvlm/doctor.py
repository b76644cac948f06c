"""What is installed of ragvlm's extras, what is missing, and what to type; an index, looked at without its weights."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

import ragvlm
from ragvlm.config import config_file
from ragvlm.errors import RagvlmError, StoreError, missing_extra
from ragvlm.paths import cache_dir

COLLECTIONS = ("all", "demo", "scale", "test", "bench")
"""Extras that only bring others: they would say everything twice."""
LEAST_FREE = 2.0
"""GB in the cache folder: an exported encoder takes up to this."""


@dataclass(frozen=True, slots=True)
class Package:
    """A distribution that is asked for: ``version`` is what is installed, or None; ``fits`` whether that will do."""

    name: str
    wanted: str
    version: str | None
    fits: bool

    @property
    def told(self) -> str:
        """What is wrong with it, in words."""
        return f"{self.version} is installed, but {self.wanted} is needed" if self.version else "is not installed"


@dataclass(frozen=True, slots=True)
class Part:
    """An extra (or "" for what ragvlm always needs) with its packages, those of extras that it asks for included."""

    extra: str
    packages: tuple[Package, ...]

    @property
    def lacking(self) -> tuple[Package, ...]:
        """What is absent or of another version."""
        return tuple(package for package in self.packages if not package.fits)

    @property
    def command(self) -> str:
        """What brings them."""
        return f'pip install "ragvlm[{self.extra}]"' if self.extra else "pip install --upgrade ragvlm"


@dataclass(frozen=True, slots=True)
class Examination:
    """``machine`` says where ragvlm runs, ``parts`` what is there of it, ``findings`` what keeps it from working."""

    machine: dict[str, Any]
    parts: tuple[Part, ...]
    findings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        parts = [asdict(part) | {"complete": not part.lacking, "command": part.command} for part in self.parts]
        return {"machine": self.machine, "parts": parts, "findings": list(self.findings)}


def examine(index: str | Path | None = None) -> Examination:
    """Look at this installation, and at ``index`` where one is given. Imports no model library."""
    names = importlib.metadata.metadata("ragvlm").get_all("Provides-Extra") or []
    parts = tuple(Part(name, tuple(_packages(name))) for name in ["", *sorted(set(names) - set(COLLECTIONS))])
    findings = [f"{package.name} {package.told}: {parts[0].command}" for package in parts[0].lacking]
    findings += _cache_findings()
    if index is not None:
        findings += _index_findings(Path(index))
    return Examination(_machine(), parts, tuple(findings))


def _packages(extra: str, seen: frozenset[str] = frozenset()) -> Iterator[Package]:
    known: set[str] = set()
    for line in importlib.metadata.requires("ragvlm") or []:
        asked = Requirement(line)
        if asked.marker is not None and not asked.marker.evaluate({"extra": extra}):
            continue
        if asked.marker is None and extra:  # always needed, not by this extra
            continue
        if asked.name != "ragvlm":
            found = [_package(asked)]
        else:
            found = [one for name in sorted(asked.extras - seen) for one in _packages(name, seen | asked.extras)]
        for package in found:
            if package.name not in known:
                known.add(package.name)
                yield package


def _package(asked: Requirement) -> Package:
    try:
        version = importlib.metadata.version(asked.name)
    except importlib.metadata.PackageNotFoundError:
        return Package(asked.name, str(asked.specifier), None, False)
    return Package(asked.name, str(asked.specifier), version, asked.specifier.contains(version, prereleases=True))


def _machine() -> dict[str, Any]:
    return {
        "ragvlm": ragvlm.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "config": str(config_file() or "none"),
        "settings": sorted(name for name in os.environ if name.startswith("RAGVLM_")),  # their values may be secrets
    }


def _cache_findings() -> list[str]:
    try:
        folder = cache_dir()
    except StoreError as error:
        return [str(error)]
    if not os.access(folder, os.W_OK):
        return [f"cache folder {folder} can't be written: set RAGVLM_CACHE to a folder you can write"]
    free = shutil.disk_usage(folder).free / 1e9
    return [f"cache folder {folder}: only {free:.1f} GB are free there"] if free < LEAST_FREE else []


def _index_findings(folder: Path) -> list[str]:
    from ragvlm.index.manifest import read_manifest
    from ragvlm.registry import find

    try:
        manifest = read_manifest(folder)
        encoder = find("encoders", manifest.encoder)
    except RagvlmError as error:
        return [str(error)]
    absent = [module for module in encoder.modules if importlib.util.find_spec(module) is None]
    found = [f"index {folder}: {missing_extra(module, str(encoder.extra))}" for module in absent[:1]]
    if not manifest.complete:
        found.append(f"index {folder}: its build was interrupted: the same ragvlm index command goes on with it")
    return found
