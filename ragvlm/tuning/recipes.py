"""Settings of the literature by name: files of ``data/recipes``, or your own.

A recipe names the ``command`` that it is for, says in ``summary`` and ``source`` what it repeats, and gives in its
table ``options`` values for options of that command, by their names in Python (``batch_size``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ragvlm.errors import InputError

_KEYS = {"command", "summary", "source", "note", "options"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe; ``note`` says what can't be as in the source."""

    name: str
    command: str
    summary: str
    source: str
    options: Mapping[str, Any]
    note: str = ""


def recipe_names() -> list[str]:
    """The recipes that ragvlm brings."""
    folder = files("ragvlm").joinpath("data/recipes")
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_recipe(name: str) -> Recipe:
    """A recipe by name, or by the path of a .toml file. Raises InputError where there is none, or it can't be read."""
    if name.endswith(".toml"):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError(f"recipe {name}: can't be read ({error.__class__.__name__})") from error
    elif name in recipe_names():
        text = files("ragvlm").joinpath(f"data/recipes/{name}.toml").read_text(encoding="utf-8")
    else:
        raise InputError(f"unknown recipe {name!r}: choose one of {', '.join(recipe_names())}, or give a .toml file")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"recipe {name}: {error}") from error
    if unknown := table.keys() - _KEYS:
        raise InputError(f"recipe {name}: has no key {sorted(unknown)[0]!r}: give {', '.join(sorted(_KEYS))}")
    if not isinstance(table.get("command"), str) or not isinstance(table.get("options"), dict):
        raise InputError(f"recipe {name}: give a command, and a table of options")
    words = {key: str(table.get(key, "")) for key in ("summary", "source", "note")}
    return Recipe(name=Path(name).stem, command=table["command"], options=table["options"], **words)
