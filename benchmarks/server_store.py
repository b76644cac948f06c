"""What an embedded Milvus costs beside the exact stores: filling it, and a query with and without a filter.

    python benchmarks/server_store.py
    python benchmarks/server_store.py --uri http://localhost:19530 --sizes 1000000

Made-up unit vectors of 512 numbers in clusters. All stores get the same vectors and answer the same queries, one at a
time, in turns (numpy, faiss, milvus, numpy, ...); the embedded Milvus runs in this process, so its CPU seconds are in
the figures; those of a server (--uri) are not, only its wall time. Every answer is compared with numpy's.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.filters import Filter
from ragvlm.stores import load_store
from ragvlm.stores.milvus_store import MilvusStore
from ragvlm.types import Float32, Record

RESULTS = Path(__file__).parent / "results" / "server_store.json"
DIM, CLUSTERS, K = 512, 200, 10
WHERE = Filter.of({"labels.stain": "DAPI"})  # one record in ten


def main() -> None:
    """Measure, print, write benchmarks/results/server_store.json."""
    options = _options()
    report: dict[str, Any] = {
        "command": "python benchmarks/server_store.py",
        "date": datetime.date.today().isoformat(),
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {n: importlib.metadata.version(n) for n in ("faiss-cpu", "milvus-lite", "numpy", "pymilvus")},
        "dim": DIM,
        "k": K,
        "turns": options.turns,
        "sizes": {str(size): _size(size, options) for size in options.sizes},
    }
    report["load_average"] = [round(value, 1) for value in os.getloadavg()]
    print(json.dumps(report, indent=2))
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--uri", help="a server's (default: Milvus embedded in this process)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000], help="vectors")
    parser.add_argument("--turns", type=int, default=5, help="queries a way (default 5)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the JSON file to write")
    return parser.parse_args()


def _size(size: int, options: argparse.Namespace) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLUSTERS, DIM), np.float32)
    vectors = _unit(centres[rng.integers(0, CLUSTERS, size)] + 0.7 * rng.standard_normal((size, DIM), np.float32))
    queries = _unit(centres[rng.integers(0, CLUSTERS, options.turns)] + 0.7 * rng.standard_normal((options.turns, DIM)))
    records = [Record(str(i), labels={"stain": "DAPI" if i % 10 == 0 else "other"}) for i in range(size)]
    with tempfile.TemporaryDirectory() as folder:
        numpy, faiss = load_store("numpy")(DIM), load_store("faiss")(DIM)
        milvus = MilvusStore.create(Path(folder) / "store.milvus", DIM, uri=options.uri)
        out: dict[str, Any] = {
            "fill": {
                "numpy": _timed(lambda: numpy.add(vectors)),
                "faiss": _timed(lambda: faiss.add(vectors)),
                "milvus": _timed(lambda: _fill(milvus, vectors, records)),
            }
        }
        _timed(lambda: milvus.save(Path(folder) / "store.milvus"))
        ways: dict[str, Callable[[Float32], Any]] = {
            "numpy": lambda query: numpy.search(query, K),
            "faiss": lambda query: faiss.search(query, K),
            "milvus": lambda query: milvus.search(query, K),
            "milvus, filtered": lambda query: milvus.search_where(query, K, WHERE),
        }
        out["query"] = _queries(ways, queries, vectors)
        MilvusStore.discard(Path(folder) / "store.milvus")
    return out


def _fill(store: MilvusStore, vectors: Float32, records: list[Record]) -> None:
    for start in range(0, len(vectors), 10_000):
        store.add_facts(vectors[start : start + 10_000], records[start : start + 10_000])


def _queries(
    ways: dict[str, Callable[[Float32], Any]], queries: Float32, vectors: Float32
) -> dict[str, dict[str, float]]:
    for way in ways.values():  # the first query opens what is opened once
        way(queries[:1])
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for query in queries:
        answers: dict[str, Any] = {}
        for name, way in ways.items():
            taken[name].append(_timed(partial(_keep, answers, name, way, query[None, :])))
        _check(answers, query, vectors)
    return {
        name: {f"{key}_median": round(statistics.median(item[key] for item in items), 5) for key in ("cpu_s", "wall_s")}
        for name, items in taken.items()
    }


def _keep(answers: dict[str, Any], name: str, way: Callable[[Float32], Any], query: Float32) -> None:
    answers[name] = way(query)


def _check(answers: dict[str, Any], query: Float32, vectors: Float32) -> None:
    """End the run where an answer isn't numpy's, in ids or scores."""
    for name in ("faiss", "milvus"):
        if not all(np.array_equal(answers[name][i], answers["numpy"][i]) for i in (0, 1)):
            raise SystemExit(f"{name} answered something else than numpy")
    allowed = np.flatnonzero(np.arange(len(vectors)) % 10 == 0)
    best = allowed[np.argsort(-(vectors[allowed] @ query), kind="stable")[:K]]
    if not np.array_equal(answers["milvus, filtered"][1][0], best):
        raise SystemExit("the filter found something else")


def _timed(work: Callable[[], Any]) -> dict[str, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return {"cpu_s": round(time.process_time() - cpu, 5), "wall_s": round(time.perf_counter() - wall, 5)}


def _unit(rows: Any) -> Float32:
    unit: Float32 = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


if __name__ == "__main__":
    main()
