"""What every result says of where it was measured, and how a benchmark writes it."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import resource
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """CPU, cores, memory in GiB, system, and how busy the machine was."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": [round(value, 1) for value in os.getloadavg()],
    }


def peak_bytes() -> int:
    """The most memory that this program held so far."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    # not ru_maxrss there: a process inherits it from the one that started it
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of the installed ones of ``names``, and Python's."""
    installed = {dist.name.lower() for dist in importlib.metadata.distributions()}
    found = {name: importlib.metadata.version(name) for name in names if name.lower() in installed}
    return {"python": platform.python_version()} | found


def write(name: str, results: Mapping[str, Any], packages: Iterable[str], to: Path | None = None) -> Path:
    """Write ``results`` with command, date, machine and versions to ``results/NAME.json``, or to ``to``."""
    path = to or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "command": shlex.join(["python", f"benchmarks/{name}.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(["ragvlm", "numpy", *packages]),
        **results,
    }
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return path


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
