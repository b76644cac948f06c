"""How often text in the border is found: made pictures with and without it, and real ones without.

    python benchmarks/burned_in.py --n 240 --seed 1000 [--out FILE.json] [--folder DIR_WITHOUT_TEXT]

Half of the made pictures hold one to four lines of names, numbers and dates in a corner, in sizes from 9 to 28 pixels.
All hold what could be taken for text: noise, rulers, bright edges, calibration wedges, cells. A picture counts as found
where a box touches a line; a line counts where boxes cover half of it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ragvlm.burnedin import Box, find_text, mask_text
from ragvlm.images import open_image

WORDS = (
    *("DOE JANE", "Miller^Anna", "ID 4711-0815", "1967-03-21", "12:45:08"),
    *("ACC 99231", "St. Mary Hosp", "M 54Y", "kV 120", "R. Patel"),
)


def made(seed: int, text: bool) -> tuple[Image.Image, list[Box]]:
    """A grey picture and the boxes of its lines of text."""
    rng = np.random.default_rng(seed)
    width, height = (int(rng.integers(256, 900)) for _ in range(2))
    y, x = np.mgrid[:height, :width]
    level = rng.choice([0, 15, 60, 235])
    values = np.full((height, width), float(level))
    for _ in range(int(rng.integers(1, 5))):  # bodies
        cx, cy = rng.uniform(0.3, 0.7, 2) * (width, height)
        rx, ry = rng.uniform(0.1, 0.35, 2) * (width, height)
        values[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1] = rng.uniform(30, 230)
    for _ in range(int(rng.integers(0, 60))):  # cells and specks
        cx, cy, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(1.5, 12)
        values[(x - cx) ** 2 + (y - cy) ** 2 < r**2] = rng.uniform(0, 255)
    values += rng.normal(0, rng.uniform(0, 14), values.shape)
    image = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB")
    draw = ImageDraw.Draw(image)
    ink = (240, 240, 240) if level < 128 else (15, 15, 15)
    if rng.random() < 0.5:  # a ruler
        for n, top in enumerate(range(height // 5, 4 * height // 5, max(4, height // 40))):
            draw.line((width - 4 - (14 if n % 5 == 0 else 7), top, width - 4, top), fill=ink)
    if rng.random() < 0.3:  # a wedge of greys
        for n in range(16):
            draw.rectangle((6, height // 3 + 6 * n, 14, height // 3 + 6 * n + 5), fill=(n * 17,) * 3)
    boxes = []
    if text:
        font = ImageFont.load_default(size=int(rng.integers(9, 29)))
        right, low = rng.random(2) < 0.5
        lines = rng.choice(WORDS, int(rng.integers(1, 5)), replace=False)
        for n, words in enumerate(lines):
            left, top, r, bottom = draw.textbbox((0, 0), words, font=font)
            step = n * (bottom + 3)
            at = (width - r - 6 if right else 6, height - bottom - 6 - step if low else 6 + step)
            draw.text(at, words, fill=ink, font=font)
            boxes.append(Box(at[0] + left, at[1] + top, at[0] + r, at[1] + bottom))
    return image, boxes


def covered(box: Box, found: list[Box]) -> float:
    """The share of ``box`` that lies in ``found``."""
    hit = np.zeros((box.bottom - box.top, box.right - box.left), bool)
    for one in found:
        rows = slice(max(0, one.top - box.top), max(0, one.bottom - box.top))
        hit[rows, max(0, one.left - box.left) : max(0, one.right - box.left)] = True
    return float(hit.mean())


def main() -> None:
    """Print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folder", type=Path, action="append", default=[])
    asked = parser.parse_args()
    true = false = missed = clean = lines = lines_found = left = 0
    for n in range(asked.n):
        image, boxes = made(asked.seed + n, text=n % 2 == 0)
        found = find_text(image)
        hit = any(covered(box, found) > 0 for box in boxes)
        true, missed = true + (bool(boxes) and hit), missed + (bool(boxes) and not hit)
        false, clean = false + (not boxes and bool(found)), clean + (not boxes and not found)
        lines, lines_found = lines + len(boxes), lines_found + sum(covered(box, found) >= 0.5 for box in boxes)
        left += bool(boxes) and bool(find_text(mask_text(image)))
    report = {
        "pictures": asked.n,
        "precision": round(true / max(true + false, 1), 3),
        "recall": round(true / max(true + missed, 1), 3),
        "lines": lines,
        "lines_found": round(lines_found / max(lines, 1), 3),
        "false_alarms": false,
        "missed": missed,
        "text_left_after_masking": left,
        "folders": {},
    }
    for folder in asked.folder:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png", ".tif"))[:100]
        alarms = [path.name for path in files if find_text(open_image(path))]
        report["folders"][folder.name] = {"pictures": len(files), "flagged": len(alarms)}
        print(folder, alarms[:20])
    print(json.dumps(report, indent=2))
    if asked.out:
        asked.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
