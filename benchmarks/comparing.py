"""Are the counts that compare-images calls different really different, and the right way round?

    python benchmarks/comparing.py SHARED_DATA WORK_FOLDER

SHARED_DATA holds blood-cells, whose smears were counted. WORK_FOLDER keeps the index. PAIRS pairs of smears are drawn
by hash; each is compared by the neighbours of both, neither being among them. Of each pair and kind of cell: is a
difference claimed, and does the picture that is said to have more have more? The baseline claims a difference wherever
the nearest neighbours' counts differ.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import ragvlm as rv
from ragvlm.describe import Describer
from ragvlm.images import open_image
from ragvlm.language.facts import facts_of
from ragvlm.tasks.compare_images import compare_images
from ragvlm.types import Query

RESULTS = Path(__file__).parent / "results" / "comparing.json"
PAIRS, SEED = 150, 0
KINDS = {"white blood cells": "wbc", "red blood cells": "rbc", "platelets": "platelets"}


def pairs(index: rv.Index) -> list[tuple[rv.Record, rv.Record]]:
    """PAIRS pairs of different records, no record in two of them."""
    drawn = sorted(index.records, key=lambda record: hashlib.sha256(f"{SEED}:{record.id}".encode()).digest())
    return list(zip(drawn[0 : 2 * PAIRS : 2], drawn[1 : 2 * PAIRS : 2], strict=False))


def number(text: str | None) -> float:
    """The count that a finding states."""
    return next((q.low for q in facts_of(text or "").quantities), 0.0)


def claims(index: rv.Index) -> list[dict[str, Any]]:
    """What is claimed of each pair and kind: the sign of first minus second, 0 for nothing, and the truth."""
    describer = Describer(index, k=5, alpha=0)
    rows = []
    for a, b in pairs(index):
        describer.search = replace(describer.search, exclude_ids=frozenset({a.id, b.id}))
        found = compare_images(describer, *(Query(r.id, open_image(index.image_path(r))) for r in (a, b)))
        said = {d.name: (np.sign(number(d.a) - number(d.b)), d.confidence) for d in found.differences}
        nearest = [d.context.hits[0].record for d in (found.a, found.b)]
        for name, column in KINDS.items():
            sign, confidence = said.get(name, (0, 0.0))
            truth, near = (np.sign(x.extra[column] - y.extra[column]) for x, y in ((a, b), nearest))
            rows.append(
                {
                    "kind": name,
                    "claimed": int(sign),
                    "confidence": round(float(confidence), 4),
                    "nearest": int(near),
                    "truth": int(truth),
                }
            )
    return rows


def shares(rows: list[dict[str, Any]], of: str) -> dict[str, float | int]:
    """How many claims there are, and the shares of them that are right and that are the wrong way round."""
    made = [row for row in rows if row[of]]
    right = [row[of] == row["truth"] for row in made]
    wrong = [row[of] == -row["truth"] for row in made]
    parts = {"right": right, "reversed": wrong} if made else {}
    return {"pairs": len(rows), "claims": len(made)} | {k: round(float(np.mean(v)), 4) for k, v in parts.items()}


def main() -> None:
    """Measure, print and keep."""
    data, work = Path(sys.argv[1]), Path(sys.argv[2])
    rows = claims(rv.Index.build(data / "blood-cells", work / "blood-cells", hash_subject=False))
    sure = [row | {"claimed": row["claimed"] * (row["confidence"] >= 0.8)} for row in rows]
    found: dict[str, Any] = {}
    for kind in (*KINDS, "all"):
        own = [row for row in rows if kind in (row["kind"], "all")]
        found[kind] = {
            "compare-images": shares(own, "claimed"),
            "confidence from 0.8": shares([row for row in sure if kind in (row["kind"], "all")], "claimed"),
            "nearest neighbours": shares(own, "nearest"),
        }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
