"""What a record costs, for plans of millions: CPU time, disk and memory, by the steps of an index.

    python benchmarks/scale.py

Pictures: 1024x768 JPEGs of smoothed noise, the default encoder, no calibration. Records: captions alone with a made-up
encoder of 512 numbers, so that what is left is ragvlm's own. Times are CPU seconds of the process.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from machine import peak_bytes
from PIL import Image

from ragvlm.corpus import Corpus
from ragvlm.index import Index
from ragvlm.stores import make_store
from ragvlm.stores.approximate import ApproximateStore, fill
from ragvlm.stores.exact import ArrayVectors
from ragvlm.types import Float32

RESULTS = Path(__file__).parent / "results" / "scale.json"
DIM = 512


class MadeUp:
    """Unit vectors drawn by the number of the caption."""

    name, fingerprint, image_dim, text_dim, shared_space = "made-up", "0" * 64, DIM, DIM, True

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        """None is asked for."""
        raise NotImplementedError

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """float32 (n, 512), unit rows."""
        rows = np.random.default_rng(len(texts)).standard_normal((len(texts), DIM), np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def main() -> None:
    """Measure, print, write benchmarks/results/scale.json."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        report: dict[str, Any] = {
            "command": "python benchmarks/scale.py",
            "date": datetime.now(UTC).date().isoformat(),
            "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            "versions": {n: importlib.metadata.version(n) for n in ("numpy", "onnxruntime", "pyarrow", "faiss-cpu")},
            "pictures": _pictures(Path(name), options.pictures),
            "records": _records(Path(name), options.records),
            "stores": _stores(Path(name), options.vectors),
        }
    report["load_average"] = [round(value, 1) for value in os.getloadavg()]
    print(json.dumps(report, indent=2))
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _pictures(root: Path, n: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    (root / "pictures").mkdir()
    for i in range(n):
        small = Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8))
        small.resize((1024, 768), Image.Resampling.BICUBIC).save(root / "pictures" / f"{i:05d}.jpg", quality=90)
    corpus = Corpus.load(root / "pictures")
    Index.build(corpus, root / "warm", encoder="embedded", calibrate=False, hash_subject=False)  # loads and exports
    start = time.process_time()
    Index.build(corpus, root / "index", encoder="embedded", calibrate=False, hash_subject=False)
    return {"n": n, "cpu_ms_a_picture": round(1e3 * (time.process_time() - start) / n, 2)}


def _records(root: Path, n: int) -> dict[str, Any]:
    lines = (
        json.dumps({"id": f"r{i}", "caption": f"Light micrograph number {i} of a stained blood smear, two white cells.",
                    "label": f"class {i % 7}", "site": f"hospital {i % 31}", "subject_id": f"s{i // 3}"})
        for i in range(n)
    )  # fmt: skip
    (root / "records.jsonl").write_text("\n".join(lines), encoding="utf-8")
    tracemalloc.start()
    corpus = Corpus.load(root / "records.jsonl")
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    before, start = peak_bytes(), time.process_time()
    index = Index.build(corpus, root / "records", encoder=MadeUp(), batch_size=512, segment_rows=4096, calibrate=False)
    cpu = time.process_time() - start
    files = {path.relative_to(index.path).as_posix(): path.stat().st_size for path in index.path.rglob("*")}
    return {
        "n": n,
        "cpu_ms_a_record": round(1e3 * cpu / n, 3),
        "corpus_bytes_in_memory_a_record": round(held / n),
        "peak_bytes_a_record_while_building": round((peak_bytes() - before) / n),
        "segment_bytes_a_record": round(sum(size for name, size in files.items() if name.endswith(".parquet")) / n),
        "store": index.manifest.derived_of("text").store,  # type: ignore[union-attr]
        "store_bytes_a_record": round(sum(size for name, size in files.items() if name.startswith("text-")) / n),
    }


def _stores(root: Path, n: int) -> dict[str, Any]:
    """Building and writing a store of ``n`` vectors around n / 100 centres."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((n // 100, DIM), np.float32)
    rows = centres[rng.integers(0, len(centres), n)] + 0.75 * rng.standard_normal((n, DIM), np.float32)
    vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    out: dict[str, Any] = {"n": n, "dim": DIM}
    for name in ("faiss", "faiss-hnsw", "faiss-ivf"):
        store, start = make_store(name, DIM, {}), time.process_time()
        if isinstance(store, ApproximateStore):
            fill(store, ArrayVectors(DIM, vectors))
        else:
            store.add(vectors)
        cpu = time.process_time() - start
        store.save(root / name)
        size = (root / name).stat().st_size
        out[name] = {"cpu_ms_a_vector": round(1e3 * cpu / n, 4), "bytes_a_vector": round(size / n)}
    return out


if __name__ == "__main__":
    main()
