"""CSV and TSV, quoted as RFC 4180 says."""

from __future__ import annotations

import csv
import io
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
        text = _decode(path)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(path, text), strict=True)
        numbered = []
        try:
            numbered = [(row, cells) for row, cells in enumerate(reader, start=1) if cells]
        except csv.Error as error:
            raise CorpusError(f"{path}, line {reader.line_num}: {error}") from error
        if not numbered:
            return Table(path, (), [], typed=False)
        header = _header(path, numbered[0][1])
        rows = []
        for row, cells in numbered[1:]:
            if len(cells) != len(header):
                raise CorpusError(f"{path}, row {row}: has {len(cells)} cells, but the header has {len(header)}")
            rows.append((row, {name: cell or None for name, cell in zip(header, cells, strict=True)}))
        return Table(path, header, rows, typed=False)


def _decode(path: Path) -> str:
    data = read_bytes(path)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(f"{path}, line {line}: is not UTF-8: save the file as UTF-8") from error


def _delimiter(path: Path, text: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    # what spreadsheets write where the comma is the decimal mark
    first = text.partition("\n")[0]
    return ";" if ";" in first and "," not in first else ","


def _header(path: Path, cells: list[str]) -> tuple[str, ...]:
    header = tuple(cell.strip() or f"column_{place}" for place, cell in enumerate(cells, start=1))
    if len(set(header)) < len(header):
        double = next(name for name in header if header.count(name) > 1)
        raise CorpusError(f"{path}, row 1: two columns are called {double!r}")
    return header
