"""Many pictures to describe: those of folders, and a file of JSON lines that goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ragvlm.errors import CorpusError, InputError, StoreError
from ragvlm.formats import find_format
from ragvlm.readers.folders import pictures


def expand(places: Iterable[str | Path]) -> list[str]:
    """``places`` with each folder replaced by the pictures in it and below, sorted.

    A folder that is a picture by itself, such as a series, stays. Raises InputError for a folder without pictures.
    """
    found: list[str] = []
    for place in places:
        folder = Path(place)
        if not folder.is_dir() or find_format(b"", folder) is not None:
            found.append(str(place))
            continue
        try:
            inside = [str(folder / name) for name in pictures(folder)]
        except CorpusError as error:
            raise InputError(str(error)) from error
        if not inside:
            raise InputError(f"{place}: holds no pictures: give another folder, or pictures")
        found += inside
    return found


class DescriptionFile:
    """Descriptions as JSON lines in ``path``, as ``ragvlm describe --json`` prints them, a picture a line.

    ``done`` are the pictures that stand there already; a last line that was half written is dropped. ``settings`` are
    those of ``Describer.settings``: lines of others don't belong into one file. Raises StoreError for a file that
    can't be read or written or holds something else, InputError for one of other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        try:
            data = path.read_bytes() if path.exists() else b""
            whole = data[: data.rfind(b"\n") + 1]
            self.done = {self._picture(number, line, settings) for number, line in enumerate(whole.splitlines(), 1)}
            with path.open("ab") as stream:
                stream.truncate(len(whole))
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}; give an --out that can be read and written") from error

    def append(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Write a line for each object. Raises StoreError where the disk doesn't take it."""
        lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects)
        try:
            with self.path.open("ab") as stream:
                stream.write(lines.encode(errors="backslashreplace"))
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}; free some space, then run the same again") from error
        self.done |= {one["image"] for one in objects}

    def _picture(self, number: int, line: bytes, settings: Mapping[str, Any]) -> str:
        try:
            found = json.loads(line)
            picture, there = found["image"], found["provenance"]
            other = [name for name, value in settings.items() if there[name] != json.loads(json.dumps(value))]
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{self.path}, line {number}: is no description; give another --out") from error
        if other:
            raise InputError(f"{self.path}, line {number}: was written with another {other[0]}; give another --out")
        return str(picture)
