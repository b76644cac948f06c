"""Which altered copies does the guard of evaluations find, and how many different pictures does it take for copies?

    python benchmarks/leakage.py DATA [CORPUS]

DATA holds the folders blood-cells, cell-assays and vqa-rad, CORPUS is a simulated corpus. Of each corpus 40 pictures
are altered and looked for among all; then all pictures are compared with each other. What is found between pictures of
one subject is counted apart. Some minutes of one core.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ragvlm.corpus import Corpus
from ragvlm.evaluation.copies import SAME, find_copies, square
from ragvlm.images import open_image, pixel_hash

RESULTS = Path(__file__).parent / "results" / "leakage.json"
NAMES = ("blood-cells", "cell-assays", "vqa-rad")
SAMPLE = 40
Alter = Callable[[Image.Image], Image.Image]
_TURN = Image.Transpose


def _jpeg(quality: int) -> Alter:
    def alter(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return Image.open(stream).convert("RGB")

    return alter


def _cut(left: float, top: float, right: float, bottom: float) -> Alter:
    def alter(image: Image.Image) -> Image.Image:
        w, h = image.size
        return image.crop((round(left * w), round(top * h), w - round(right * w), h - round(bottom * h)))

    return alter


def _any_cut(image: Image.Image) -> Image.Image:
    """Up to a fifth cut off each side, turned or mirrored: drawn by the picture's own pixels."""
    rng = np.random.default_rng(int(pixel_hash(image)[:12], 16))
    return _cut(*rng.uniform(0, 0.2, 4))(image).transpose(_TURN(int(rng.integers(7))))


def _light(factor: float) -> Alter:
    return lambda image: image.point(lambda value: min(255, int(value * factor)))


COPIES: dict[str, Alter] = {
    "turned 90": lambda image: image.transpose(_TURN.ROTATE_90),
    "mirrored": lambda image: image.transpose(_TURN.FLIP_LEFT_RIGHT),
    "5 % cut off each side": _cut(0.05, 0.05, 0.05, 0.05),
    "10 % cut off each side": _cut(0.1, 0.1, 0.1, 0.1),
    "20 % cut off each side": _cut(0.2, 0.2, 0.2, 0.2),
    "20 % cut off one side": _cut(0, 0, 0.2, 0),
    "up to 20 % cut off each side, turned or mirrored": _any_cut,
    "JPEG, quality 30": _jpeg(30),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "40 % brighter": _light(1.4),
    "30 % darker": _light(0.7),
    "inverted": ImageOps.invert,
    "5 % cut, turned 90, JPEG 50": lambda image: _jpeg(50)(_cut(0.05, 0.05, 0.05, 0.05)(image).transpose(2)),
    "turned 3 degrees": lambda image: image.rotate(3),
    "turned 10 degrees": lambda image: image.rotate(10),
}


def measure(folder: Path) -> dict[str, Any]:
    """Copies found by alteration, pairs of different pictures taken for copies, and seconds a picture."""
    corpus = Corpus.load(folder)
    shown = [record for record in corpus.records if record.image]
    images = [open_image(corpus.image_path(record)) for record in shown]
    squares, digests = [square(image) for image in images], [pixel_hash(image) for image in images]
    sample = range(0, len(images), max(1, len(images) // SAMPLE))[:SAMPLE]
    found = {}
    for name, alter in COPIES.items():
        copies = find_copies([square(alter(images[i])) for i in sample], squares)
        found[name] = len({copy.a for copy in copies if digests[copy.b] == digests[sample[copy.a]]})
    start = time.process_time()
    pairs = find_copies(squares, squares, eligible=lambda a, b: a < b and digests[a] != digests[b])
    seconds = time.process_time() - start
    taken = [(shown[p.a], shown[p.b], p.similarity) for p in pairs]
    apart = [t for t in taken if t[0].subject_id is None or t[0].subject_id != t[1].subject_id]
    n = len(squares)
    return {
        "pictures": n,
        "copies": len(sample),
        "found": found,
        "pairs": sum(digests[a] != digests[b] for a in range(n) for b in range(a)),
        "pairs taken for copies": len(taken),
        "of these of different or unknown subjects": [[a.id, b.id, round(s, 3)] for a, b, s in apart],
        "CPU milliseconds a picture against all": round(1000 * seconds / n, 1),
    }


def _folders(given: list[str]) -> Iterator[tuple[str, Path]]:
    data, *simulated = map(Path, given)
    yield from ((name, data / name) for name in NAMES)
    yield from (("simulated", folder) for folder in simulated)


if __name__ == "__main__":
    result = {name: measure(folder) for name, folder in _folders(sys.argv[1:])}
    document = {"command": "python benchmarks/leakage.py DATA CORPUS", "similarity": SAME, "corpora": result}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
