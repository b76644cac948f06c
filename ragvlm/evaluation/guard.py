"""The leakage guard of a run: queries that the index gives away are listed, and left out or loudly kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ragvlm.evaluation.bench import Bench
from ragvlm.evaluation.leakage import SUBJECT, Leak, find_leaks
from ragvlm.types import Query


def look(bench: Bench, *, keep: bool, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """What leakage.json holds. What is hidden from a query anyway isn't one of its leaks.

    Nothing is looked for where the paired caption or picture is there to be found.
    """
    hidden = {record.id: bench.options(record).exclude_ids for record in bench.records}
    ids = [record.id for record in bench.index.records]
    asked = () if bench.own == "wanted" else bench.records
    queries = (Query(record.id, bench.image(record), subject_id=record.subject_id) for record in asked)
    found = find_leaks(queries, bench.index, eligible=lambda name, row: ids[row] not in hidden[name], progress=progress)
    # a suite that keeps a query's own subject asks for just that; a copy elsewhere was meant by nobody
    copies = list(dict.fromkeys(leak.id for leak in found.leaks if not _own(leak)))
    excluded = [] if keep else copies
    kept = len(found.ids) - len(excluded)
    return {"own_subject": bench.own, "kept": kept, "excluded": excluded, **found.to_dict()}


def _own(leak: Leak) -> bool:
    return leak.kind == SUBJECT or leak.reference_id == leak.id
