"""Where a suite's pictures are: its corpus, and queries that this corpus knows nothing of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ragvlm.evaluation.tomltable import TomlTable
from ragvlm.readers.columns import DEFAULTS


@dataclass(frozen=True, slots=True)
class Source:
    """Where the corpus is. Exactly one of ``data`` (under ``$RAGVLM_DATA``), ``path`` (from the suite's folder) and
    ``simulate`` (arguments of ``ragvlm.simulate.simulate_corpus``) is set; ``get`` says where to get the data."""

    data: str | None = None
    path: str | None = None
    simulate: Mapping[str, Any] | None = None
    reader: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    get: str | None = None


@dataclass(frozen=True, slots=True)
class Foreign:
    """Queries that should be refused: pictures of another corpus (``source``), or those of the suite's own whose
    ``column`` is one of ``values``, which are then neither indexed nor asked about otherwise. At most ``limit``."""

    source: Source | None = None
    column: str = ""
    values: tuple[str, ...] = ()
    limit: int | None = None


def source_of(table: TomlTable) -> Source:
    """The table of a corpus. Raises InputError naming file and key."""
    source = _source(table)
    table.done()
    return source


def foreign_of(table: TomlTable) -> Foreign:
    """The table [foreign]. Raises InputError naming file and key."""
    limit = table.whole("limit", least=1) if "limit" in table else None
    if "column" not in table:
        found = Foreign(source=_source(table), limit=limit)
    elif values := table.texts("values"):
        found = Foreign(column=table.text("column"), values=values, limit=limit)
    else:
        raise table.wrong("values", "is empty; name at least one")
    table.done()
    return found


def _source(table: TomlTable) -> Source:
    ways = [key for key in ("data", "path", "simulate") if key in table]
    if len(ways) != 1:
        raise table.wrong("data", f"give one of data, path and simulate; here are {', '.join(ways) or 'none'}")
    source = Source(
        data=_inside(table, "data"),
        path=table.maybe("path"),
        simulate=_simulation(table.table("simulate")) if "simulate" in table else None,
        reader=table.maybe("reader"),
        columns=table.mapping("columns"),
        get=table.text("get") if "simulate" not in table else table.maybe("get"),
    )
    if unknown := sorted(set(source.columns) - set(DEFAULTS)):
        raise table.wrong("columns", f"has the unknown field {unknown[0]!r}; choose of {', '.join(DEFAULTS)}")
    return source


def _inside(table: TomlTable, key: str) -> str | None:
    name = table.maybe(key)
    if name is not None and (Path(name).is_absolute() or ".." in Path(name).parts):
        raise table.wrong(key, f"is {name!r}; name it relative to $RAGVLM_DATA, or use path")
    return name


def _simulation(table: TomlTable) -> dict[str, Any]:
    out: dict[str, Any] = {"n": table.whole("n", least=1), "seed": table.whole("seed", 0)}
    if "kinds" in table:
        out["kinds"] = list(table.texts("kinds"))
    table.done()
    return out
