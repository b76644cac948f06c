"""Which input size, aspect and features of the embedded image tower retrieve best, and what they cost.

    python benchmarks/image_tower.py ../shared/data

Leave-one-out over three collections: micrographs of 14 assays (does the nearest other picture show the same assay;
pictures with equal pixels left out), stained blood smears (mean absolute error of the counts, predicted as the mean
of the five nearest) and radiology (same organ, pictures of the same case left out). Differences are given with 95%
intervals of a paired bootstrap over queries. "guess" predicts every count by the median, without looking.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ragvlm.encoders.embedded import EmbeddedEncoder, ImageTower
from ragvlm.images import open_image, pixel_hash
from ragvlm.types import Float32

RESULTS = Path(__file__).parent / "results" / "image_tower.json"
HEAD, STAGES = ((-1,), 1280), ((7, 10, 14, -1), 1664)
VARIANTS: dict[str, tuple[int, str, tuple[tuple[int, ...], int]]] = {
    "224 squash, head": (224, "squash", HEAD),
    "224 letterbox, head": (224, "letterbox", HEAD),
    "224 centre crop, head": (224, "crop", HEAD),
    "256 squash, head": (256, "squash", HEAD),
    "288 squash, head": (288, "squash", HEAD),
    "320 squash, head": (320, "squash", HEAD),
    "224 squash, stage 6 alone": (224, "squash", ((14,), 192)),
    "224 squash, stages 4-6 + head": (224, "squash", STAGES),
    "224 letterbox, stages 4-6 + head": (224, "letterbox", STAGES),
    "256 squash, stages 4-6 + head": (256, "squash", STAGES),
    "320 squash, stages 4-6 + head": (320, "squash", STAGES),
}
COUNTS = ("rbc", "wbc", "platelets")


class Collection:
    """The pictures of a folder with their rows of metadata."""

    def __init__(self, folder: Path) -> None:
        lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self.images = [open_image(folder / row["file_name"]) for row in self.rows]

    def column(self, name: str) -> np.ndarray:
        """One value a picture."""
        return np.array([row[name] for row in self.rows])


def shaped(image: Image.Image, mode: str) -> Image.Image:
    """A square picture: padded with black, or cut from the middle; "squash" leaves that to the tower."""
    if mode == "letterbox":
        side = max(image.size)
        return ImageOps.pad(image, (side, side), color="black")
    if mode == "crop":
        side = min(image.size)
        return ImageOps.fit(image, (side, side))
    return image


def encode(encoder: EmbeddedEncoder, data: Collection, mode: str) -> tuple[Float32, float]:
    """The vectors, and CPU milliseconds a picture (resizing and model; decoding left out)."""
    images = [shaped(image, mode) for image in data.images]
    encoder.encode_images(images[:1])
    start = resource.getrusage(resource.RUSAGE_SELF)
    vectors = encoder.encode_images(images)
    end = resource.getrusage(resource.RUSAGE_SELF)
    seconds = end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime
    return vectors, 1000 * seconds / len(images)


def retrieval(vectors: Float32, labels: np.ndarray, banned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hit@1 and average precision of each query that has a fellow of its label among what isn't banned."""
    hits, precisions = [], []
    scores = vectors @ vectors.T
    for query in range(len(labels)):
        order = np.argsort(-scores[query], kind="stable")
        relevant = (labels == labels[query])[order[~banned[query][order]]]
        if relevant.any():
            hits.append(relevant[0])
            precisions.append((np.cumsum(relevant) / np.arange(1, len(relevant) + 1))[relevant].mean())
    return np.array(hits, dtype=float), np.array(precisions)


def count_errors(vectors: Float32, counts: np.ndarray, k: int = 5) -> np.ndarray:
    """Absolute error of each picture's count, predicted as the mean of its ``k`` nearest others."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.abs(counts[nearest].mean(axis=1) - counts)


def measure(tower: ImageTower, mode: str, data: dict[str, Collection]) -> tuple[dict[str, np.ndarray], float]:
    """The values of every query, by measure, and the CPU milliseconds a smear."""
    encoder = EmbeddedEncoder(image_tower=tower)
    assays, smears, organs = (data[name] for name in ("cell-assays", "blood-cells", "vqa-rad"))
    values = {}
    hashes = np.array([pixel_hash(image) for image in assays.images])
    vectors, _ = encode(encoder, assays, mode)
    equal = hashes[:, None] == hashes[None]
    values["assay Hit@1"], values["assay mAP"] = retrieval(vectors, assays.column("assay"), equal)
    vectors, _ = encode(encoder, organs, mode)
    case = organs.column("subject_id")
    found = retrieval(vectors, organs.column("organ"), case[:, None] == case[None])
    values["organ Hit@1"], values["organ mAP"] = found
    vectors, cost = encode(encoder, smears, mode)
    for name in COUNTS:
        values[f"{name} MAE"] = count_errors(vectors, smears.column(name))
    return values, cost


def interval(differences: np.ndarray) -> list[float]:
    """Mean and 95% percentile interval of a paired bootstrap with 2000 draws."""
    draws = np.random.default_rng(0).choice(differences, (2000, len(differences))).mean(axis=1)
    return [round(float(value), 3) for value in (differences.mean(), *np.percentile(draws, [2.5, 97.5]))]


def main() -> None:
    """Measure all variants, print a table, write benchmarks/results/image_tower.json."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("data", type=Path, help="the folder with cell-assays, blood-cells and vqa-rad")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the JSON file to write")
    options = parser.parse_args()
    data = {name: Collection(options.data / name) for name in ("cell-assays", "blood-cells", "vqa-rad")}
    table: dict[str, dict[str, Any]] = {}
    base: dict[str, np.ndarray] = {}
    for variant, (size, mode, (stages, dim)) in VARIANTS.items():
        values, cost = measure(ImageTower(size=size, stages=stages, dim=dim), mode, data)
        base = base or values
        table[variant] = {name: round(float(value.mean()), 3) for name, value in values.items()}
        table[variant]["CPU ms"] = round(cost, 1)
        table[variant]["minus the first"] = {name: interval(value - base[name]) for name, value in values.items()}
        print(f"{variant:34}", *(f"{k} {v:.3f}" for k, v in table[variant].items() if isinstance(v, float)), sep="  ")
    smears = data["blood-cells"]
    guess = {f"{c} MAE": float(np.abs(smears.column(c) - np.median(smears.column(c))).mean()) for c in COUNTS}
    table["guess"] = {name: round(value, 3) for name, value in guess.items()}
    print("guess", table["guess"])
    sizes = {name: len(collection.rows) for name, collection in data.items()}
    report = {"command": "python benchmarks/image_tower.py DATA", "pictures": sizes, "results": table}
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    import os

    with tempfile.TemporaryDirectory() as folder:  # eleven exports don't belong in the user's cache
        os.environ["RAGVLM_CACHE"] = folder
        main()
