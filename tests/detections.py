"""Boxes found and right ones, made up from a seed; run as a script, what pycocotools says of them.

`pip install pycocotools==2.0.11`, then `python tests/detections.py` prints the figures that
`tests/measures/test_detection.py` holds ours against.
"""

from __future__ import annotations

import contextlib
import io
import random
from typing import Any

LABELS = ("WBC", "RBC", "Platelets")
PICTURES = 40


def pictures(seed: int = 0) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Of each picture the found boxes (with score) and the right ones; all scores differ."""
    draw = random.Random(seed)
    out = []
    for _ in range(PICTURES):
        right = [_box(draw, draw.choice(LABELS)) for _ in range(draw.randint(0, 8))]
        found = [_moved(draw, box) for box in right for _ in range(draw.choice((0, 1, 1, 2)))]
        found += [_box(draw, draw.choice(LABELS)) for _ in range(draw.randint(0, 3))]
        out.append(([{**box, "score": draw.random()} for box in found], right))
    return out


def _box(draw: random.Random, label: str) -> dict[str, Any]:
    x, y = draw.randint(0, 500), draw.randint(0, 400)
    return {"label": label, "bbox": [x, y, x + draw.randint(20, 140), y + draw.randint(20, 80)]}


def _moved(draw: random.Random, box: dict[str, Any]) -> dict[str, Any]:
    reach = draw.choice((1, 5, 12))
    xmin, ymin, xmax, ymax = (edge + draw.randint(-reach, reach) for edge in box["bbox"])
    label = box["label"] if draw.random() < 0.9 else draw.choice(LABELS)
    return {"label": label, "bbox": [xmin, ymin, max(xmax, xmin + 1), max(ymax, ymin + 1)]}


def _coco(seed: int) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found, right = [], []
    for number, sides in enumerate(pictures(seed), start=1):
        for side, boxes in zip((found, right), sides, strict=True):
            for box in boxes:
                xmin, ymin, xmax, ymax = box["bbox"]
                size = {"bbox": [xmin, ymin, xmax - xmin, ymax - ymin], "area": (xmax - xmin) * (ymax - ymin)}
                name = {"id": len(side) + 1, "image_id": number, "category_id": LABELS.index(box["label"]) + 1}
                side.append({**size, **name, "iscrowd": 0, "score": box.get("score", 0)})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i + 1} for i in range(PICTURES)],
            "categories": [{"id": i + 1, "name": label} for i, label in enumerate(LABELS)],
            "annotations": right,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats[:3]]


if __name__ == "__main__":
    for seed in (0, 1, 2):
        print(seed, *_coco(seed))  # mAP@[.5:.95], mAP@0.5, mAP@0.75
