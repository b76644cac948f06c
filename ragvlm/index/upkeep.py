"""Deleting records and merging segments: what changes an index without its corpus."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragvlm.errors import InputError, RagvlmError
from ragvlm.index import scan
from ragvlm.index.build import MERGE_ROWS
from ragvlm.index.checks import check_segments
from ragvlm.index.derived import usable, without
from ragvlm.index.finish import clean, finish, leftovers, tidied
from ragvlm.index.ledger import Ledger, compact
from ragvlm.index.lock import writing
from ragvlm.index.manifest import Manifest, read_manifest
from ragvlm.index.notes import forget_skipped, read_vanished, write_vanished
from ragvlm.index.segments import read_live

if TYPE_CHECKING:
    from ragvlm.index.index import Index

    Calibrate = Callable[[Index], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class UpkeepReport:
    """What is in the index ``path`` now, and the bytes of its files before and after."""

    path: str
    deleted: int
    records: int
    segments: int
    bytes_before: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The object that ``ragvlm index --delete --json`` and ``ragvlm compact --json`` print."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        deleted = f"{self.deleted} deleted, " if self.deleted else ""
        saved = f"{self.bytes_before:,} -> {self.bytes:,} bytes"
        return f"{self.path}: {deleted}{self.records} records in {self.segments} segments, {saved}"


def delete_records(index: Index, ids: Collection[str], calibrate: Calibrate | None, *, wait: bool) -> UpkeepReport:
    """See ``Index.delete``. ``calibrate`` measures the rest anew where the index was calibrated.

    Raises StoreError where another process writes the index, and where it is damaged.
    """
    root = index.path

    def measure(manifest: Manifest) -> Mapping[str, Any]:
        rest = copy(index)
        rest.go_on(manifest)
        return calibrate(rest) if calibrate else {}

    wanted = set(ids)
    if not wanted:
        raise InputError("name at least one record to delete")
    with writing(_index(root), wait=wait), tidied(root):
        old = read_manifest(root)
        check_segments(root, old)
        clean(root, old)
        ledger = Ledger.read(root, old)
        if absent := sorted(wanted - ledger.entries.keys()):
            more = f" (and {len(absent) - 1} more of those given)" if len(absent) > 1 else ""
            raise InputError(f"index {root} has no record {absent[0]!r}{more}: nothing was deleted")
        before, names = _bytes(root, old), wanted | _pictures(root, old, wanted)
        ledger.remove(wanted)
        (root / scan.NAME).unlink(missing_ok=True)
        new = replace(
            old,
            segments=compact(root, old, ledger.entries, limit=0),  # no other segment is touched
            counts=ledger.counts,
            derived=(),  # made from nothing: no store may keep a dead vector
            vanished=write_vanished(root, old, read_vanished(root, old) - wanted),
            skipped=forget_skipped(root, names),
            calibration=old.calibration if ledger.entries else {},
        )
        try:
            done = finish(root, new, derive=True, calibrate=measure if calibrate and new.calibration else None)
        except RagvlmError as error:
            done = read_manifest(root)
            if done.segments == old.segments:
                raise
            logging.getLogger(__name__).warning("deleted, but abstention is not calibrated anew: %s", error)
        return _report(root, done, before, len(wanted))


def compact_index(root: Path, *, rows: int = MERGE_ROWS, wait: bool = False) -> UpkeepReport:
    """Merge neighbouring segments up to ``rows`` records each, and remove what no state of the index needs.

    What the index holds stays the same. Raises InputError for ``rows`` below 1, StoreError as ``delete_records``.
    """
    if rows < 1:
        raise InputError(f"rows is {rows}: give a whole number above 0")
    with writing(_index(root), wait=wait), tidied(root):
        old = read_manifest(root)
        check_segments(root, old)
        before = _bytes(root, old)
        live = Ledger.read(root, old).entries
        # stores with dead vectors are made anew; the others are taken over, since the order of the live rows stays
        kept = without(old, [item.file for item in old.derived if item.kind.endswith("_map")])
        new = replace(old, segments=compact(root, old, live, rows, eager=True), derived=kept)
        return _report(root, finish(root, new, derive=not usable(root, new)), before, 0)


def _index(root: Path) -> Path:
    """``root``, where it is an index: a lock would be left in any other folder. Raises StoreError."""
    read_manifest(root)
    return root


def _pictures(root: Path, manifest: Manifest, ids: Collection[str]) -> set[str]:
    columns = read_live(root, manifest, ["id", "image"]).to_pydict()
    return {image for name, image in zip(columns["id"], columns["image"], strict=True) if name in ids and image}


def _bytes(root: Path, manifest: Manifest) -> int:
    return sum(item.bytes for item in manifest.files) + sum(p.stat().st_size for p in leftovers(root, manifest))


def _report(root: Path, manifest: Manifest, before: int, deleted: int) -> UpkeepReport:
    records, segments = manifest.counts.records, len(manifest.segments)
    return UpkeepReport(str(root), deleted, records, segments, before, _bytes(root, manifest))
