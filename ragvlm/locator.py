"""Where a picture lies: a file, or a place in one, as in ``ct.nii.gz#slice=40&axis=axial``.

A record's ``image`` is such a text. After the path and a ``#`` stand pairs ``key=value``, joined by ``&``; values are
percent-encoded (RFC 3986), so that one may hold a path: ``shard.tar#member=a%2F1.jpg``. A path without pairs is the
file itself. A file whose own name ends like pairs is taken as it is: what is there comes before what could be meant.
What the keys mean is the matter of the file's format (``ragvlm.formats``), but for one: ``file`` is the keyed hash of a
path below the one that is named (``ragvlm.hidden``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from ragvlm.errors import ImageError
from ragvlm.hidden import find

_PAIR = r"[a-z][a-z0-9_]*=[^#&=/\\]*"
_PAIRS = re.compile(rf"{_PAIR}(?:&{_PAIR})*")


@dataclass(frozen=True, slots=True)
class Locator:
    """A path and, in ``parts``, the place in that file; no parts mean the whole file."""

    path: str
    parts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str | Path) -> Locator:
        """The locator that ``text`` is; a relative one must count from the working folder. Never raises."""
        whole = str(text)
        path, _, pairs = whole.rpartition("#")
        if not path or not _PAIRS.fullmatch(pairs) or _exists(whole):
            return cls(whole)
        split = (pair.partition("=") for pair in pairs.split("&"))
        return cls(path, {key: unquote(value) for key, _, value in split})

    @classmethod
    def in_corpus(cls, image: str, root: Path) -> Locator:
        """The locator of a record's picture, which counts from ``root``; its path stays as the record has it."""
        parts = cls.of(root / image).parts
        return cls(image.rpartition("#")[0] if parts else image, parts)

    def __str__(self) -> str:
        pairs = "&".join(f"{key}={quote(value, safe='')}" for key, value in self.parts.items())
        return f"{self.path}#{pairs}" if pairs else self.path

    @property
    def file(self) -> Path:
        """The file (or the folder that holds a series)."""
        hidden = self.parts.get("file")
        return Path(self.path) if hidden is None else find(Path(self.path), hidden)

    def resolved(self) -> Locator:
        """The same with the file's true name."""
        if "file" not in self.parts:
            return self
        return Locator(str(self.file), {key: value for key, value in self.parts.items() if key != "file"})

    def but(self, **parts: str | int | None) -> Locator:
        """The same with other ``parts``; one that is None is taken away."""
        merged = {**self.parts, **parts}
        return Locator(self.path, {key: str(value) for key, value in merged.items() if value is not None})

    def whole(self, key: str, default: int) -> int:
        """The part ``key`` as a whole number from 0 on, ``default`` where it is absent. Raises ImageError."""
        value = self.parts.get(key)
        if value is None:
            return default
        if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
            raise ImageError(f"{key}={value}: give a whole number from 0 on")
        return int(value)

    def only(self, keys: Collection[str], what: str) -> None:
        """Raise ImageError where a part is none of ``keys``, which are those that ``what`` has."""
        for key in self.parts:
            if key not in keys:
                has = f"it has {', '.join(sorted(keys))}" if keys else "it has none"
                raise ImageError(f"{what} has no part {key!r}: {has}")


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except (OSError, ValueError):  # longer than a path may be, a NUL
        return False
