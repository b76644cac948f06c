"""The labelled records of an index: what a classifier learns from, and what its probabilities are measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.errors import InputError
from ragvlm.labelsets import LabelSet, as_label_set
from ragvlm.modalities.metadata import facts_of, value_of
from ragvlm.types import Float32, Int64, Record

if TYPE_CHECKING:
    from ragvlm.index import Index

FOLDS = 5
LEAST = 4  # subjects below which nothing can be held out


class NoLabelsError(InputError):
    """The records of the index don't bear the labels, or too few to learn from."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """n records of ``index`` with a picture and a label.

    ``rows`` int64 (n,): their rows. ``labels``: all classes. ``truth`` int64 (n,): the position of each record's.
    ``groups`` int64 (n,): records of one subject, and those whose pictures have equal pixels, have the same number.
    """

    index: Index = field(repr=False)
    column: str
    labels: tuple[str, ...]
    rows: Int64 = field(repr=False)
    truth: Int64 = field(repr=False)
    groups: Int64 = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def vectors(self) -> Float32:
        """The picture embeddings: float32 (n, image_dim), unit rows; read anew each time."""
        return self.index.image_embeddings(self.rows)

    @property
    def subjects(self) -> int:
        """How many groups there are."""
        return len(np.unique(self.groups))

    def part(self, chosen: Any) -> Labelled:
        """The records that a boolean (n,) or positions choose."""
        return replace(self, rows=self.rows[chosen], truth=self.truth[chosen], groups=self.groups[chosen])

    def split(self, share: float, seed: int) -> tuple[Labelled, Labelled]:
        """The rest, and about ``share`` of the groups, drawn by ``seed``: no subject is in both."""
        folds = self.folds(max(2, round(1 / share)), seed)
        return self.part(folds != 0), self.part(folds == 0)

    def folds(self, n: int, seed: int) -> Int64:
        """The fold of each record, 0 to n - 1: int64 (n,); a group is in one fold.

        Groups are dealt out class by class in an order that ``seed`` draws, so that each fold gets of each class.
        """
        names = self._names()
        first = {int(group): at for at, group in reversed(list(enumerate(self.groups)))}
        order = sorted(first, key=lambda g: (int(self.truth[first[g]]), _draw(seed, names[first[g]])))
        fold = {group: place % n for place, group in enumerate(order)}
        return np.array([fold[int(group)] for group in self.groups], np.int64)

    def _names(self) -> list[str]:
        records = [self.index.records[int(row)] for row in self.rows]
        return [record.subject_id or record.id for record in records]


def labelled(index: Index, labels: str | Path | Sequence[str] | LabelSet) -> Labelled:
    """The records of ``index`` that bear one of ``labels``.

    ``labels``: one label or column of the records, all values of which are then the classes; or the classes themselves
    (words, a file, the name of a label set: see ``ragvlm.labelsets``), in the column that holds most of them, by name
    or id. Raises InputError where no record bears one, and where fewer than two classes or four subjects remain.
    """
    rows = np.asarray(index.image_rows, np.int64)
    records = [index.records[int(row)] for row in rows]
    column, names = _column(index, records, labels)
    found = [names.get(value_of(record, column) or "") for record in records]
    known = np.array([name is not None for name in found], bool)
    chosen = [name for name in found if name is not None]
    classes = tuple(dict.fromkeys(names.values()))
    place = {name: at for at, name in enumerate(classes)}
    kept = [record for record, there in zip(records, known, strict=True) if there]
    groups = _groups(kept, [index.content_hashes[int(row)] for row in rows[known]])
    data = Labelled(index, column, classes, rows[known], np.array([place[n] for n in chosen], np.int64), groups)
    _check(data)
    return data


def column_of(index: Index, labels: Any) -> str | None:
    """The column of the index's pictures that ``labels`` name, as one word; None where it is none."""
    word = labels[0] if isinstance(labels, list | tuple) and len(labels) == 1 else labels
    if not isinstance(word, str):
        return None
    columns = {name for row in index.image_rows for name in facts_of(index.records[int(row)])}
    return next((c for c in (word, f"labels.{word}", f"extra.{word}") if c in columns), None)


def _column(index: Index, records: Sequence[Record], labels: Any) -> tuple[str, dict[str, str]]:
    """The column that holds the labels, and its words -> their labels."""
    if found := column_of(index, labels):
        values = {value for record in records if (value := value_of(record, found)) is not None}
        return found, {value: value for value in sorted(values)}
    columns = list(dict.fromkeys(name for record in records for name in facts_of(record)))
    wanted = as_label_set(labels)
    names = dict(zip(wanted.ids, wanted.names, strict=True)) | {name: name for name in wanted.names}
    held = {c: sum(value_of(record, c) in names for record in records) for c in columns}
    best = max(held, key=lambda c: held[c], default="")
    if not best or not held[best]:
        there = ", ".join(c.removeprefix("labels.").removeprefix("extra.") for c in columns[:8])
        raise NoLabelsError(
            f"index {index.path}: no record bears {', '.join(map(repr, wanted.names[:3]))}: give one of its columns "
            f"({there or 'it has none'}) or their values as --labels"
        )
    return best, names


def _groups(records: Sequence[Record], hashes: Sequence[str | None]) -> Int64:
    """A number for each record, the same for records that a subject or equal pixels tie together: int64 (n,)."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    ties = []
    for place, (record, digest) in enumerate(zip(records, hashes, strict=True)):
        own = f"subject {record.subject_id}" if record.subject_id is not None else f"record {place}"
        ties.append(own)
        parent[root(own)] = root(f"pixels {digest}") if digest else root(own)
    return np.asarray(np.unique([root(own) for own in ties], return_inverse=True)[1], np.int64)


def _check(data: Labelled) -> None:
    where = f"index {data.index.path}"
    there = {data.labels[i] for i in np.unique(data.truth)}
    if len(there) < 2:
        raise NoLabelsError(
            f"{where}: {data.column!r} is {there.pop()!r} in all records that bear a label: give two or more classes"
        )
    if data.subjects < LEAST:
        raise NoLabelsError(
            f"{where}: {data.subjects} subjects have a label; {LEAST} are needed, since some must be held out"
        )


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
