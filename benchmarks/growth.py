"""How cost grows with the corpus: build time, disk, memory, opening, latency and recall at 1k to 1M records.

    python benchmarks/growth.py
    python benchmarks/growth.py --sizes 1000000 --keep      # a quarter of an hour; keeps the rows of other sizes

The records are captions whose vectors are made up (unit vectors of 512 numbers, 100 around each centre with a cosine
of about 0.8), so that the figures are those of everything but encoding; the time of making vectors up is measured and
taken off. Every step is a process of its own, so that memory is that step's. Queries run on one thread;
they are new points of the clusters (even ones) and points between two of them (odd ones); recall@10 is against all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from machine import RESULTS, peak_bytes, write

from ragvlm.corpus import Corpus
from ragvlm.encoders.base import BaseEncoder
from ragvlm.index import Index
from ragvlm.types import Float32, Record

DIM, BLOCK, K = 512, 4096, 10
SIZES = (1_000, 10_000, 100_000)
QUERIES = 200


def _around(points: Float32, spread: float, rng: np.random.Generator) -> Float32:
    rows = points + spread / DIM**0.5 * rng.standard_normal(points.shape, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@lru_cache(maxsize=1)
def _centres(clusters: int) -> Float32:
    rows = np.random.default_rng(0).standard_normal((clusters, DIM), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@lru_cache(maxsize=2)
def block(number: int, clusters: int) -> Float32:
    """Vectors BLOCK * number and on: float32 (BLOCK, DIM), unit rows."""
    rng = np.random.default_rng([1, number])
    return _around(_centres(clusters)[rng.integers(clusters, size=BLOCK)], 0.75, rng)


def queries(n: int, clusters: int) -> Float32:
    """float32 (n, DIM), unit rows: even ones like the records, odd ones between two clusters."""
    rng = np.random.default_rng(2)
    one, other = (_centres(clusters)[rng.integers(clusters, size=n)] for _ in range(2))
    rows = _around(one, 0.75, rng)
    between = one + other
    rows[1::2] = _around(between / np.linalg.norm(between, axis=1, keepdims=True), 1.0, rng)[1::2]
    return rows


class MadeUp(BaseEncoder):
    """The number in a caption stands for a vector; ``seconds`` counts the CPU time of making them up."""

    def __init__(self, n: int) -> None:
        super().__init__(batch_size=256)
        self.clusters = n // 100
        self.name, self.fingerprint, self.shared_space = "made-up", f"made-up-{n}", False
        self.image_dim = self.text_dim = DIM
        self.seconds = 0.0

    def image_batch(self, images: Sequence[Any]) -> Float32:
        """There are no pictures here."""
        raise NotImplementedError

    def text_batch(self, texts: Sequence[str]) -> Float32:
        """float32 (n, DIM) of texts such as "record 17" and "query 3"."""
        start = time.thread_time()
        numbers = [text.split() for text in texts]
        asked = queries(QUERIES, self.clusters) if numbers[0][0] == "query" else None
        rows = [
            asked[int(i)] if asked is not None else block(int(i) // BLOCK, self.clusters)[int(i) % BLOCK]
            for _, i in numbers
        ]
        self.seconds += time.thread_time() - start
        return np.stack(rows)


def corpus(n: int) -> Corpus:
    """n captions."""
    return Corpus.from_records((Record(id=f"{i:07d}", caption=f"record {i}") for i in range(n)), name="made-up")


def build(n: int, folder: Path) -> dict[str, Any]:
    """Build the index of n records, or bring it up to date."""
    records, encoder = corpus(n), MadeUp(n)
    start, wall = time.process_time(), time.perf_counter()
    index = Index.build(records, folder, encoder=encoder, batch_size=256)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        "store": index.text_store.name if index.text_store else None,
        "cpu_s": round(time.process_time() - start - encoder.seconds, 2),
        "wall_s": round(time.perf_counter() - wall, 2),
        "vectors_cpu_s": round(encoder.seconds, 2),
        "disk_mb": round(sum(path.stat().st_size for path in files) / 1e6, 1),
        "segments_mb": round(sum(p.stat().st_size for p in files if p.suffix == ".parquet") / 1e6, 1),
    }


def add(n: int, folder: Path) -> dict[str, Any]:
    """One record in a hundred more."""
    encoder = MadeUp(n)
    records = corpus(n + n // 100)
    start = time.process_time()
    Index.build(records, folder, encoder=encoder, batch_size=256)
    return {"cpu_s": round(time.process_time() - start - encoder.seconds, 2)}


def ask(n: int, folder: Path) -> dict[str, Any]:
    """Open it, ask it."""
    encoder = MadeUp(n)
    words = [f"query {i}" for i in range(QUERIES)]
    encoder.encode_texts(words)
    start = time.perf_counter()
    index = Index.open(folder, encoder=encoder)
    index.search(words[0], k=K, mode="text")
    opened = time.perf_counter() - start
    encoder.seconds, start = 0.0, time.process_time()
    found = [index.search(word, k=K, mode="text") for word in words]
    cpu = time.process_time() - start - encoder.seconds
    memory = peak_bytes()
    truth = nearest(n, encoder.clusters)
    hits = [len({int(hit.record.id) for hit in own} & set(true)) for own, true in zip(found, truth, strict=True)]
    return {
        "open_and_first_query_ms": round(1000 * opened, 1),
        "query_cpu_ms": round(1000 * cpu / QUERIES, 2),
        "memory_mb": round(memory / 1e6),
        "recall_at_10": round(float(np.mean(hits)) / K, 4),
        "recall_at_10_off_clusters": round(float(np.mean(hits[1::2])) / K, 4),
    }


def nearest(n: int, clusters: int) -> list[list[int]]:
    """The true K nearest of each query, by all inner products in float32."""
    asked = queries(QUERIES, clusters)
    scores, at = np.empty((QUERIES, 0), np.float32), np.empty((QUERIES, 0), np.int64)
    for number in range(-(-n // BLOCK)):
        rows = block(number, clusters)[: n - number * BLOCK].astype(np.float16).astype(np.float32)
        scores = np.concatenate([scores, asked @ rows.T], axis=1)
        at = np.concatenate([at, np.tile(np.arange(len(rows)) + number * BLOCK, (QUERIES, 1))], axis=1)
        top = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        scores, at = np.take_along_axis(scores, top, 1), np.take_along_axis(at, top, 1)
    return at.tolist()


STEPS: dict[str, Callable[[int, Path], dict[str, Any]]] = {"build": build, "again": build, "ask": ask, "add": add}


def one(step: str, n: int, folder: Path) -> dict[str, Any]:
    """A step in a process of its own; with its peak memory."""
    command = [sys.executable, __file__, "--step", step, "--sizes", str(n), "--folder", str(folder)]
    # waiting threads spin, which would count as a query's cost
    threads = {"OMP_NUM_THREADS": "1"} if step == "ask" else {}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | threads)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    """Measure, print a row a size, write benchmarks/results/growth.json."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--keep", action="store_true", help="keep what the output file holds of other sizes")
    parser.add_argument("--output", type=Path, default=RESULTS / "growth.json")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        found = STEPS[options.step](options.sizes[0], options.folder)
        found.setdefault("memory_mb", round(peak_bytes() / 1e6))
        print(json.dumps(found))
        return
    rows = []
    for n in options.sizes:
        with tempfile.TemporaryDirectory() as name:
            found = {step: one(step, n, Path(name) / "index") for step in STEPS}
        rows.append({"records": n, "load_average": round(os.getloadavg()[0], 1)} | found)
        print(json.dumps(rows[-1]), file=sys.stderr)
    if options.keep and options.output.exists():
        kept = json.loads(options.output.read_text(encoding="utf-8"))["rows"]
        rows += [row for row in kept if row["records"] not in options.sizes]
        rows.sort(key=lambda row: row["records"])
    write("growth", {"dim": DIM, "queries": QUERIES, "rows": rows}, ["faiss-cpu", "pyarrow"], options.output)


if __name__ == "__main__":
    main()
