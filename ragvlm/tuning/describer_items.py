"""What the embedded describer learns from: pictures seen once, their neighbours, and one item a caption or question."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.duplicates import duplicates_of
from ragvlm.errors import ImageError, InputError
from ragvlm.evaluation.split import subject_of
from ragvlm.generators.smallcap.features import PictureFeatures, Seen
from ragvlm.generators.smallcap.layout import answered
from ragvlm.images import open_image
from ragvlm.index import Index
from ragvlm.paths import atomic_path, cache_dir
from ragvlm.readers.questions import answer_of
from ragvlm.types import Int64, Query, Record

REACH = 64
"""Neighbours that are kept of each picture; those of another part of the split are passed over."""
NOBODY, WRONG, BLIND = 0.15, 0.15, 0.1
"""Shares of the training items that see no neighbours, those of somebody else, and no picture."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """The records of an index whose pictures can be read, what the tower sees, and each one's neighbours.

    ``near`` holds places in ``records``, int64 (n, up to REACH), the nearest first and -1 where there are no more:
    none of the record's own subject, and none that shows the same picture.
    """

    records: tuple[Record, ...] = field(repr=False)
    seen: Seen = field(repr=False)
    near: Int64 = field(repr=False)


def look(index: Index, features: PictureFeatures, progress: Callable[[int, int], None] | None = None) -> Pictures:
    """Look at all pictures of ``index``, once: the features are kept in the cache, by what the index holds.

    Pictures that can't be read are left out. Raises InputError where there is none.
    """
    key = hashlib.sha256(f"{index.fingerprint} {features.fingerprint} {REACH}".encode()).hexdigest()
    file = cache_dir() / "describer" / f"{key[:32]}.safetensors"
    found = _kept(file)
    if found is None:
        found = _looked(index, features, progress)
        _keep(file, found)
    rows = found["rows"].astype(np.int64)
    if not len(rows):
        raise InputError(f"index {index.path}: no picture can be read: index the corpus where its pictures are")
    seen = Seen(found["cells"].astype(np.float32), found["whole"].astype(np.float32))
    return Pictures(tuple(index.records[int(row)] for row in rows), seen, found["near"].astype(np.int64))


def _looked(index: Index, features: PictureFeatures, progress: Callable[[int, int], None] | None) -> dict[str, Any]:
    rows, parts, twins = [], [], []
    for row, record in enumerate(index.records):
        if progress:
            progress(row, len(index))
        path = index.image_path(record)
        try:
            image = open_image(path) if path else None
        except ImageError:
            image = None
        vector = index.image_embeddings([row])[0]
        if image is None or not np.isfinite(vector).all():
            continue
        rows.append(row)
        parts.append(features([image]))
        twins.append(set(duplicates_of(index, Query(record.id, image), vector)))
    if not rows:
        return {"rows": np.zeros(0, np.int32)}
    vectors = index.image_embeddings(rows)
    subjects = [subject_of(index.records[row]) for row in rows]
    near = np.full((len(rows), min(REACH, len(rows))), -1, np.int32)
    for i, row in enumerate(rows):
        order = np.argsort(-np.round(vectors @ vectors[i], 6), kind="stable")
        own = [j for j in order if subjects[j] != subjects[i] and rows[j] != row and rows[j] not in twins[i]]
        near[i, : len(own[:REACH])] = own[:REACH]
    cells, whole = (np.concatenate([getattr(part, name) for part in parts]) for name in ("cells", "whole"))
    small = {"cells": cells.astype(np.float16), "whole": whole.astype(np.float16)}
    return {"rows": np.array(rows, np.int32), "near": near, **small}


def _kept(file: Path) -> dict[str, Any] | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(file)) if file.is_file() else None
    except (SafetensorError, OSError, ValueError):  # torn: it is made again
        return None


def _keep(file: Path, tensors: dict[str, Any]) -> None:
    from safetensors.numpy import save_file

    with atomic_path(file) as temporary:
        save_file(tensors, temporary)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One thing to learn: ``text`` is the description, or the answer to ``question``; ``picture`` its place."""

    picture: int
    text: str
    question: str = ""


def lessons_of(pictures: Pictures, places: Sequence[int]) -> list[Lesson]:
    """Captions and answered questions of the pictures at ``places``.

    A caption that a suite of questions made of them is none to learn from.
    """
    found = []
    for place in places:
        record = pictures.records[place]
        asked = answered(record)
        caption = " ".join((record.caption or "").split())
        if caption and not (asked and str(asked[0]["question"]) in caption):
            found.append(Lesson(place, caption))
        found += [
            Lesson(place, *(" ".join(text.split()) for text in (answer_of(row), str(row["question"])))) for row in asked
        ]
    return found


@dataclass(frozen=True, slots=True)
class Told:
    """Whom an item's references come from (places), and whether it sees the picture."""

    neighbours: tuple[int, ...]
    sighted: bool = True


def tell(pictures: Pictures, lesson: Lesson, allowed: Any, dice: Any, count: int) -> Told:
    """What a training item is told in one epoch; ``allowed`` (n,) says which pictures may be neighbours.

    Without ``dice`` (a numpy Generator): its neighbours and its picture.
    """
    near = neighbours(pictures, lesson.picture, allowed)
    if dice is None:
        return Told(near[:count])
    chance, blind = dice.random(2)
    if chance < NOBODY:
        return Told(())
    if chance < NOBODY + WRONG:
        own = subject_of(pictures.records[lesson.picture])
        others = [j for j in np.flatnonzero(allowed) if subject_of(pictures.records[j]) != own]
        return Told(tuple(int(j) for j in dice.permutation(others)[:count]))
    return Told(near[:count], bool(blind >= BLIND))


def neighbours(pictures: Pictures, place: int, allowed: Any) -> tuple[int, ...]:
    """The nearest pictures that may be told of, the nearest first."""
    return tuple(int(j) for j in pictures.near[place] if j >= 0 and allowed[j])
