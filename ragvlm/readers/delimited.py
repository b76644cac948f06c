"""CSV and TSV, quoted as RFC 4180 says."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from ragvlm.errors import CorpusError
from ragvlm.readers.jsonl import read_bytes
from ragvlm.readers.table import Table, TableReader


class DelimitedReader(TableReader):
    """A header and rows of as many cells; UTF-8 with or without a byte order mark. Empty cells are absent."""

    name = "csv"
    layout = "a .csv or .tsv file"
    suffixes = frozenset({".csv", ".tsv"})

    def table(self, path: Path) -> Table:
        """All rows, counted as a spreadsheet does: the header is row 1."""
        # what is not UTF-8 becomes surrogates, for which its row alone is refused
        text = read_bytes(path).decode(errors="surrogateescape")
        numbered = list(_parsed(text, _delimiter(path, text)))
        if not numbered:
            return Table(path, (), [], typed=False)
        header = _header(path, numbered[0][1])
        rows = [(row, cells if isinstance(cells, ValueError) else _row(cells, header)) for row, cells in numbered[1:]]
        return Table(path, header, rows, typed=False)


def _parsed(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | ValueError]]:
    usual = csv.field_size_limit(len(text) + 1)  # what is too long for a record says so itself
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        for row in count(1):
            try:
                if cells := next(reader):
                    yield row, cells
            except csv.Error as error:  # the reader goes on with the next line
                yield row, ValueError(f"{error} at line {reader.line_num}")
            except StopIteration:
                return
    finally:
        csv.field_size_limit(usual)


def _row(cells: list[str], header: tuple[str, ...]) -> dict[str, str | None] | ValueError:
    if len(cells) != len(header):
        return ValueError(f"has {len(cells)} cells, but the header has {len(header)}")
    if not _is_utf8(cells):
        return ValueError("is not UTF-8: save the file as UTF-8")
    return {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _is_utf8(cells: list[str]) -> bool:
    return not any("\udc80" <= letter <= "\udcff" for cell in cells if not cell.isascii() for letter in cell)


def _delimiter(path: Path, text: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    # what spreadsheets write where the comma is the decimal mark
    first = text.partition("\n")[0]
    return ";" if ";" in first and "," not in first else ","


def _header(path: Path, cells: list[str] | ValueError) -> tuple[str, ...]:
    if isinstance(cells, ValueError) or not _is_utf8(cells) or any("\0" in cell for cell in cells):
        cause = cells if isinstance(cells, ValueError) else "is not UTF-8: save the file as UTF-8"
        raise CorpusError(f"{path}, row 1: {cause}")
    header = tuple(cell.strip() or f"column_{place}" for place, cell in enumerate(cells, start=1))
    if len(set(header)) < len(header):
        double = next(name for name in header if header.count(name) > 1)
        raise CorpusError(f"{path}, row 1: two columns are called {double!r}")
    return header
