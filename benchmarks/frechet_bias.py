"""How much of a Fréchet distance is bias: two random halves of one set of pictures, at several sizes.

    python benchmarks/frechet_bias.py FOLDER [FOLDER ...]

Both halves come from one source, so that the true distance is 0. For each folder and each size the mean over
DRAWS halves is given, of the Fréchet distance and of the kernel distance, which is unbiased; beside them, for scale,
the distances of the whole set from itself blurred (Gaussian, radius 2 pixels).
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageFilter

from ragvlm.images import open_image
from ragvlm.measures.base import Item
from ragvlm.measures.features import features
from ragvlm.measures.pictures import FrechetDistance, KernelDistance, frechet_distance, kernel_distance

RESULTS = Path(__file__).parent / "results" / "frechet_bias.json"
SIZES = (10, 25, 50, 100, 150, 200)
DRAWS = 20
SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}


def halves_of(vectors: Any, size: int) -> dict[str, float]:
    """Both distances between two halves of ``size`` pictures each."""
    draws = [np.random.default_rng([0, i]).permutation(len(vectors))[: 2 * size] for i in range(DRAWS)]
    pairs = [(vectors[draw[:size]], vectors[draw[size:]]) for draw in draws]
    frechet, kernel = ([measure(a, b) for a, b in pairs] for measure in (frechet_distance, kernel_distance))
    return {
        "frechet": round(float(np.mean(frechet)), 5),
        "kernel": round(float(np.mean(kernel)), 5),
        "kernel_sd": round(float(np.std(kernel)), 5),
    }


def run(folder: Path) -> dict[str, Any]:
    """The figures of one folder."""
    pictures = [open_image(path) for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    vectors = features("embedded").vectors(pictures)
    blurred = [picture.filter(ImageFilter.GaussianBlur(2)) for picture in pictures]
    items = [Item(str(i), str(i), a, b) for i, (a, b) in enumerate(zip(blurred, pictures, strict=True))]
    return {
        "pictures": len(pictures),
        "halves": {str(n): halves_of(vectors, n) for n in SIZES if 2 * n <= len(pictures)},
        "blurred": {
            "frechet": round(FrechetDistance().statistics(items).value, 5),
            "kernel": round(KernelDistance().statistics(items).value, 5),
        },
    }


def main() -> None:
    """Run, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    found = {folder.name: run(folder) for folder in parser.parse_args().folders}
    told = {"encoder": features("embedded").source, "numpy": version("numpy"), "draws": DRAWS, "folders": found}
    RESULTS.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
