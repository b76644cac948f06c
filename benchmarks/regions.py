"""What a run of a ground suite says label by label: F1 at IoU 0.5, and counts beside simple guesses.

    ragvlm eval eval/blood-cells-ground.toml
    python benchmarks/regions.py eval/runs/blood-cells-ground

Prints JSON: for each label the boxes asked about, precision, recall and F1 of the regions, and the mean absolute error
of the count of ``neighbours`` (regions drawn), of its expected count, of the nearest picture's boxes, and of guessing
for every picture the mean (rounded) or the median count of the index's side. Brackets are 95 % intervals, pictures
resampled (2,000).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.index import Index
from ragvlm.measures.base import Item
from ragvlm.measures.detection import Matched
from ragvlm.regions.records import boxes_of


def main(folder: Path) -> None:
    """Read the run in ``folder`` and print."""
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    right = {row["id"]: row for row in map(json.loads, (folder / "references.jsonl").read_text().splitlines())}
    own = {row["id"]: row for row in rows if row["system"] == "neighbours"}
    near = {row["id"]: row for row in rows if row["system"] == "nearest boxes"}
    ids = sorted(own)
    counted = _known(folder)
    print(json.dumps({label: _label(label, ids, own, near, right, counted[label]) for label in counted}, indent=1))


def _known(folder: Path) -> dict[str, np.ndarray]:
    """Label -> its boxes in each picture of the index's side."""
    config = json.loads((folder / "config.json").read_text())
    path = folder / "index" if (folder / "index").is_dir() else Path(sys.argv[2])
    if Index.open(path).fingerprint != config["index"]["fingerprint"]:
        sys.exit("give the run's own index as the second argument")
    told = [[label for label, _ in boxes_of(record)] for record in Index.open(path).records]
    return {label: np.array([of.count(label) for of in told]) for label in sorted({n for of in told for n in of})}


def _label(label: str, ids: list[str], own: Any, near: Any, right: Any, counted: np.ndarray) -> dict[str, Any]:
    def boxes(row: dict[str, Any]) -> list[dict[str, Any]]:
        told = row.get("prediction", row.get("references"))
        return [box for box in told if box["label"] == label]

    truth = np.array([len(boxes(right[i])) for i in ids])
    items = [Item(i, i, boxes(own[i]), boxes(right[i])) for i in ids]
    matched = {kind: Matched(kind).statistics(items) for kind in ("Precision", "Recall", "F1")}
    guesses = {
        "regions": np.array([len(boxes(own[i])) for i in ids]),
        "expected": np.round([own[i]["expected"][label] for i in ids]),
        "nearest picture": np.array([len(boxes(near[i])) for i in ids]),
        "mean": np.full(len(ids), np.round(counted.mean())),
        "median": np.full(len(ids), np.median(counted)),
    }
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(ids), (2000, len(ids)))
    f1 = matched["F1"]
    spread = np.quantile([f1.reduce(f1.rows[draw]) for draw in draws], (0.025, 0.975))
    out: dict[str, Any] = {"pictures": len(ids), "boxes": int(truth.sum())}
    out |= {kind: round(float(of.reduce(of.rows)), 3) for kind, of in matched.items()}
    out["F1 interval"] = [round(float(v), 3) for v in spread]
    for name, guess in guesses.items():
        errors = np.abs(guess - truth)
        low, high = np.quantile(errors[draws].mean(axis=1), (0.025, 0.975))
        out[f"count error, {name}"] = [round(float(v), 2) for v in (errors.mean(), low, high)]
    return out


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
