"""Questions in a table, one a row: JSON Lines, CSV, TSV, Parquet; the common shape of small corpora and of exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ragvlm.errors import CorpusError
from ragvlm.readers import values
from ragvlm.readers.columns import DEFAULTS, Columns, resolve
from ragvlm.readers.delimited import DelimitedReader
from ragvlm.readers.jsonl import JsonlReader
from ragvlm.readers.parquet import ParquetReader
from ragvlm.readers.questions import gathered, question_of
from ragvlm.readers.table import Table, TableReader, picture_of
from ragvlm.types import Record, Skipped

_TABLES: tuple[TableReader, ...] = (JsonlReader(), DelimitedReader(), ParquetReader())
_QUESTION: Mapping[str, tuple[str, ...]] = {
    "qid": ("qid", "question_id", "id"),
    "question": ("question",),
    "answer": ("answer",),
    "answer_type": ("answer_type",),
    "question_type": ("question_type", "content_type"),
    "split": ("split",),
}


class VqaTableReader:
    """Columns ``question`` and ``answer``, the picture's (``image``, ``file_name``, ... as everywhere), and where there
    are any ``qid``, ``answer_type``, ``question_type``, ``split``, ``subject_id``; others stay with the question.

    One record a picture.

    Asked for by name alone: any table with these columns is also a table of records.
    """

    name = "vqa-table"
    layout = "a table of questions (asked for by name)"

    def matches(self, path: Path) -> bool:
        """Never."""
        return False

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records with questions. Raises CorpusError."""
        for reader in _TABLES:
            if reader.matches(path):
                return gathered(question_rows(reader.table(path), columns))
        raise CorpusError(f"{path}: is no table: give a .jsonl, .csv, .tsv or .parquet file")


def question_rows(
    table: Table, asked: Mapping[str, str], split: str | None = None, prefix: str | None = None
) -> Iterator[tuple[Record, dict[str, Any]] | Skipped]:
    """Each row's picture as a record, and its question. Raises CorpusError for columns that are not there.

    ``split`` stands in all questions; without it, the column of that name does. Questions without an id are called
    ``prefix``-row, by default after the file.
    """
    columns = resolve(table.header, asked, table.path)
    fields = {name: next((c for c in known if c in table.header), "") for name, known in _QUESTION.items()}
    fields = {name: column for name, column in fields.items() if column}
    if absent := [name for name in ("question", "answer") if name not in fields]:
        raise CorpusError(f"{table.path}: has no column {absent[0]!r}: it has {', '.join(table.header) or 'none'}")
    if "image" not in columns.fields:
        raise CorpusError(f"{table.path}: no column names the pictures: call it one of {', '.join(DEFAULTS['image'])}")

    def make(row: int, cells: Mapping[str, Any]) -> tuple[Record, dict[str, Any]]:
        question = {"qid": f"{prefix or table.path.stem}-{row}", **question_of(cells, **fields)}
        if split is not None:
            question["split"] = split
        return _record(cells, columns), _rest(cells, columns.used | set(fields.values())) | question

    return table.each(make)


def _record(cells: Mapping[str, Any], columns: Columns) -> Record:
    def field(name: str) -> str | None:
        return values.text(cells.get(columns.fields[name])) if name in columns.fields else None

    picture = picture_of(cells, columns, None)
    # names inside a table may be anything; the picture's own bytes tell pictures apart
    name = picture.path if picture.called is None else Path(str(picture.path)).stem[:16]
    return Record(
        id=str(name),
        image=picture.path,
        caption=field("caption"),
        subject_id=field("subject_id"),
        modality=field("modality"),
    )


def _rest(cells: Mapping[str, Any], used: frozenset[str]) -> dict[str, Any]:
    rest = values.jsonable({name: cell for name, cell in cells.items() if name not in used})
    return {name: value for name, value in rest.items() if value is not None}
