"""Names of plug-ins -> the class behind them, imported on demand.

The plug-ins that ragvlm brings stand in ``data/models.toml``; a third party adds its own by an entry point in
the group ``ragvlm.encoders``, ``ragvlm.generators`` or ``ragvlm.stores``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from ragvlm.errors import InputError, missing_extra


@dataclass(frozen=True, slots=True)
class Entry:
    """One plug-in: ``target`` is "module:Class", ``extra`` and ``modules`` what it needs installed.

    ``options`` are arguments of the class that go with this name, such as a checkpoint: names may share a class.
    """

    kind: str
    name: str
    target: str
    summary: str = ""
    extra: str | None = None
    modules: tuple[str, ...] = ()
    hub_id: str | None = None
    licence: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that it needs and that are not installed."""
        return tuple(m for m in self.modules if importlib.util.find_spec(m) is None)

    @property
    def command(self) -> str | None:
        """The command that makes it usable, or None where it is usable now."""
        return f'pip install "ragvlm[{self.extra}]"' if self.missing else None

    def load(self) -> Any:
        """The class. Raises MissingExtraError with the pip command where a package is absent."""
        if self.missing:
            raise missing_extra(self.missing[0], self.extra or "all")
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)

    def to_dict(self) -> dict[str, Any]:
        """The object that ``ragvlm models --json`` prints."""
        return {
            "kind": self.kind.removesuffix("s"),
            "name": self.name,
            "summary": self.summary,
            "hub_id": self.hub_id,
            "licence": self.licence,
            "extra": self.extra,
            "usable": not self.missing,
            "command": self.command,
        }


@cache
def entries(kind: str) -> dict[str, Entry]:
    """All plug-ins of ``kind`` ("encoders", "generators", "stores"), those of third parties last."""
    table = tomllib.loads(files("ragvlm").joinpath("data/models.toml").read_text(encoding="utf-8"))
    found = {
        name: Entry(kind=kind, name=name, **row | {"modules": tuple(row.get("modules", ()))})
        for name, row in table[kind].items()
    }
    for point in importlib.metadata.entry_points(group=f"ragvlm.{kind}"):
        found.setdefault(point.name, Entry(kind=kind, name=point.name, target=point.value, summary=str(point.dist)))
    return found


def create(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """The plug-in ``name`` of ``kind``, made with its own and the given options.

    ``name`` may be a plug-in's name and a model joined by a colon. Raises InputError for an unknown name or option,
    MissingExtraError with the pip command where a package is absent, and whatever the plug-in raises.
    """
    plug_in, _, model = name.partition(":")
    entry = find(kind, plug_in)
    chosen = {**entry.options, **({"model": model} if model else {}), **options}
    maker = entry.load()
    known = inspect.signature(maker).parameters
    for option in chosen:
        if option not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise InputError(f"{kind.removesuffix('s')} {plug_in!r} has no option {option!r}: {takes}")
    return maker(**chosen)


def find(kind: str, name: str) -> Entry:
    """The plug-in ``name`` of ``kind``. Raises InputError that lists the known names."""
    known = entries(kind)
    if name not in known:
        raise InputError(f"unknown {kind[:-1]} {name!r}: choose one of {', '.join(known)}")
    return known[name]
