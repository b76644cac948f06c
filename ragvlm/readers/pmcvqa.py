"""PMC-VQA: multiple-choice questions about figures of articles.

Zhang et al. 2023, arXiv 2305.10415. The layouts were seen on the card of the Hugging Face dataset xmcmic/PMC-VQA and in
public code that reads them: version 1 has the columns Figure_path, Question, Answer, Choice A to D, Answer_label;
version 2 (``*_2.csv``) has index, Figure_path, Caption, Question, Choice A to D, Answer (a letter), split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ragvlm.errors import CorpusError
from ragvlm.readers import values
from ragvlm.readers.delimited import DelimitedReader
from ragvlm.readers.questions import CLOSED, first_folder, gathered, is_file, own_columns, question_of
from ragvlm.readers.table import inside
from ragvlm.types import Record, Skipped

_VERSIONS = (("train.csv", "test_clean.csv"), ("train.csv", "test.csv"), ("train_2.csv", "test_2.csv"))
_FOLDERS = ("images", "figures", "images_2")
_LETTERS = "ABCD"


class PmcVqaReader:
    """One record a figure; its article (PMC1064097 of PMC1064097_F1.jpg) is the subject.

    In a folder, ``train.csv`` is read with ``test_clean.csv`` (the checked part) or else ``test.csv``, and where these
    are absent ``train_2.csv`` with ``test_2.csv``. The split belongs to the question. A question has its ``choices``
    {letter: words}; the answer is the right one's words.
    """

    name = "pmc-vqa"
    layout = "PMC-VQA (a folder with train.csv, test_clean.csv and images/)"

    def matches(self, path: Path) -> bool:
        """Whether the tables of a version lie in the folder, with the columns that they have."""
        return any(all(_is_table(path / name) for name in names) for names in _VERSIONS)

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records with questions; ``path`` may also be one of the tables. Raises CorpusError."""
        own_columns(path, columns, "PMC-VQA")
        root = path if path.is_dir() else path.parent
        names = next((names for names in _VERSIONS if all(is_file(root / name) for name in names)), None)
        if path.is_dir() and names is None:
            raise CorpusError(f"{path}: holds no train.csv with test_clean.csv or test.csv: give the folder of PMC-VQA")
        folder = first_folder(root, _FOLDERS)
        if folder is None:
            raise CorpusError(f"{root}: has none of the folders {', '.join(_FOLDERS)}: unzip the pictures there")
        files = [root / name for name in names or ()] if path.is_dir() else [path]
        yield from gathered(row for file in files for row in _rows(file, folder))


def _is_table(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return b"Figure_path" in stream.readline(1000)
    except (OSError, ValueError):
        return False


def _rows(file: Path, folder: str) -> Iterator[tuple[Record, dict[str, Any]] | Skipped]:
    split = re.split(r"[_.]", file.name)[0]

    def make(row: int, cells: Mapping[str, Any]) -> tuple[Record, dict[str, Any]]:
        return _record(cells, folder), {"qid": f"{file.stem}-{row}", **_question(cells), "split": split}

    return DelimitedReader().table(file).each(make)


def _question(cells: Mapping[str, Any]) -> dict[str, Any]:
    choices = {letter: _bare(values.text(cells.get(f"Choice {letter}")) or "", letter) for letter in _LETTERS}
    label = values.text(cells.get("Answer_label")) or values.text(cells.get("Answer")) or ""
    if label not in choices or not choices[label]:
        raise ValueError(f"the right answer is {label!r}: it must be the letter of one of the choices")
    question = question_of({**cells, "right": choices[label]}, question="Question", answer="right")
    return question | {"answer_type": CLOSED, "choices": choices}


def _bare(choice: str, letter: str) -> str:
    return re.sub(rf"^\s*{letter}\s*[:.)]\s*", "", choice).strip()


def _record(cells: Mapping[str, Any], folder: str) -> Record:
    name = values.text(cells.get("Figure_path"))
    if name is None:
        raise ValueError("Figure_path is empty: every question needs its picture")
    article = re.match(r"PMC\d+", name)
    caption = values.text(cells.get("Caption"))
    return Record(
        id=name,
        image=inside(name, folder),
        caption=caption,
        subject_id=article[0] if article else None,
        source="PMC-VQA",
    )
