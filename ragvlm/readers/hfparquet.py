"""A dataset as Hugging Face keeps it: Parquet files ``train-00000-of-00007.parquet`` with the pictures inside.

So lie PathVQA (flaviagiammarino/path-vqa: image, question, answer; He et al. 2020, arXiv 2003.10286) and Quilt-VQA
(wisdomik/Quilt_VQA: image, question, answer, answer_type, context; Seyfioglu et al. 2024, arXiv 2312.04746). The
layouts were seen on the card of the first, and in the documentation of github.com/kaiko-ai/eva
(docs/datasets/quilt_vqa.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from ragvlm.errors import CorpusError
from ragvlm.readers.parquet import ParquetReader
from ragvlm.readers.questions import gathered
from ragvlm.readers.table import Cells, Table, records_of
from ragvlm.readers.vqatable import question_rows
from ragvlm.types import Record, Skipped

_SHARD = re.compile(r"(?P<split>\w+)-\d{5}-of-\d{5}(-[0-9a-f]+)?\.parquet", re.ASCII)


class HfParquetReader:
    """The split of the file's name goes to ``extra["split"]``.

    Tables with the columns question and answer give one record a picture with its questions, and the split stands in
    each question: equal pictures are one, by their bytes.
    """

    name = "hf-parquet"
    layout = "a folder of Parquet files train-00000-of-00001.parquet as on Hugging Face, there or in data/"

    def matches(self, path: Path) -> bool:
        """Whether such files lie in the folder or in its sub-folder ``data``."""
        return bool(_shards(path))

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records of all splits. Raises CorpusError."""
        tables = [(split, ParquetReader().table(file)) for split, file in _shards(path)]
        if not tables:
            raise CorpusError(f"{path}: holds no files called like train-00000-of-00001.parquet")
        asking = [{"question", "answer"} <= set(table.header) for _, table in tables]
        if all(asking):
            yield from gathered(chain.from_iterable(question_rows(t, columns, s, _numbered(t)) for s, t in tables))
            return
        for split, table in tables:
            header = tuple(dict.fromkeys((*table.header, "split")))
            yield from records_of(Table(table.path, header, _with(table, split)), columns, id_prefix=f"{split}/")


def _with(table: Table, split: str) -> Iterator[tuple[int, Cells | ValueError]]:
    for row, cells in table.rows:
        yield row, cells if isinstance(cells, ValueError) else {**cells, "split": split}


def _numbered(table: Table) -> str:
    # rows count within their file: its number keeps the ids of questions apart
    return "-".join(table.path.name.split("-")[:2])


def _shards(path: Path) -> list[tuple[str, Path]]:
    for folder in (path, path / "data"):
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if _SHARD.fullmatch(entry.name))
        except (OSError, ValueError):
            continue
        if names:
            return [(name.partition("-")[0], folder / name) for name in names]
    return []
