"""What readers give, where every row counts."""

from __future__ import annotations

from collections.abc import Iterable

from ragvlm.errors import CorpusError
from ragvlm.types import Record, Skipped


def strictly(found: Iterable[Record | Skipped]) -> list[Record]:
    """All records; CorpusError for the first that was skipped."""
    records = []
    for item in found:
        if isinstance(item, Skipped):
            raise CorpusError(f"{item.item}: {item.reason}")
        records.append(item)
    return records
