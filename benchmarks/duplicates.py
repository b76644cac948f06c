"""How often does the near-duplicate guard fire on altered copies, and how often on different pictures?

    python benchmarks/duplicates.py INDEX ...

From each index 40 pictures are altered and looked up; and all pairs of pictures with other pixels are compared.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import ragvlm as rv
from ragvlm.duplicates import NEAR_BITS, NEAR_COSINE
from ragvlm.images import open_image

RESULTS = Path(__file__).parent / "results" / "duplicates.json"
SAMPLE = 40


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def _crop(image: Image.Image) -> Image.Image:
    x, y = image.width // 20, image.height // 20
    return image.crop((x, y, image.width - x, image.height - y))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 75": lambda image: _jpeg(image, 75),
    "JPEG, quality 30": lambda image: _jpeg(image, 30),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "10 % brighter": lambda image: image.point(lambda value: min(255, int(value * 1.1))),
    "5 % cut off each side": _crop,
}


def measure(index: rv.Index) -> dict[str, Any]:
    """Copies found by alteration, and pairs of different pictures taken for one."""
    pictured = [row for row, record in enumerate(index.records) if record.image]
    sample = pictured[:: max(1, len(pictured) // SAMPLE)][:SAMPLE]
    found = {name: sum(_found(index, row, alter) for row in sample) for name, alter in COPIES.items()}
    hashes = index.rows.phash[pictured]
    vectors, digests = index.image_embeddings(pictured), np.array(index.content_hashes)[pictured]
    first, second = np.triu_indices(len(pictured), 1)
    other = digests[first] != digests[second]
    near = (np.bitwise_count(hashes[first] ^ hashes[second]) <= NEAR_BITS) & (
        (vectors @ vectors.T)[first, second] >= NEAR_COSINE
    )
    return {
        "copies": len(sample),
        "found": found,
        "pairs": int(other.sum()),
        "pairs taken for one": int((near & other).sum()),
    }


def _found(index: rv.Index, row: int, alter: Callable[[Image.Image], Image.Image]) -> bool:
    record = index.records[row]
    copy = alter(open_image(index.image_path(record)))
    hits = index.search(rv.Query(id="copy", image=copy), k=len(index), mode="image")
    return any(hit.record.id == record.id and hit.duplicate for hit in hits)


if __name__ == "__main__":
    result = {index.manifest.corpus: measure(index) for index in map(rv.Index.open, sys.argv[1:])}
    document = {"command": "python benchmarks/duplicates.py INDEX ...", "cosine": NEAR_COSINE, "bits": NEAR_BITS}
    RESULTS.write_text(json.dumps(document | {"corpora": result}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
