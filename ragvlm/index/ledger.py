"""What an index holds while it is written: hashes by id, the counts of the manifest, and compaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ragvlm.index.checks import check_digest
from ragvlm.index.manifest import Counts, Manifest, Segment
from ragvlm.index.segments import Mask, Row, keep, live_masks, read_live, read_segment, write_table

_COLUMNS = ("id", "row_hash", "image", "caption", "source", "licence")


class _Entry(NamedTuple):
    row_hash: str
    picture: bool
    caption: bool
    source: str
    licence: str


class Ledger:
    """The live records by id."""

    def __init__(self) -> None:
        self.entries: dict[str, _Entry] = {}
        self._totals: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()
        self._licences: Counter[str] = Counter()

    @classmethod
    def read(cls, root: Path, manifest: Manifest) -> Ledger:
        """The ledger of what is committed in ``manifest``."""
        ledger = cls()
        columns = read_live(root, manifest, _COLUMNS).to_pydict()
        for name, digest, image, caption, source, licence in zip(*(columns[c] for c in _COLUMNS), strict=True):
            ledger._add(name, _Entry(digest, image is not None, caption is not None, source or "", licence or ""))
        return ledger

    @property
    def known(self) -> dict[str, str]:
        """Row hashes by id, a copy."""
        return {name: entry.row_hash for name, entry in self.entries.items()}

    @property
    def counts(self) -> Counts:
        """The counts of the live records."""
        return Counts(
            records=len(self.entries),
            pictures=self._totals["pictures"],
            captions=self._totals["captions"],
            sources={name: self._sources[name] for name in sorted(+self._sources)},
            licences={name: self._licences[name] for name in sorted(+self._licences)},
        )

    def add(self, row: Row) -> None:
        """Enter a row; it supersedes the one of the same id."""
        record = row.record
        picture, caption = record.image is not None, record.caption is not None
        self._add(record.id, _Entry(row.row_hash, picture, caption, record.source or "", record.licence or ""))

    def remove(self, names: Iterable[str]) -> None:
        """Strike out ids."""
        for name in names:
            self._count(self.entries.pop(name), -1)

    def _add(self, name: str, entry: _Entry) -> None:
        if name in self.entries:
            self.remove([name])
        self.entries[name] = entry
        self._count(entry, 1)

    def _count(self, entry: _Entry, sign: int) -> None:
        self._totals["pictures"] += sign * entry.picture
        self._totals["captions"] += sign * entry.caption
        self._sources[entry.source] += sign
        self._licences[entry.licence] += sign


@dataclass(frozen=True, slots=True)
class _Part:
    segment: Segment
    mask: Mask

    @property
    def rows(self) -> int:
        return int(self.mask.sum())


def compact(
    root: Path, manifest: Manifest, live: Container[str], limit: int, *, eager: bool = False
) -> tuple[Segment, ...]:
    """Segments without superseded rows and without ids that aren't ``live``: what is removed leaves the disk.

    Neighbours that together have at most ``limit`` rows become one: all of them where ``eager``, else those of like
    size, so that many small updates neither leave many small files nor rewrite a large one each time (a row is
    rewritten about log2(limit) times in all). Untouched segments stay the files they are; nothing is removed here.
    Raises StoreError where a segment that is to be rewritten differs from its checksum.
    """
    import pyarrow as pa

    number = manifest.next_segment
    out: list[Segment] = []
    for group in _groups(_parts(root, manifest, live), limit, eager):
        if len(group) == 1 and group[0].mask.all():
            out.append(group[0].segment)
            continue
        for part in group:
            check_digest(root, part.segment)  # damage must not get a checksum that says it is whole
        tables = [keep(read_segment(root, part.segment), part.mask) for part in group]
        out.append(write_table(root, number, pa.concat_tables(tables).combine_chunks()))
        number += 1
    return tuple(out)


def _parts(root: Path, manifest: Manifest, live: Container[str]) -> Iterator[_Part]:
    for segment, mask in zip(manifest.segments, live_masks(root, manifest), strict=True):
        names = read_segment(root, segment, ["id"])["id"].to_pylist()
        part = _Part(segment, mask & np.array([name in live for name in names], bool))
        if part.rows:
            yield part


def _groups(parts: Iterable[_Part], limit: int, eager: bool) -> list[list[_Part]]:
    groups: list[list[_Part]] = []
    sizes: list[int] = []
    for part in parts:
        groups.append([part])
        sizes.append(part.rows)
        while len(sizes) > 1 and sum(sizes[-2:]) <= limit and (eager or sizes[-2] < 2 * sizes[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
            sizes[-2:] = [sum(sizes[-2:])]
    return groups
