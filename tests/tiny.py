"""A corpus and an encoder that can be checked by eye: plain colours, and the words for them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from ragvlm.corpus import Corpus
from ragvlm.index import Index, scan
from ragvlm.types import Float32, Record

COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250), "grey": (120, 120, 120)}


class ColourEncoder:
    """A picture's vector is its mean colour and a constant; a caption's the colours it names and a constant."""

    name = "colour"
    image_dim = text_dim = 4
    shared_space = True

    def __init__(self, *, version: str = "1", delay: float = 0.0) -> None:
        self.fingerprint = hashlib.sha256(f"colour {version}".encode()).hexdigest()
        self.delay = delay
        self.images = 0
        self.texts = 0

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        self.images += len(images)
        time.sleep(self.delay * len(images))
        return unit([[*np.asarray(image, float).mean(axis=(0, 1)) / 250, 0.1] for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        self.texts += len(texts)
        return unit(
            [[*np.sum([np.array(COLOURS.get(w, (0, 0, 0))) / 250 for w in t.split()], axis=0), 0.1] for t in texts]
        )


def unit(rows: Sequence[Sequence[float]]) -> Float32:
    matrix = np.array(rows, np.float32).reshape(len(rows), 4)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def paint(path: Path, colour: str | tuple[int, int, int], size: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), COLOURS[colour] if isinstance(colour, str) else colour).save(path)


def build(corpus: Corpus, out: Path | None, encoder: ColourEncoder | None = None, **options: Any) -> Index:
    """An index with neither the user's key nor calibration, unless ``options`` ask for them."""
    plain = {"segment_rows": 3, "merge_rows": 3, "batch_size": 2, "hash_subject": False, "calibrate": False}
    return Index.build(corpus, out, encoder=encoder or ColourEncoder(), **plain | options)


def make_corpus(root: Path, n: int = 8) -> Corpus:
    """``n`` records a00, a01, ...: the four colours in turn, each a shade darker than the one before."""
    records = []
    for i in range(n):
        name = list(COLOURS)[i % 4]
        paint(root / f"p{i:02d}.png", tuple(max(c - i, 0) for c in COLOURS[name]))  # type: ignore[arg-type]
        record = Record(
            id=f"a{i:02d}",
            image=f"p{i:02d}.png",
            caption=f"a {name} square number {i}",
            subject_id=f"s{i // 2}",
            study_id="t1",
            modality="paint",
            labels={"colour": name, "number": i},
            source="brush",
            licence="CC0-1.0" if i % 2 else None,
            extra={"row": i},
        )
        records.append(record)
    return of(root, records)


def of(root: Path, records: Sequence[Record]) -> Corpus:
    return Corpus.from_records(records, root=root, name="colours")


def files(out: Path) -> dict[str, bytes]:
    """All files under a folder but what is remembered of pictures' files, which is written once those are settled."""
    found = {p.relative_to(out).as_posix(): p for p in out.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != scan.NAME}


def content(index: Index) -> list[Any]:
    """All that a reader can see, by id."""
    vectors = np.hstack([index.image_embeddings(range(len(index))), index.text_embeddings(range(len(index)))])
    return sorted(
        ((record.id, repr(record), vector.tolist()) for record, vector in zip(index.records, vectors, strict=True)),
    )


def on_disk(index: Index) -> list[str]:
    """The ids in all parquet files, listed or not."""
    return sorted(i for p in (index.path / "segments").iterdir() for i in pq.read_table(p)["id"].to_pylist())
