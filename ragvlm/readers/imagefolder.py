"""A folder of pictures with a table beside them: the ImageFolder convention of Hugging Face datasets."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping
from pathlib import Path

from ragvlm.errors import CorpusError
from ragvlm.readers.delimited import DelimitedReader
from ragvlm.readers.folders import subfolders
from ragvlm.readers.jsonl import JsonlReader
from ragvlm.readers.parquet import ParquetReader
from ragvlm.readers.table import TableReader, records_of
from ragvlm.types import Record, Skipped

_TABLES: Mapping[str, TableReader] = {
    "metadata.jsonl": JsonlReader(),
    "metadata.csv": DelimitedReader(),
    "metadata.parquet": ParquetReader(),
    "captions.csv": DelimitedReader(),
    "captions.tsv": DelimitedReader(),
}


class ImageFolderReader:
    """``metadata.jsonl``, ``.csv`` or ``.parquet``, or ``captions.csv``: in the folder, or in each sub-folder."""

    name = "image-folder"
    layout = "a folder with metadata.jsonl, metadata.csv, metadata.parquet or captions.csv"

    def matches(self, path: Path) -> bool:
        """Whether one of these tables lies in the folder or in a sub-folder."""
        return bool(_folders(path))

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records whose pictures lie in the table's folder or below. Raises CorpusError."""
        for folder in _folders(path):
            found = _tables(path / folder)
            if len(found) > 1:
                raise CorpusError(
                    f"{path / folder}: has {' and '.join(found)}: keep one, or give the path of the file itself"
                )
            table = _TABLES[found[0]].table(path / folder / found[0])
            yield from records_of(table, columns, folder=folder)


def _folders(path: Path) -> list[str]:
    if _tables(path):
        return [""]
    return [name for name in subfolders(path) if _tables(path / name)]


def _tables(folder: Path) -> list[str]:
    return [name for name in _TABLES if os.path.isfile(folder / name)]  # noqa: PTH113 (Path.is_file may raise)
