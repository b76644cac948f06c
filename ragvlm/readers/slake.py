"""SLAKE: questions in English and Chinese about 642 radiological pictures.

Liu, Zhan, Xu, Ma, Yang and Wu, ISBI 2021, doi 10.1109/ISBI48211.2021.9434010. The layout was seen in the description of
github.com/openmedlab/Awesome-Medical-Dataset (resources/SLAKE.md) and on the card of the Hugging Face dataset
BoKelvin/SLAKE, where validate.json is called validation.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ragvlm.errors import CorpusError
from ragvlm.readers import values
from ragvlm.readers.questions import gathered, is_file, json_rows, own_columns, question_of
from ragvlm.readers.table import each_row, inside
from ragvlm.types import Record, Skipped

_SPLITS = {"train.json": "train", "validate.json": "validation", "validation.json": "validation", "test.json": "test"}


class SlakeReader:
    """``train.json``, ``validate.json`` and ``test.json``, pictures in ``imgs/xmlab*/source.jpg``.

    One record a picture, with the questions in ``language`` ("en", "zh"); a picture without any is left out.
    """

    def __init__(
        self,
        name: str = "slake",
        language: str = "en",
        layout: str = "SLAKE (a folder with train.json, test.json and imgs/xmlab*)",
    ) -> None:
        self.name = name
        self.language = language
        self.layout = layout

    def matches(self, path: Path) -> bool:
        """Whether the split files lie in the folder and the pictures in ``imgs`` beside them."""
        return self.language == "en" and is_file(path / "test.json") and _pictures(path)

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records with questions. Raises CorpusError."""
        own_columns(path, columns, "SLAKE")
        files = [path / name for name in _SPLITS if is_file(path / name)]
        if not files:
            raise CorpusError(f"{path}: holds none of {', '.join(_SPLITS)}: give the folder of SLAKE")
        yield from gathered(row for file in files for row in self._rows(file))

    def _rows(self, file: Path) -> Iterator[tuple[Record, dict[str, Any]] | Skipped]:
        rows = json_rows(file)
        spoken = (row for row in rows if isinstance(row[1], ValueError) or row[1].get("q_lang", "en") == self.language)
        return each_row(spoken, lambda cells: _row(cells, _SPLITS[file.name]))


def _row(cells: Mapping[str, Any], split: str) -> tuple[Record, dict[str, Any]]:
    question = question_of(
        cells,
        qid="qid",
        question="question",
        answer="answer",
        answer_type="answer_type",
        question_type="content_type",
    )
    return _record(cells), question | {"split": split}


def _record(cells: Mapping[str, Any]) -> Record:
    name = values.text(cells.get("img_name"))
    if name is None:
        raise ValueError("img_name is empty: every question needs its picture")
    location = values.text(cells.get("location"))
    return Record(
        id=name,
        image=inside(name, "imgs"),
        modality=values.text(cells.get("modality")),
        labels={"location": location} if location else {},
        source="SLAKE",
        licence="CC-BY-4.0",
    )


def _pictures(path: Path) -> bool:
    try:
        return next((path / "imgs").glob("xmlab*"), None) is not None
    except (OSError, ValueError):
        return False
