"""CheXpert: chest radiographs with 14 findings.

Irvin et al., AAAI 2019, arXiv 1901.07031. The layout was seen in public code that reads it: ``train.csv`` and
``valid.csv`` (Path, Sex, Age, Frontal/Lateral, AP/PA, then the findings as 1.0, 0.0, -1.0 for uncertain, or empty where
the report says nothing), whose paths ``CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg`` count from the
folder above.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ragvlm.errors import CorpusError
from ragvlm.readers import values
from ragvlm.readers.delimited import DelimitedReader
from ragvlm.readers.questions import is_file, own_columns
from ragvlm.readers.table import inside
from ragvlm.types import Label, Record, Skipped

_SPLITS = ("train", "valid", "test")
_HEADER = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
_SUBJECT = re.compile(r"(patient\d+)/(study\d+)/")
_ANSWERS: Mapping[str, Label] = {"1": True, "0": False, "-1": "uncertain"}


class CheXpertReader:
    """One record a radiograph, JPEG or DICOM, by its path; the findings as labels, ``extra["split"]``.

    The path says patient and study.
    """

    name = "chexpert"
    layout = "CheXpert (a folder with train.csv or valid.csv, whose first column is Path)"

    def matches(self, path: Path) -> bool:
        """Whether a split's table lies in the folder, with CheXpert's header."""
        return any(_starts(path / f"{split}.csv") for split in _SPLITS)

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records of the splits that are there. Raises CorpusError."""
        own_columns(path, columns, "CheXpert")
        splits = [split for split in _SPLITS if _starts(path / f"{split}.csv")]
        if not splits:
            raise CorpusError(f"{path}: holds no train.csv, valid.csv or test.csv of CheXpert")
        for split in splits:
            table = DelimitedReader().table(path / f"{split}.csv")
            yield from table.each(partial(_record, path, table.header, split))


def _starts(file: Path) -> bool:
    if not is_file(file):
        return False
    try:
        with file.open(encoding="utf-8-sig") as stream:
            return stream.readline(200).startswith(",".join(_HEADER))
    except (OSError, UnicodeDecodeError):
        return False


def _record(path: Path, header: Sequence[str], split: str, _: int, cells: Mapping[str, Any]) -> Record:
    name = values.text(cells.get("Path"))
    if name is None:
        raise ValueError("Path is empty")
    found = _SUBJECT.search(name)
    labels = {}
    for finding in header[len(_HEADER) :]:
        word = values.text(cells.get(finding))
        if word is not None:
            if word.removesuffix(".0") not in _ANSWERS:
                raise ValueError(f"{finding} is {word!r}, not 1.0, 0.0, -1.0 or empty")
            labels[finding] = _ANSWERS[word.removesuffix(".0")]
    extra = {"split": split, "sex": cells.get("Sex"), "age": cells.get("Age"), "view": cells.get("Frontal/Lateral"),
             "projection": cells.get("AP/PA")}  # fmt: skip
    image = _image(path, name)
    return Record(
        id=image,
        image=image,
        subject_id=found[1] if found else None,
        study_id=f"{found[1]}/{found[2]}" if found else None,
        modality="X-ray",
        labels=labels,
        source="CheXpert",
        extra={key: value for key, value in extra.items() if value is not None},
    )


def _image(path: Path, name: str) -> str:
    """The picture inside of the folder: the paths of the table begin with the folder's own published name."""
    whole = inside(name, "")
    inner = whole.partition("/")[2]
    return inner if inner and not is_file(path / whole) else whole
