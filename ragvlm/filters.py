"""Which records may be found: conditions on modality, source, licence, labels and the rest of a record's columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from ragvlm.errors import InputError
from ragvlm.types import Float32, Int64, Record, VectorStore

FIELDS = ("modality", "source", "licence")
GROUPS = ("labels", "extra")
_SHOWN = 40  # names that an error lists


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that all must hold: each is a name and the values of which the record must have one.

    A name is "modality", "source", "licence", "labels.NAME" or "extra.NAME"; a NAME alone is the label called so,
    else the column of ``extra``. Values are compared as words (``as_word``): 3, 3.0 and "3" are equal, and so are
    True and "true". Where a column holds a list, one equal item is enough. An empty filter allows everything.
    """

    conditions: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, where: Filter | Mapping[str, Any] | Iterable[str] | None) -> Self | Filter:
        """From ``{"stain": "DAPI", "nuclei": {2, 3}}`` or from ``["stain=DAPI", "nuclei=2", "nuclei=3"]``.

        Raises InputError for a condition without a name or a value, and for a value that is no scalar.
        """
        if isinstance(where, Filter):
            return where
        if isinstance(where, str):
            where = [where]
        allowed: dict[str, set[str]] = {}
        for name, values in where.items() if isinstance(where, Mapping) else map(_pair, where or ()):
            many = isinstance(values, Collection) and not isinstance(values, str | Mapping)
            words = {as_word(value) for value in (values if many else [values])}
            if not name or not words or None in words:
                raise InputError(f"where: {name!r} takes a word, a number, true or false, or a set of them")
            allowed.setdefault(name, set()).update(word for word in words if word is not None)
        return cls(tuple((name, tuple(sorted(words))) for name, words in sorted(allowed.items())))

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def allows(self, record: Record) -> bool:
        """Whether ``record`` meets all conditions, whose names are qualified as ``resolved`` makes them."""
        if not self.conditions:
            return True
        facts = set(facts_of(record))
        return all(any((name, word) in facts for word in words) for name, words in self.conditions)

    def resolved(self, records: Sequence[Record]) -> Filter:
        """The same with every name qualified, as the ``records`` have it.

        Raises InputError that lists the known names where no record has one of that name.
        """
        return Filter(tuple((_qualified(name, records), words) for name, words in self.conditions))

    def to_dict(self) -> dict[str, list[str]]:
        """Name -> allowed values, as JSON types."""
        return {name: list(words) for name, words in self.conditions}


@runtime_checkable
class FilteringStore(VectorStore, Protocol):
    """A store, as one on a server, that keeps facts beside its vectors and searches among those allowed alone."""

    def add_facts(self, vectors: Float32, records: Sequence[Record]) -> None:
        """As ``add``, with the record of each vector: what ``facts_of`` says of it, and its subject."""
        ...

    def search_where(
        self, queries: Float32, k: int, where: Filter, not_subject: str | None = None
    ) -> tuple[Float32, Int64]:
        """As ``search`` among the vectors whose record ``where`` allows and whose subject isn't ``not_subject``.

        Scores and positions are (n, m) with m = min(k, number of those); ``where`` is resolved.
        """
        ...


@runtime_checkable
class ServedStore(FilteringStore, Protocol):
    """A store whose file only tells where on a server its vectors are.

    Of its options those named in ``secrets`` are never written down.
    """

    secrets: tuple[str, ...]

    @classmethod
    def create(cls, path: Path, dim: int, **options: Any) -> Self:
        """An empty store that the file ``path``, written at once, tells of; what the file told of before is dropped."""
        ...

    @classmethod
    def discard(cls, path: Path) -> None:
        """Drop what the file ``path`` tells of; quietly, where that isn't there."""
        ...


def facts_of(record: Record) -> list[tuple[str, str]]:
    """What a filter can ask of ``record``: pairs of a qualified name and a word."""
    facts = [(name, value) for name in FIELDS if (value := getattr(record, name)) is not None]
    for group in GROUPS:
        for name, value in getattr(record, group).items():
            items = value if isinstance(value, list | tuple) else [value]
            facts += [(f"{group}.{name}", word) for item in items if (word := as_word(item)) is not None]
    return facts


def as_word(value: Any) -> str | None:
    """A scalar as the word that it is compared as; None for what is no scalar."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int | float) else None


def _pair(item: str) -> tuple[str, str]:
    name, _, word = item.partition("=")
    if not name or not word:
        raise InputError(f"where takes NAME=VALUE, not {item!r}")
    return name, word


def _qualified(name: str, records: Sequence[Record]) -> str:
    group, _, key = name.partition(".")
    candidates = [name] if name in FIELDS or (group in GROUPS and key) else [f"{group}.{name}" for group in GROUPS]
    for candidate in candidates:
        if any(_has(record, candidate) for record in records):
            return candidate
    known = sorted({name for record in records for name, _ in facts_of(record)})
    listed = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "") or "none"
    raise InputError(f"where: no record of the index has {name!r}; known are {listed}")


def _has(record: Record, name: str) -> bool:
    group, _, key = name.partition(".")
    return key in getattr(record, group) if key else getattr(record, name) is not None
