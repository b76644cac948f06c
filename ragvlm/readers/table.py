"""What all tables share: rows -> records, with every error naming the file and the row."""

from __future__ import annotations

import posixpath
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeAlias, TypeVar

from ragvlm.errors import CorpusError
from ragvlm.readers import embedded, values
from ragvlm.readers.columns import Columns, resolve
from ragvlm.types import Label, Record, Skipped

T = TypeVar("T")
Cells: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """Numbered rows as they stand in ``path``; in the place of one that can't be read stands the ValueError.

    ``typed`` is False where all cells are text.
    """

    path: Path
    header: tuple[str, ...]
    rows: Iterable[tuple[int, Cells | ValueError]]
    typed: bool = True

    def sound(self) -> Iterator[tuple[int, Cells]]:
        """The rows where every one counts. Raises CorpusError for the first that can't be read."""
        for row, cells in self.rows:
            if isinstance(cells, ValueError):
                raise CorpusError(f"{self.path}, row {row}: {cells}")
            yield row, cells

    def each(self, make: Callable[[int, Cells], T]) -> Iterator[T | Skipped]:
        """What ``make`` makes of every row and its cells; see ``each_row``."""
        numbers: list[int] = [0]

        def located() -> Iterator[tuple[str, Cells | ValueError]]:
            for numbers[0], cells in self.rows:
                yield f"{self.path}, row {numbers[0]}", cells

        return each_row(located(), lambda cells: make(numbers[0], cells))


def each_row(rows: Iterable[tuple[str, Cells | ValueError]], make: Callable[[Cells], T]) -> Iterator[T | Skipped]:
    """What ``make`` makes of every row's cells; a Skipped saying where it stands where that is a ValueError."""
    for where, cells in rows:
        made: T | Skipped
        try:
            if isinstance(cells, ValueError):
                raise cells
            made = make(cells)
        except (ValueError, RecursionError) as error:
            made = Skipped(where, str(error))
        yield made


class TableReader(ABC):
    """A file with one record a row. A format says which suffixes it has and how its table is read."""

    name: str
    layout: str
    suffixes: frozenset[str]

    def matches(self, path: Path) -> bool:
        """Whether the suffix is one of this format's."""
        return path.suffix.lower() in self.suffixes and not path.is_dir()

    @abstractmethod
    def table(self, path: Path) -> Table:
        """The table in ``path``. Raises CorpusError for a file that is no table."""

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records whose relative pictures count from the folder of ``path``. Raises CorpusError."""
        return records_of(self.table(path), columns)


@dataclass(frozen=True, slots=True)
class Picture:
    """Where a row's picture lies; ``called`` is its name in the table where its bytes lie there."""

    path: str | None
    called: str | None


def records_of(
    table: Table, asked: Mapping[str, str], *, folder: str | None = None, id_prefix: str = ""
) -> Iterator[Record | Skipped]:
    """The records of ``table``, in order; of two with the same id the first.

    With ``folder`` (the table's folder, relative to the corpus; "" for the corpus itself) every row needs a
    picture, and pictures must lie inside that folder. Without it, pictures may lie anywhere, and may be absent where
    the table has no column for them. Ids default to the picture's path. Raises CorpusError.
    """
    columns = resolve(table.header, asked, table.path)
    if folder is not None and "image" not in columns.fields:
        raise CorpusError(
            f"{table.path}: no column names the pictures: call it file_name, or pass columns={{'image': ...}}; "
            f"it has {', '.join(table.header) or 'none'}"
        )
    seen: dict[str, int] = {}

    def make(row: int, cells: Cells) -> Record:
        record = _record(cells, columns, table.typed, folder, id_prefix, row)
        if seen.setdefault(record.id, row) != row:
            raise ValueError(
                f"has the id {record.id!r} of row {seen[record.id]}: name a column of unique ids as that of id"
            )
        return record

    return table.each(make)


def _record(cells: Cells, columns: Columns, typed: bool, folder: str | None, id_prefix: str, row: int) -> Record:
    def field(name: str) -> str | None:
        try:
            return values.text(cells.get(columns.fields[name])) if name in columns.fields else None
        except ValueError as error:
            raise ValueError(f"{columns.fields[name]} {error}") from error

    picture = picture_of(cells, columns, folder)
    default_id = picture.path if picture.called is None else id_prefix + picture.called
    labels: dict[str, Label] = {}
    for column in columns.labels:
        labels |= values.labels(column, cells.get(column), typed=typed)
    used = columns.used
    rest = values.jsonable({name: cell for name, cell in cells.items() if name not in used})
    return Record(
        id=field("id") or default_id or f"{id_prefix}row-{row}",
        image=picture.path,
        caption=field("caption"),
        subject_id=field("subject_id"),
        study_id=field("study_id"),
        modality=field("modality"),
        labels=labels,
        source=field("source"),
        licence=field("licence"),
        extra={name: value for name, value in rest.items() if value is not None},
    )


def picture_of(cells: Cells, columns: Columns, folder: str | None) -> Picture:
    """The picture of a row, inside ``folder`` if given. Raises ValueError where it is empty or leaves the folder."""
    column = columns.fields.get("image")
    if column is None:
        return Picture(None, None)
    cell = cells.get(column)
    called = None
    if isinstance(cell, Mapping):  # how Hugging Face stores pictures
        called = values.text(cell.get("path"))
        if isinstance(cell.get("bytes"), bytes):
            kept = embedded.keep(cell["bytes"], called)
            return Picture(str(kept), called or kept.name)
        cell = called
    path = values.text(cell)
    if path is None:
        raise ValueError(f"{column} is empty: every row needs its picture")
    return Picture(path if folder is None else inside(path, folder), None)


def inside(path: str, folder: str) -> str:
    """``folder``/``path`` in normal form. Raises ValueError where ``path`` leaves the folder."""
    windows = PureWindowsPath(path)
    normal = posixpath.normpath(path)
    leaves = normal.startswith("../") or normal == ".." or ".." in windows.parts[:1]
    if PurePosixPath(path).is_absolute() or windows.drive or windows.root or leaves:
        raise ValueError(f"{path!r} leaves the folder of the corpus: name pictures relative to it")
    return posixpath.join(folder, normal)
