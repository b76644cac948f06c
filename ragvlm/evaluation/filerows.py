"""Files of predictions and references, whoever wrote them, as rows by id: JSONL, JSON, CSV, TSV, TREC."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ragvlm.errors import CorpusError, InputError
from ragvlm.evaluation.recorded import first_five
from ragvlm.measures.trec import Qrels, Run, read_qrels, read_run
from ragvlm.readers import values
from ragvlm.readers.delimited import DelimitedReader
from ragvlm.readers.jsonl import JsonlReader, read_bytes

IDS = ("id", "question_id", "qid", "image_id", "file_name")
SYSTEM = "system"
_TABLES = (JsonlReader(), DelimitedReader())


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a file. ``where`` names the file and the row, for messages."""

    id: str
    system: str
    cells: Mapping[str, Any]
    where: str


@dataclass(frozen=True)
class Rows:
    """The rows of ``path`` in order. ``typed`` is False where all cells are text (CSV); ``trec`` says that the file is
    one of TREC's: a row then has "prediction", a list of (document, score), or "references", gains by document."""

    path: Path
    rows: tuple[Row, ...]
    typed: bool = True
    trec: bool = False

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Every column that any row has."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.cells))


def read_rows(path: str | Path, side: str) -> Rows:
    """The rows of the file ``path``; ``side`` is "predictions" or "references".

    The id is in the first of the columns IDS that there is. Rows of a column "system" are told apart; without it all
    belong to one, called as the file. A file of JSON holds a list of objects, or an object of objects (or of single
    values) by id. What ends in none of .jsonl, .ndjson, .json, .csv and .tsv is read as TREC's run resp. qrels.

    Raises InputError on one line for a file that can't be read or holds nothing, a row without an id, and ids that are
    there twice.
    """
    file = Path(path)
    try:
        rows = _read(file, side)
    except CorpusError as error:
        raise InputError(str(error)) from error
    if not rows.rows:
        raise InputError(f"{file}: holds nothing: give a row for each item")
    _check_once(rows)
    return rows


def _read(file: Path, side: str) -> Rows:
    if file.is_dir():
        raise InputError(f"{file}: is a folder: name the file of {side} in it")
    for reader in _TABLES:
        if reader.matches(file):
            table = reader.table(file)
            return Rows(file, _named(file, table.sound()), table.typed)
    if file.suffix.lower() == ".json":
        return Rows(file, _named(file, _objects(file)))
    trec: Run | Qrels = read_run(file) if side == "predictions" else read_qrels(file)
    key = "prediction" if side == "predictions" else "references"
    return Rows(
        file, tuple(Row(name, file.stem, {key: of}, f"{file}, {name!r}") for name, of in trec.items()), trec=True
    )


def _objects(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        found = json.loads(read_bytes(file).decode())
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is not UTF-8: save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: is not JSON ({error}); one object a line is .jsonl") from error
    if isinstance(found, dict):
        found = [{"id": name, **(of if isinstance(of, dict) else {"prediction": of, "references": of})}
                 for name, of in found.items()]  # fmt: skip
    if not isinstance(found, list):
        raise InputError(f"{file}: is neither a list nor an object: give a list of objects with ids")
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict):
            raise InputError(f"{file}, row {number}: is {type(row).__name__}, not an object")
        yield number, row


def _named(file: Path, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> tuple[Row, ...]:
    numbered = list(rows)
    there = {name for _, cells in numbered for name in cells}
    key = next((name for name in IDS if name in there), None)
    if numbered and key is None:
        shown = first_five(sorted(there)) or "none"
        raise InputError(f"{file}: no column of ids: call it {IDS[0]!r}; it has {shown}")
    found = []
    for number, cells in numbered:
        where = f"{file}, row {number}"
        try:
            name, system = values.text(cells.get(str(key))), values.text(cells.get(SYSTEM))
        except ValueError as error:
            raise InputError(f"{where}: {key} and {SYSTEM} {error}: give text") from error
        if name is None:
            raise InputError(f"{where}: no {key}: give each item one")
        rest = {column: cell for column, cell in cells.items() if column not in (key, SYSTEM)}
        found.append(Row(name, system or file.stem, rest, where))
    return tuple(found)


def _check_once(rows: Rows) -> None:
    seen: set[tuple[str, str]] = set()
    double: dict[str, str] = {}
    for row in rows.rows:
        if (row.system, row.id) in seen:
            double.setdefault(row.id, row.where)
        seen.add((row.system, row.id))
    if double:
        row_number = re.sub(r".*, ", "", next(iter(double.values())))
        raise InputError(f"{rows.path}: ids that are there twice: {first_five(double)} (the first in {row_number}): "
                         "keep one row of each")  # fmt: skip
