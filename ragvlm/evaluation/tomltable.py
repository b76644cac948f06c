"""A TOML table whose every wrong value is one line: the file, the key, what it must be."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ragvlm.errors import InputError, one_line

MAX_BYTES = 1_000_000


class TomlTable:
    """Typed access to one table. ``where`` is its name inside the file, "" for the file itself.

    Every method raises InputError where the key's value is of another type; without a default, where it is absent.
    ``done`` raises for keys that nothing asked for.
    """

    def __init__(self, values: Mapping[str, Any], file: Path, where: str = "") -> None:
        self._values = values
        self._file = file
        self._where = where
        self._asked: set[str] = set()

    @classmethod
    def read(cls, file: Path) -> TomlTable:
        """The file as a table. Raises InputError where it can't be read, isn't UTF-8 or isn't TOML."""
        try:
            if file.stat().st_size > MAX_BYTES:
                raise InputError(f"{file}: has more than {MAX_BYTES:,} bytes: this is no suite")
            return cls(tomllib.loads(file.read_text(encoding="utf-8-sig")), file)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: can't be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from error
        except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
            raise InputError(f"{file}: is not TOML ({one_line(str(error))})") from error

    def __contains__(self, key: str) -> bool:
        self._asked.add(key)
        return key in self._values

    def wrong(self, key: str, what: str) -> InputError:
        """The error of ``key``: file, key, and ``what`` to do."""
        return InputError(one_line(f"{self._file}: {self._path(key)}: {what}"))

    def text(self, key: str, default: str | None = None) -> str:
        """Words in quotes on one line."""
        value = self._get(key, default)
        if not isinstance(value, str) or not value.strip() or "\n" in value.strip() or not _plain(value):
            raise self.wrong(key, f"is {_shown(value)}; give some words in quotes, on one line")
        return value.strip()

    def maybe(self, key: str) -> str | None:
        """As ``text``, None where the key is absent."""
        return self.text(key) if key in self else None

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of different words; one word stands for a list of one."""
        value = self._get(key, default)
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not all(isinstance(i, str) and i.strip() for i in items):
            raise self.wrong(key, f"is {_shown(value)}; give a list of words in quotes")
        words = tuple(item.strip() for item in items)
        if len(set(words)) < len(words):
            double = next(word for word in words if words.count(word) > 1)
            raise self.wrong(key, f"names {double!r} twice; name it once")
        return words

    def choice(self, key: str, known: tuple[str, ...], default: str | None = None) -> str:
        """One of ``known``."""
        return self._known(key, (self.text(key, default),), known)[0]

    def choices(self, key: str, known: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
        """Some of ``known``, or none of them."""
        return self._known(key, self.texts(key, default), known)

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.wrong(key, f"is {_shown(value)}; give a number")
        return float(value)

    def whole(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        """A whole number of at least ``least``."""
        return self._whole(key, self._get(key, default), least)

    def wholes(self, key: str, default: tuple[int, ...], *, least: int = 1) -> tuple[int, ...]:
        """Different whole numbers, ascending; one stands for a list of one."""
        value = self._get(key, default)
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        numbers = {self._whole(key, item, least) for item in items}
        if not numbers:
            raise self.wrong(key, f"is empty; give whole numbers from {least}")
        return tuple(sorted(numbers))

    def table(self, key: str) -> TomlTable:
        """The table of that name; an empty one where it is absent."""
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, f"is {_shown(value)}; write it as a table, [{self._path(key)}]")
        return TomlTable(value, self._file, self._path(key))

    def tables(self, key: str) -> list[TomlTable]:
        """The tables of a list ``[[key]]``, numbered from 1 in errors."""
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, f"is {_shown(value)}; write each as a table, [[{self._path(key)}]]")
        return [TomlTable(item, self._file, f"{self._path(key)} {n}") for n, item in enumerate(value, 1)]

    def mapping(self, key: str) -> dict[str, str]:
        """A table of words: {key: word}."""
        inner = self.table(key)
        return {name: inner.text(name) for name in inner._values}

    def done(self) -> None:
        """Raise InputError for a key that nothing asked for, naming the likeliest that was meant."""
        for key in self._values:
            if key not in self._asked:
                near = difflib.get_close_matches(key, self._asked, n=1)
                meant = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(sorted(self._asked))}"
                raise self.wrong(key, f"is no key of a suite; {meant}")

    def _get(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        if key not in self._values and default is None:
            raise self.wrong(key, "is missing; every suite needs it")
        return self._values.get(key, default)

    def _known(self, key: str, words: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if word not in known:
                raise self.wrong(key, f"is {word!r}; choose of {', '.join(known) or 'none'}")
        return words

    def _whole(self, key: str, value: Any, least: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
            raise self.wrong(key, f"is {_shown(value)}; give a whole number from {least}")
        return value

    def _path(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key


def _plain(value: str) -> bool:
    return all(c.isprintable() for c in value.strip())


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
