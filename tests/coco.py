"""The frozen captions and what pycocoevalcap scores them (``measures/data/coco_scores.json``)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from ragvlm.measures import Item


@cache
def coco() -> dict[str, Any]:
    """The whole file."""
    return json.loads(
        Path(__file__).with_name("measures").joinpath("data/coco_scores.json").read_text(encoding="utf-8")
    )


def coco_items() -> list[Item]:
    """Its captions as items."""
    return [Item(row["id"], row["id"], row["prediction"], tuple(row["references"])) for row in coco()["items"]]


def items(*pairs: tuple[str, tuple[str, ...] | str], **facts: object) -> list[Item]:
    """Items of (prediction, references); a reference may stand alone."""
    rows = [(text, (refs,) if isinstance(refs, str) else refs) for text, refs in pairs]
    return [Item(str(i), str(i), text, refs, facts=facts) for i, (text, refs) in enumerate(rows)]
