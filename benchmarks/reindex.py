"""What `ragvlm index` costs on an index that is up to date, beside the run that made it.

    python benchmarks/reindex.py
    python benchmarks/reindex.py --n 1000
    python benchmarks/reindex.py --work FOLDER     # keeps the corpus and its index, and takes those that are there

Pictures are JPEGs of 640x480; each has other bytes. Every run is a fresh process. The run that finds everything
unchanged and the one that reads everything (--rehash) take turns, so that a busy machine slows both alike. What
encoding costs is measured on the first ENCODED pictures.
"""

from __future__ import annotations

import argparse
import datetime
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ragvlm.index import Index

RESULTS = Path(__file__).parent / "results" / "reindex.json"
TURNS = 3
ENCODED = 500


def make_corpus(folder: Path, n: int) -> None:
    """Write ``n`` pictures and their captions."""
    rng = np.random.default_rng(0)
    bases = []
    for _ in range(20):
        small = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
        stream = io.BytesIO()
        small.resize((640, 480), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        bases.append(stream.getvalue())
    (folder / "images").mkdir(parents=True)
    rows = ["file_name,text"]
    for i in range(n):
        comment = f"picture {i:08d}".encode()
        base = bases[i % len(bases)]
        data = base[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + base[2:]
        name = f"images/{i:06d}.jpg"
        (folder / name).write_bytes(data)
        rows.append(f"{name},picture {i} of a benchmark")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")


def run(*args: object) -> dict[str, Any]:
    """One process of ragvlm: its report, wall and CPU seconds, and peak memory."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "ragvlm", "index", *map(str, args), "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    counts = {name: report[name] for name in ("records", "added", "updated", "unchanged")}
    return {"cpu_s": round(cpu, 2), "wall_s": round(wall, 2), **counts}


def measure(work: Path, n: int) -> dict[str, Any]:
    """All runs, and the medians of their CPU seconds."""
    corpus, index = work / "corpus", work / "index"
    if not corpus.exists():
        make_corpus(corpus, n)
    Index.build(corpus, index, calibrate=lambda _: {"left_out": True})  # it would cost more than all the rest
    with tempfile.TemporaryDirectory() as scratch:
        make_corpus(Path(scratch) / "corpus", ENCODED)
        build = run(Path(scratch) / "corpus", "--out", Path(scratch) / "index")
    runs: dict[str, list[dict[str, Any]]] = {"again": [], "rehash": []}
    for _ in range(TURNS):
        runs["again"].append(run(corpus, "--out", index))
        runs["rehash"].append(run(corpus, "--out", index, "--rehash"))
    if any(one["unchanged"] != n for found in runs.values() for one in found):
        sys.exit("a run found something changed")
    median = {name: statistics.median(one["cpu_s"] for one in found) for name, found in runs.items()}
    return {"median_cpu_s": median, "build": build, "runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(options.work or Path(scratch), options.n)
    table = {
        "command": f"python benchmarks/reindex.py --n {options.n}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {"cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"},
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "pictures": options.n,
        **found,
    }
    options.out.write_text(json.dumps(table, indent=1) + "\n")
    sys.stdout.write(f"{json.dumps(found['median_cpu_s'])}\n")


if __name__ == "__main__":
    main()
