"""An index of made-up vectors: large enough for approximate stores, and written without an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.index import Index
from ragvlm.index.finish import finish
from ragvlm.index.manifest import NAME, Counts, Manifest, read_manifest, utc_now
from ragvlm.index.segments import Row, write_segment
from ragvlm.types import Float32, Record

DIM = 64


def clustered(n: int, seed: int = 0, dim: int = DIM) -> Float32:
    """Unit rows around 40 centres, which are the same for every seed."""
    centres = np.random.default_rng(99).standard_normal((40, dim))
    rng = np.random.default_rng(seed)
    rows = centres[rng.integers(0, 40, n)] + 0.5 * rng.standard_normal((n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def grow(root: Path, names: Sequence[str], vectors: Float32, *, remove: Sequence[str] = (), **options: Any) -> Index:
    """The index in ``root``, made where it isn't, with a record more for each of ``names`` and without ``remove``."""
    root.mkdir(exist_ok=True)
    old = read_manifest(root) if (root / NAME).exists() else _empty(**options).committed(root)
    number = old.next_segment
    segments = list(old.segments)
    if remove:
        segments, number = _without(root, old, set(remove), number)
    for start in range(0, len(names), 1500):
        rows = [
            _row(name, vector)
            for name, vector in zip(names[start : start + 1500], vectors[start : start + 1500], strict=True)
        ]
        segments.append(write_segment(root, number, rows, {"image": DIM, "text": DIM}))
        number += 1
    n = sum(segment.rows for segment in segments)
    counts = Counts(records=n, pictures=n, captions=0, sources={"": n}, licences={"": n})
    new = replace(old, segments=tuple(segments), counts=counts, complete=True, next_segment=number)
    finish(root, new, derive=True)
    return Index.open(root)


def _without(root: Path, old: Manifest, names: set[str], number: int) -> tuple[list[Any], int]:
    from ragvlm.index.ledger import Ledger, compact

    live = set(Ledger.read(root, old).entries) - names
    segments = list(compact(root, old, live, limit=0))
    return segments, number + len(segments)


def _row(name: str, vector: Float32) -> Row:
    digest = f"{int(name[1:]) * 0x9E3779B97F4A7C15 % 2**64:016x}" * 4
    record = Record(id=name, image=f"{name}.png")
    return Row(record, digest, digest, digest, int(digest[:16], 16), vector)


def _empty(store: str = "faiss-hnsw", **options: Any) -> Manifest:
    return Manifest(
        encoder="made-up", encoder_fingerprint="0" * 64, image_dim=DIM, text_dim=DIM, shared_space=True,
        corpus="made-up", corpus_root="/", corpus_fingerprint="0" * 64, store=store, store_options=options,
        created=utc_now(), updated=utc_now(),
    )  # fmt: skip
