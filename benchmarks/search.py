"""What a search costs: exact, approximate and other libraries' stores on the same vectors, in alternation in one run.

    python benchmarks/search.py            10,000 and 100,000 vectors, with hnswlib, usearch and LanceDB
    python benchmarks/search.py --full     1,000,000 too
    python benchmarks/search.py --opening 1000000    what opening an index costs (added to the results)

Vectors are made up: unit vectors of 512 numbers, 100 around each centre (cosine to it about 0.8). Queries come from the
same centres ("clusters"), from between them ("off": the mean of two centres and as much noise again). With ``--real
INDEX`` the "real" set is added: picture embeddings of that index and mixtures of each with one of its 20 nearest, up to
10,000, asked by left-out pictures. An index folder is written as ragvlm writes it, and its stores are opened from
there: candidates are scored from mapped float16. All libraries hold the same float32 rows, have the same graph
parameters (32 links, 40 candidates at construction) and one thread for a search; costs are CPU seconds of the process.
A store is measured at the smallest effort that reaches the recall.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from machine import machine, versions

from ragvlm.index import Index
from ragvlm.index.derived import update_derived
from ragvlm.index.manifest import Counts, Manifest, utc_now
from ragvlm.index.mapped import unit
from ragvlm.index.segments import HASHES, METADATA, write_table
from ragvlm.types import Float32, Int64

RESULTS = Path(__file__).parent / "results" / "search.json"
DIM, K, ASKED, TURNS, SEGMENT = 512, 10, 100, 3, 16_384
LADDER = (2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
GOALS = (0.97, 0.99)
Ask = Callable[[Float32], Int64]


def clustered(n: int, seed: int = 0) -> tuple[Iterator[Float32], dict[str, Float32]]:
    """Parts of ``n`` vectors, and queries by kind."""
    rng = np.random.default_rng(seed)
    centres = _unit(rng.standard_normal((n // 100, DIM), np.float32))

    def around(points: Float32, spread: float) -> Float32:
        return _unit(points + spread / np.sqrt(DIM) * rng.standard_normal(points.shape, np.float32))

    picked = rng.integers(0, len(centres), (3, ASKED))
    queries = {
        "clusters": around(centres[picked[0]], 0.75),
        "off": around(_unit(centres[picked[1]] + centres[picked[2]]), 1.0),
    }
    sizes = [min(SEGMENT, n - start) for start in range(0, n, SEGMENT)]
    return (around(centres[rng.integers(0, len(centres), size)], 0.75) for size in sizes), queries


def real(path: Path, n: int, seed: int = 0) -> tuple[Iterator[Float32], dict[str, Float32]]:
    """Real embeddings and mixtures of neighbours among them; queries are real and left out."""
    rng = np.random.default_rng(seed)
    index = Index.open(path)
    vectors = index.image_embeddings(index.image_rows)[rng.permutation(len(index.image_rows))]
    asked, kept = vectors[: min(ASKED, len(vectors) // 5)], vectors[min(ASKED, len(vectors) // 5) :]
    near = np.argsort(-(kept @ kept.T), axis=1)[:, 1:21]
    one = rng.integers(0, len(kept), n - len(kept))
    share = rng.uniform(0.1, 0.9, (len(one), 1)).astype(np.float32)
    mixed = share * kept[one] + (1 - share) * kept[near[one, rng.integers(0, 20, len(one))]]
    whole = np.concatenate([kept, _unit(mixed)])
    return (whole[start : start + SEGMENT] for start in range(0, n, SEGMENT)), {"real": asked}


def _unit(rows: Float32) -> Float32:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def write_index(root: Path, parts: Iterator[Float32]) -> Manifest:
    """An index of made-up records, without its derived files."""
    segments, start, dim = [], 0, 0
    for number, vectors in enumerate(parts, 1):
        dim, rows = vectors.shape[1], range(start, start + len(vectors))
        columns: dict[str, Any] = {name: pa.array([None] * len(rows), pa.string()) for name in METADATA}
        columns["id"] = pa.array([f"record-{row:08d}" for row in rows])
        columns["image"] = pa.array([f"images/{row:08d}.png" for row in rows])
        columns |= {name: pa.array([f"{row * 0x9E3779B97F4A7C15 % 2**64:016x}" for row in rows]) for name in HASHES}
        halves = pa.array(vectors.astype(np.float16).ravel())
        columns["image_embedding"] = pa.FixedSizeListArray.from_arrays(halves, dim)
        columns["text_embedding"] = pa.nulls(len(rows), pa.list_(pa.float16(), dim))
        segments.append(write_table(root, number, pa.table(columns)))
        start += len(rows)
    names = {"encoder": "made-up", "encoder_fingerprint": "0" * 64, "corpus": "made-up", "corpus_root": "/"}
    times = {"created": utc_now(), "updated": utc_now()}
    shape = {"image_dim": dim, "text_dim": dim, "shared_space": True, "corpus_fingerprint": "0" * 64, "store": "auto"}
    counts = Counts(records=start, pictures=start, sources={"": start}, licences={"": start})
    return Manifest(**names, **times, **shape, counts=counts, segments=tuple(segments), complete=True)


def stored(root: Path, manifest: Manifest, name: str) -> dict[str, Any]:
    """Build the store ``name`` and open it from its file."""
    started = time.process_time()
    items = update_derived(root, manifest)
    seconds = time.process_time() - started
    manifest = manifest.committed(root, derived=items)
    store = Index.open(root).image_store
    item = next(item for item in items if item.kind == "image")

    def asker(effort: int | None) -> Ask:
        def ask(query: Float32) -> Int64:
            if effort is not None:
                store.set(**{store.effort: effort})
            return store.search(query, K)[1]

        return ask

    return {"ask": asker, "build": seconds, "bytes": item.bytes, "exact": name in ("faiss", "numpy"), "name": name}


def peers(vectors: Float32, folder: Path) -> Iterator[dict[str, Any]]:
    """The other libraries that are installed."""
    for name, build in (("hnswlib", _hnswlib), ("usearch", _usearch), ("lancedb", _lancedb)):
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed: left out", flush=True)
            continue
        started = time.process_time()
        asker, path = build(vectors, folder)
        size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size
        yield {"ask": asker, "build": time.process_time() - started, "bytes": size, "exact": False, "name": name}


def _hnswlib(vectors: Float32, folder: Path) -> tuple[Callable[[int | None], Ask], Path]:
    import hnswlib

    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(vectors), ef_construction=40, M=32)
    index.add_items(vectors)
    index.save_index(str(folder / "hnswlib"))
    index.set_num_threads(1)

    def asker(effort: int | None) -> Ask:
        def ask(query: Float32) -> Int64:
            index.set_ef(max(effort or K, K))
            return index.knn_query(query, K)[0].astype(np.int64)

        return ask

    return asker, folder / "hnswlib"


def _usearch(vectors: Float32, folder: Path) -> tuple[Callable[[int | None], Ask], Path]:
    from usearch.index import Index as Usearch

    index = Usearch(ndim=vectors.shape[1], metric="ip", dtype="f32", connectivity=32, expansion_add=40)
    index.add(np.arange(len(vectors)), vectors)
    index.save(str(folder / "usearch"))

    def asker(effort: int | None) -> Ask:
        def ask(query: Float32) -> Int64:
            index.expansion_search = effort or K
            return index.search(query[0], K, threads=1).keys.astype(np.int64)[None]

        return ask

    return asker, folder / "usearch"


def _lancedb(vectors: Float32, folder: Path) -> tuple[Callable[[int | None], Ask], Path]:
    import lancedb
    from lancedb.index import HnswSq

    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = lancedb.connect(folder / "lancedb").create_table(
        "vectors", pa.table({"id": np.arange(len(vectors)), "vector": column})
    )
    graph = HnswSq(distance_type="dot", num_partitions=1, m=32, ef_construction=40)
    table.create_index("vector", config=graph)

    def asker(effort: int | None) -> Ask:
        def ask(query: Float32) -> Int64:
            found = table.search(query[0]).distance_type("dot").nprobes(1).ef(max(effort or K, 2 * K)).refine_factor(2)
            return found.limit(K).select(["id", "_distance"]).to_arrow()["id"].to_numpy()[None]

        return ask

    return asker, folder / "lancedb"


def recall(ask: Ask, queries: Float32, truth: Int64) -> float:
    """recall@10, the mean over the queries, asked one by one."""
    found = (ask(query[None]) for query in queries)
    return float(np.mean([len(set(a[0].tolist()) & set(b.tolist())) / K for a, b in zip(found, truth, strict=True)]))


def climb(system: dict[str, Any], queries: Float32, truth: Int64) -> dict[float, tuple[int, float]]:
    """The smallest effort and its recall for each goal that is reached."""
    reached: dict[float, tuple[int, float]] = {}
    for effort in LADDER:
        found = recall(system["ask"](effort), queries, truth)
        reached |= {goal: (effort, found) for goal in GOALS if found >= goal and goal not in reached}
        if len(reached) == len(GOALS):
            break
    return reached


def measure(systems: list[dict[str, Any]], queries: Float32, truth: Int64) -> list[dict[str, Any]]:
    """CPU ms a query of each system at each goal, taken in turns."""
    exact = next(system for system in systems if system["exact"])
    rows = [{"store": exact["name"], "recall": recall(exact["ask"](None), queries, truth), "ask": exact["ask"](None)}]
    for system in systems:
        for goal, (effort, found) in ({} if system["exact"] else climb(system, queries, truth)).items():
            rows.append(
                {"store": system["name"], "goal": goal, "effort": effort, "recall": found, "ask": system["ask"](effort)}
            )
    took: list[list[float]] = [[] for _ in rows]
    for _ in range(TURNS):
        for row, own in zip(rows, took, strict=True):
            started = time.process_time()
            for query in queries:
                row["ask"](query[None])
            own.append((time.process_time() - started) / len(queries) * 1000)
    for row, own in zip(rows, took, strict=True):
        del row["ask"]
        row |= {"recall": round(row["recall"], 4), "cpu_ms": round(min(own), 4)}
        row["times_faster_than_exact"] = round(min(took[0]) / min(own), 1)
    return rows


def opening(root: Path, manifest: Manifest, query: Float32) -> dict[str, float]:
    """Seconds to open and search once, warm and with a cold page cache, beside reading all metadata and vectors."""

    def first() -> float:
        started = time.perf_counter()
        index = Index.open(root)
        _, positions = index.image_store.search(query, K)
        _ = [index.records[int(index.image_rows[at])] for at in positions[0]]
        return time.perf_counter() - started

    def whole() -> float:
        started = time.perf_counter()
        index = Index.open(root)
        index.to_table()
        faiss_index = faiss.IndexFlatIP(query.shape[1])
        for vectors in index._state.image.source.blocks():
            faiss_index.add(vectors)
        faiss_index.search(query, K)
        return time.perf_counter() - started

    first()
    warm = [first() for _ in range(5)]
    cold = []
    for _ in range(3):
        for item in (*manifest.files,):
            with (root / item.file).open("rb") as stream:
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        cold.append(first())
    read = whole()
    return {
        "open_and_search_s": round(float(np.median(warm)), 4),
        "cold_open_and_search_s": round(float(np.median(cold)), 4),
        "full_read_s": round(read, 3),
        "times_faster": round(read / float(np.median(warm)), 1),
    }


def run(name: str, n: int, data: tuple[Iterator[Float32], dict[str, Float32]], with_peers: bool) -> dict[str, Any]:
    """All stores on one set of vectors."""
    parts, asked = data
    with tempfile.TemporaryDirectory(prefix="ragvlm-bench-") as scratch:
        root = Path(scratch) / "index"
        manifest = write_index(root, parts)
        stores = ("faiss-ivf",) if n > 400_000 else ("faiss-hnsw", "faiss-ivf")
        systems = []
        for store in ("faiss", *stores):
            wanted = root.with_name(store)
            shutil.copytree(root, wanted, copy_function=os.link)
            systems.append(stored(wanted, replace(manifest, store=store), store))
        vectors = Index.open(root.with_name("faiss"))._state.image.source
        if with_peers:
            systems += peers(np.concatenate(list(vectors.blocks())), Path(scratch))
        found: dict[str, Any] = {"set": name, "n": n, "dim": vectors.dim, "stores": {}}
        for kind, queries in asked.items():
            truth = systems[0]["ask"](None)(unit(queries.astype(np.float16)))
            found[kind] = measure(systems, unit(queries.astype(np.float16)), truth)
        found["stores"] = {s["name"]: {"build_cpu_s": round(s["build"], 2), "bytes": s["bytes"]} for s in systems}
        return found


def run_opening(n: int) -> dict[str, Any]:
    """What opening an index of ``n`` records costs; its lists are few, so that they are made quickly."""
    parts, asked = clustered(n)
    with tempfile.TemporaryDirectory(prefix="ragvlm-bench-") as scratch:
        root = Path(scratch)
        manifest = replace(write_index(root, parts), store="faiss-ivf", store_options={"nlist": 256})
        manifest = manifest.committed(root, derived=update_derived(root, manifest))
        query = unit(asked["clusters"][:1].astype(np.float16))
        return {"n": n, "dim": DIM, "segments": len(manifest.segments), **opening(root, manifest, query)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="a million vectors too")
    parser.add_argument("--real", type=Path, help="an index whose picture embeddings are the real set", metavar="INDEX")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the results' file", metavar="FILE")
    parser.add_argument("--opening", type=int, help="only measure opening, with so many records", metavar="N")
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    # what isn't measured anew stays, each run with the command, the day and the load of its own
    document = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    before = {(run["set"], run["n"]): run for run in document.get("runs", ())}
    if options.opening:
        _write(options.out, document | {"opening": run_opening(options.opening) | _circumstances()})
        return
    jobs: list[tuple[str, int]] = [("clustered", n) for n in options.sizes]
    jobs += [("real", 10_000)] if options.real else []
    jobs += [("clustered", 1_000_000)] if options.full else []
    for name, n in jobs:
        data = real(options.real, n) if name == "real" else clustered(n)
        before[name, n] = run(name, n, data, not options.no_peers and n <= 100_000) | _circumstances()
        _write(options.out, document | {"runs": [before[key] for key in sorted(before)]})


def _circumstances() -> dict[str, Any]:
    return {
        "command": shlex.join(["python", "benchmarks/search.py", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "load_average": machine()["load_average"],
    }


def _write(path: Path, document: dict[str, Any]) -> None:
    found = {
        "machine": machine() | {"faiss": faiss.get_compile_options().strip()},
        "versions": versions(["faiss-cpu", "hnswlib", "usearch", "lancedb"]),
        **{name: document[name] for name in ("runs", "opening") if name in document},
    }
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1), flush=True)


if __name__ == "__main__":
    main()
