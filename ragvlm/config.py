"""Defaults of one's own: a ``ragvlm.toml``, and environment variables ``RAGVLM_COMMAND_OPTION``.

index = "indexes/cells"       # for every command that has the option

[describe]
generator = "smollm2"
k = 3

[models.check]
device = "cuda"
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragvlm.errors import InputError

NAME = "ragvlm.toml"
VARIABLE = "RAGVLM_CONFIG"
# a file that lies in a downloaded folder must not be able to say these
BY_HAND = frozenset({"trust_remote_code"})


def config_file() -> Path | None:
    """``$RAGVLM_CONFIG``, else ``ragvlm.toml`` in this folder, else in the user's folder of settings; None without any.

    Raises InputError where the variable names no file.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise InputError(f"{VARIABLE} is {named}: there is no such file")
        return Path(named)
    if Path(NAME).is_file():
        return Path(NAME)
    from platformdirs import user_config_path

    own = user_config_path("ragvlm") / NAME
    return own if own.is_file() else None


@dataclass(frozen=True, slots=True)
class Taken:
    """An option as the program calls it, and whether it may be given several times."""

    name: str
    many: bool


Commands = Mapping[tuple[str, ...], Mapping[str, Taken]]
"""Of each command its options, as they are called on the command line, without the dashes in front."""


def defaults(commands: Commands) -> dict[str, Any]:
    """What the environment and the file say, nested by command as Click's ``default_map`` wants it.

    Raises InputError for a file that isn't TOML, for a table that is no command and a name that is no option.
    """
    file = config_file()
    found = _of_file(file, commands) if file else {}
    prefix = "RAGVLM_"
    given = {name.removeprefix(prefix): value for name, value in os.environ.items() if name.startswith(prefix)}
    for command, options in commands.items() if given else ():
        for name, option in options.items():
            value = given.get("_".join((*command, name)).replace("-", "_").upper())
            if value is not None:
                _table(found, command)[option.name] = [value] if option.many else value
    return found


def _of_file(file: Path, commands: Commands) -> dict[str, Any]:
    import tomllib

    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: is not TOML: {error}") from error
    found: dict[str, Any] = {}
    # what stands in a command's own table wins over what stands above all tables
    for path, name, value in sorted(_settings(given, ()), key=lambda setting: len(setting[0])):
        for command, option in _takers(file, path, name, commands):
            _table(found, command)[option.name] = value
    return found


def _takers(
    file: Path, path: tuple[str, ...], name: str, commands: Commands
) -> Iterator[tuple[tuple[str, ...], Taken]]:
    """The commands that take ``name``: that of the table ``path``, or without a table all that have it."""
    if path and path not in commands:
        known = sorted(".".join(command) for command in commands)
        raise InputError(f"{file}: [{'.'.join(path)}] is no command: choose among {', '.join(known)}")
    asked = [path] if path else list(commands)
    key = name.replace("_", "-")
    takers = [(command, commands[command][key]) for command in asked if key in commands[command]]
    if not takers:
        known = sorted({known for command in asked for known in commands[command]})
        raise InputError(f"{file}: {'.'.join((*path, name))} is no option: choose among {', '.join(known)}")
    if takers[0][1].name in BY_HAND:
        raise InputError(f"{file}: {name} can't be set by a file: give --{key} on the command line")
    yield from takers


def _settings(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _settings(value, (*path, name))
        else:
            yield path, name, value


def _table(found: dict[str, Any], command: tuple[str, ...]) -> dict[str, Any]:
    for part in command:
        found = found.setdefault(part, {})
    return found
