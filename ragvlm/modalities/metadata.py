"""How alike two records are by what is known of them: a general similarity of mixed columns.

Gower, Biometrics 1971, doi 10.2307/2528823: each column gives a similarity in [0, 1] by its type, and those known of
both are averaged.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ragvlm.errors import InputError
from ragvlm.filters import as_word
from ragvlm.types import Float32, Record

RESERVED = frozenset({"regions", "region", "mask", "boxes", "bbox", "volume", "channels", "split", "row", "width",
                      "height", "questions", "pixel_size_um", "slide_size"})  # fmt: skip
"""Columns of ``extra`` that say where a picture lies or how it was made, not what it shows."""
_MOST_DISTINCT = 0.5  # a word that is another in more than half of the records is a name
_NUMBER = r"\d+(?:\.\d+)?"
_BAND = re.compile(rf"\s*(?:({_NUMBER})\s*(?:-|–|to)\s*({_NUMBER})|([<>]=?|≥|≤)\s*({_NUMBER})|({_NUMBER})\s*\+)\s*")


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``kind``: "number" (1 - distance / spread; bands such as "40-49", "<18", "80+" count as their
    middle), "set" (shared / all items) or "word" (equal or not). ``spread`` is the largest distance in the corpus."""

    name: str
    kind: str
    spread: float = 0.0


class MetadataSpace:
    """The metadata of ``records``, ready to be compared with. Columns with one value, and words that name almost every
    record by itself, are left out; so are those in ``without``.
    """

    def __init__(self, records: Sequence[Record], without: Collection[str] = ()) -> None:
        rows = [facts_of(record) for record in records]
        names = sorted({name for row in rows for name in row} - set(without))
        values = {name: [row.get(name) for row in rows] for name in names}
        found = {name: column for name in names if (column := _column(name, values[name])) is not None}
        self.columns = tuple(found.values())
        self._values = {name: values[name] for name in found}
        self._numbers = {
            name: np.array([_number(v) for v in values[name]]) for name, c in found.items() if c.kind == "number"
        }
        self.rows = len(rows)

    def resolve(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """A query's metadata with every name as the columns are called: NAME alone is a label, else a column of extra.

        Raises InputError for a name that no record has.
        """
        known = {column.name for column in self.columns}
        found = {}
        for name, value in metadata.items():
            full = next((n for n in (name, f"labels.{name}", f"extra.{name}") if n in known), None)
            if full is None:
                raise InputError(f"metadata: no column {name!r} can be compared: there are {', '.join(sorted(known))}")
            found[full] = value
        return found

    def similarity(self, facts: Mapping[str, Any]) -> Float32:
        """How alike each record is to ``facts`` (qualified names): float32 (n,) in [0, 1]; 0 where nothing is known of
        both."""
        total, known = np.zeros(self.rows), np.zeros(self.rows)
        for column in self.columns:
            value = facts.get(column.name)
            if value is None:
                continue
            alike = self._alike(column, value)
            there = ~np.isnan(alike)
            total[there] += alike[there]
            known += there
        return np.divide(total, known, out=np.zeros(self.rows), where=known > 0).astype(np.float32)

    def _alike(self, column: Column, value: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        others = self._values[column.name]
        if column.kind == "number":
            own = _number(value)
            return np.clip(1 - np.abs(self._numbers[column.name] - own) / column.spread, 0, 1)
        if column.kind == "set":
            own_items = _items(value)
            return np.array([_overlap(own_items, _items(v)) if v is not None else np.nan for v in others])
        word = as_word(value)
        return np.array([np.nan if v is None else float(as_word(v) == word) for v in others])


def facts_of(record: Record) -> dict[str, Any]:
    """What is known of a record, by qualified name: "modality", "labels.NAME", "extra.NAME"."""
    facts: dict[str, Any] = {} if record.modality is None else {"modality": record.modality}
    facts |= {f"labels.{name}": value for name, value in record.labels.items()}
    facts |= {f"extra.{name}": value for name, value in record.extra.items() if name not in RESERVED}
    return {name: value for name, value in facts.items() if _usable(value)}


def value_of(record: Record, name: str) -> str | None:
    """The label NAME, else the column of that name, as the word that it is compared as; None where it has none.

    ``name`` may be qualified as in ``facts_of``.
    """
    facts = facts_of(record)
    return as_word(next((facts[n] for n in (name, f"labels.{name}", f"extra.{name}") if n in facts), None))


def _usable(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, str) for item in value)
    return isinstance(value, str | int | float) and value != ""


def _column(name: str, values: Sequence[Any]) -> Column | None:
    present = [value for value in values if value is not None]
    if any(isinstance(value, list | tuple) for value in present):
        return Column(name, "set")
    numbers = [_number(value) for value in present]
    if not np.isnan(numbers).any():
        spread = max(numbers) - min(numbers)
        return Column(name, "number", float(spread)) if spread > 0 else None
    distinct = {as_word(value) for value in present}
    if len(distinct) < 2 or len(distinct) > _MOST_DISTINCT * len(present):
        return None
    return Column(name, "word")


def _number(value: Any) -> float:
    """A number, or the middle of a band; NaN for anything else."""
    if isinstance(value, bool) or value is None:
        return float("nan")
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        return float("nan")
    if re.fullmatch(rf"\s*-?{_NUMBER}\s*", value):
        return float(value)
    band = _BAND.fullmatch(value)
    if band is None:
        return float("nan")
    low, high, _, bound, above = band.groups()
    return (float(low) + float(high)) / 2 if low else float(bound or above)


def _items(value: Any) -> frozenset[str]:
    many = value if isinstance(value, list | tuple | set | frozenset) else [value]
    return frozenset(str(item).strip().casefold() for item in many)


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0
