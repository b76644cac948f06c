"""JSON Lines: one object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ragvlm.errors import CorpusError
from ragvlm.readers.table import Table, TableReader

_BOM = b"\xef\xbb\xbf"


class JsonlReader(TableReader):
    """Lines of UTF-8, with or without a byte order mark; blank lines do not count."""

    name = "jsonl"
    layout = "a .jsonl file"
    suffixes = frozenset({".jsonl", ".ndjson"})

    def table(self, path: Path) -> Table:
        """The objects of all lines; the header is every key that any of them has."""
        rows = [
            (number, _parse(line)) for number, line in enumerate(read_bytes(path).split(b"\n"), start=1) if line.strip()
        ]
        header = dict.fromkeys(key for _, cells in rows if not isinstance(cells, ValueError) for key in cells)
        return Table(path, tuple(header), rows)


def read_bytes(path: Path) -> bytes:
    """The file without its byte order mark. Raises CorpusError."""
    try:
        return path.read_bytes().removeprefix(_BOM)
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror or error}") from error


def _parse(line: bytes) -> dict[str, Any] | ValueError:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError:
        return ValueError("is not UTF-8: save the file as UTF-8")
    except (ValueError, RecursionError) as error:
        return ValueError(f"is not JSON ({error})")
    return value if isinstance(value, dict) else ValueError(f"is {type(value).__name__}, not a JSON object")
