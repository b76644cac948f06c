"""The RSNA Pneumonia Detection Challenge of 2018: chest radiographs in DICOM with boxes of opacities.

Shih et al., Radiology: Artificial Intelligence 2019, doi 10.1148/ryai.2019180041. The layout was seen in public code
that reads it: ``stage_2_train_labels.csv`` (patientId, x, y, width, height, Target; a row a box), where it is there
``stage_2_detailed_class_info.csv`` (patientId, class), and ``stage_2_train_images/<patientId>.dcm``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from ragvlm.readers import values
from ragvlm.readers.delimited import DelimitedReader
from ragvlm.readers.questions import is_file, own_columns
from ragvlm.readers.table import inside
from ragvlm.types import Label, Record, Skipped

_LABELS, _CLASSES, _FOLDER = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv", "stage_2_train_images"


class RsnaReader:
    """One record a radiograph; labels ``pneumonia`` (truth value) and ``class``, its boxes in ``extra["boxes"]``."""

    name = "rsna-pneumonia"
    layout = f"the RSNA pneumonia challenge (a folder with {_LABELS} and {_FOLDER}/)"

    def matches(self, path: Path) -> bool:
        """Whether the challenge's table lies in the folder."""
        return is_file(path / _LABELS)

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records in the order of their first row. Raises CorpusError."""
        own_columns(path, columns, "the RSNA challenge")
        boxes: dict[str, list[dict[str, Any]]] = {}
        for row in DelimitedReader().table(path / _LABELS).each(lambda _, cells: _box(cells)):
            if isinstance(row, Skipped):
                yield row
            else:
                found = boxes.setdefault(row[0], [])
                found += [{"label": "pneumonia", "bbox": row[1]}] if row[1] else []
        classes = yield from _classes(path / _CLASSES)
        for name, found in boxes.items():
            labels: dict[str, Label] = {"pneumonia": bool(found)}
            labels |= {"class": classes[name]} if name in classes else {}
            yield Record(
                id=name,
                image=inside(f"{_FOLDER}/{name}.dcm", ""),
                subject_id=name,
                modality="X-ray",
                labels=labels,
                source="RSNA Pneumonia Detection Challenge",
                extra={"boxes": found} if found else {},
            )


def _box(cells: Mapping[str, Any]) -> tuple[str, list[float]]:
    """The patient and the corners [xmin, ymin, xmax, ymax] in pixels, none where nothing is marked."""
    name = _text(cells, "patientId")
    if _text(cells, "Target") == "0":
        return name, []
    try:
        x, y, width, height = (float(_text(cells, column)) for column in ("x", "y", "width", "height"))
    except ValueError as error:
        raise ValueError(f"its box is not made of four numbers ({error})") from error
    return name, [x, y, x + width, y + height]


def _classes(file: Path) -> Generator[Skipped, None, dict[str, str]]:
    found: dict[str, str] = {}
    if not is_file(file):
        return found
    for row in DelimitedReader().table(file).each(lambda _, c: (_text(c, "patientId"), _text(c, "class"))):
        if isinstance(row, Skipped):
            yield row
        else:
            found[row[0]] = row[1]
    return found


def _text(cells: Mapping[str, Any], column: str) -> str:
    text = values.text(cells.get(column))
    if text is None:
        raise ValueError(f"{column} is empty")
    return text
