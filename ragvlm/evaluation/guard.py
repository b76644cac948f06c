"""The leakage guard of a run: queries whose answer the index gives away are listed, and left out or loudly kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ragvlm.duplicates import duplicates_of
from ragvlm.evaluation.bench import Bench
from ragvlm.types import Query, Record

SUBJECT = "subject"


@dataclass(frozen=True, slots=True)
class Leak:
    """The query ``id`` shares with the record ``reference_id`` of the index its "subject", or its picture ("exact" by
    equal pixels, "near" as an altered copy)."""

    id: str
    reference_id: str
    kind: str


def find_leaks(bench: Bench, progress: Callable[[int, int], None] | None = None) -> list[Leak]:
    """The leaks of all records asked about, in their order. What is hidden from a query isn't one of its leaks."""
    found = []
    for done, record in enumerate(bench.records, 1):
        found += _leaks_of(bench, record)
        if progress:
            progress(done, len(bench.records))
    return found


def leakage(bench: Bench, leaks: list[Leak], keep: bool) -> dict[str, Any]:
    """leakage.json."""
    ids = list(dict.fromkeys(leak.id for leak in leaks))
    # a suite that keeps a query's own subject asks for just that; a copy elsewhere was meant by nobody
    copies = list(dict.fromkeys(leak.id for leak in leaks if leak.kind != SUBJECT))
    excluded = [] if keep else copies
    return {
        "own_subject": bench.own,
        "queries": len(bench.records),
        "leaking": len(ids),
        "kept": len(ids) - len(excluded),
        "excluded": excluded,
        "leaks": [{"id": leak.id, "reference_id": leak.reference_id, "kind": leak.kind} for leak in leaks],
    }


def _leaks_of(bench: Bench, record: Record) -> list[Leak]:
    may = bench.eligible(record)
    own = {record.id, *bench.of_subject(record)} & bench.rows.keys() if bench.own == "keep" else set()
    found = dict.fromkeys(sorted(own), SUBJECT)
    image = bench.image(record)
    vector = bench.index.encoder.encode_images([image])[0]
    for row, kind in sorted(duplicates_of(bench.index, Query(record.id, image), vector).items()):
        if may(row):
            found.setdefault(bench.index.records[row].id, kind)
    return [Leak(record.id, reference, kind) for reference, kind in found.items()]
