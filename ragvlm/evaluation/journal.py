"""A file of JSON lines that grows chunk by chunk, and goes on after a kill where the last whole chunk ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ragvlm.errors import StoreError, one_line

Row: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, ...]


class Journal:
    """``path`` holds one object a line, in the order of ``plan``: for each chunk the values of the columns ``names``.

    Opening it drops what follows the last whole chunk, such as a line that was half written. ``rows`` are those kept,
    ``done`` counts their chunks. Raises StoreError for a line that stands where the plan has another.
    """

    def __init__(self, path: Path, names: Key, plan: Sequence[Sequence[Key]]) -> None:
        self.path, self.names, self.plan = path, names, plan
        self.rows: list[Row] = []
        self.done = 0
        try:
            data = path.read_bytes() if path.exists() else b""
            kept = self._kept(data)
            if kept < len(data):
                with path.open("r+b") as stream:
                    stream.truncate(kept)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}; give an --out that can be read and written") from error

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the next chunk. Raises StoreError where the disk doesn't take it."""
        new = [dict(row) for row in rows]
        try:
            with self.path.open("ab") as stream:
                stream.write("".join(line_of(row) for row in new).encode())
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}; free some space, then run the same again") from error
        self.rows += new
        self.done += 1

    def _kept(self, data: bytes) -> int:
        """Bytes of the whole chunks; fills ``rows`` and ``done``."""
        lines, place, kept = data.split(b"\n")[:-1], 0, 0
        for chunk in self.plan:
            found = [_row(line) for line in lines[place : place + len(chunk)]]
            whole = [row for row in found if row is not None]
            for number, (row, key) in enumerate(zip(whole, chunk, strict=False), place + 1):
                if (there := tuple(row.get(name) for name in self.names)) != key:
                    raise StoreError(
                        f"{self.path}, line {number}: is of {one_line(str(there))}, not of {one_line(str(key))}; "
                        "choose another --out, or remove the file"
                    )
            if len(whole) < len(chunk):
                return kept
            end = place + len(chunk)
            kept += sum(len(line) + 1 for line in lines[place:end])
            place = end
            self.rows += whole
            self.done += 1
        return kept


def line_of(row: Mapping[str, Any]) -> str:
    """``row`` as a line of JSON, the same for the same row."""
    return json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n"


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
