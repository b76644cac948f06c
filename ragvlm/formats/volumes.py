"""Volumes: which of their slices become records, and what these look like.

A volume is a record of its own, whose picture is all chosen slices (``ct.nii.gz#slices=16``: an index pools their
embeddings), and each chosen slice is one that points at it by ``extra["volume"]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ragvlm.errors import ImageError
from ragvlm.locator import Locator
from ragvlm.types import Record

DEFAULT = "16"
AXES = ("axial", "coronal", "sagittal")


def choose(count: int, asked: str) -> list[int]:
    """Positions of slices in a volume of ``count``, ascending.

    ``asked`` is a number ("16": so many, evenly spread, the ends left out; all where there are no more), "all", or
    "every=4" (each fourth, counted so that both ends are equally far). Raises ImageError for anything else.
    """
    number = re.fullmatch(r"(every=)?([1-9]\d{0,5})", asked, re.ASCII)
    if asked == "all":
        return list(range(count))
    if number is None:
        raise ImageError(f"slices={asked}: choose a number, all, or every=K")
    n = int(number[2])
    if number[1]:
        return list(range(((count - 1) % n) // 2, count, n))
    return list(range(count)) if n >= count else [(2 * i + 1) * count // (2 * n) for i in range(n)]


def volume_of(record: Record) -> str:
    """The id of the volume that ``record`` is a slice of; of any other record its own."""
    return str(record.extra.get("volume") or record.id)


def records(
    record: Record,
    count: int,
    options: Mapping[str, Any],
    *,
    whole: Locator,
    place_of: Callable[[int], Locator],
    extra: Mapping[str, Any],
) -> Iterator[Record]:
    """The records of a volume of ``count`` slices: itself at ``whole``, and its chosen slices at ``place_of``.

    A volume without a subject is its own: no slice of it is evidence for another. Raises ImageError for ``slices``.
    """
    asked = str(options.get("slices", DEFAULT))
    chosen = choose(count, asked)
    common = replace(record, subject_id=record.subject_id or record.id, extra={**record.extra, **extra})
    yield replace(
        common, image=str(whole.but(slices=asked)), extra={**common.extra, "slices": count, "slices_taken": len(chosen)}
    )
    width = len(str(count - 1))
    for n in chosen:
        yield replace(
            common,
            id=f"{record.id}/slice-{n:0{width}d}",
            image=str(place_of(n)),
            extra={**common.extra, "volume": record.id, "slice": n},
        )
