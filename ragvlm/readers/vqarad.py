"""VQA-RAD as its authors publish it: 2,248 questions about 315 radiological pictures.

Lau, Gayen, Ben Abacha and Demner-Fushman, Scientific Data 2018, doi 10.1038/sdata.2018.251. The layout was seen in the
documentation of github.com/f10409/RadHarmony (docs/wiki/datasets/vqa_rad.md): a list of objects in
``VQA_RAD Dataset Public.json``, the pictures in ``VQA_RAD Image Folder``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ragvlm.errors import CorpusError
from ragvlm.readers import values
from ragvlm.readers.questions import first_folder, gathered, is_file, json_rows, own_columns, question_of
from ragvlm.readers.table import each_row, inside
from ragvlm.types import Record, Skipped

_FILES = ("VQA_RAD Dataset Public.json", "VQA_RAD_Dataset_Public.json")
_FOLDERS = ("VQA_RAD Image Folder", "VQA_RAD_Image_Folder", "images")


class VqaRadReader:
    """One record a picture. The official split belongs to the question ("train", "test"): most pictures are in both.

    The subject is the MedPix case in ``image_case_url``, where there is one.
    """

    name = "vqa-rad"
    layout = "VQA-RAD (a folder with 'VQA_RAD Dataset Public.json')"

    def matches(self, path: Path) -> bool:
        """Whether the authors' JSON file lies in the folder, or at the path."""
        return path.name in _FILES or any(is_file(path / name) for name in _FILES)

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records with questions. Raises CorpusError."""
        own_columns(path, columns, "VQA-RAD")
        file = path if path.name in _FILES else next((path / n for n in _FILES if is_file(path / n)), path / _FILES[0])
        folder = first_folder(file.parent, _FOLDERS)
        if folder is None:
            raise CorpusError(f"{file.parent}: has no folder {_FOLDERS[0]!r}: unzip the pictures there")
        yield from gathered(each_row(json_rows(file), lambda cells: _row(cells, folder)))


def _row(cells: Mapping[str, Any], folder: str) -> tuple[Record, dict[str, Any]]:
    question = question_of(
        cells,
        qid="qid",
        question="question",
        answer="answer",
        answer_type="answer_type",
        question_type="question_type",
        phrase_type="phrase_type",
    )
    question["split"] = "test" if question.get("phrase_type", "").startswith("test") else "train"
    return _record(cells, folder), question


def _record(cells: Mapping[str, Any], folder: str) -> Record:
    name = values.text(cells.get("image_name"))
    if name is None:
        raise ValueError("image_name is empty: every question needs its picture")
    organ = values.text(cells.get("image_organ"))
    return Record(
        id=name,
        image=inside(name, folder),
        subject_id=_case(values.text(cells.get("image_case_url"))),
        labels={"organ": organ.lower()} if organ else {},
        source="VQA-RAD",
        licence="CC0-1.0",
    )


def _case(url: str | None) -> str | None:
    found = parse_qs(urlsplit(url).query).get("id") if url else None
    return found[0] if found else None
