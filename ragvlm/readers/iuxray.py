"""The chest X-rays of Indiana University (Open-i), in the two layouts in which they are passed on.

Demner-Fushman et al., Journal of the American Medical Informatics Association 2016, doi 10.1093/jamia/ocv080. Both
layouts were seen in public code: the tables of Kaggle (raddar/chest-xrays-indiana-university: indiana_reports.csv with
uid, MeSH, Problems, image, indication, comparison, findings, impression, and indiana_projections.csv with uid,
filename, projection), and R2Gen's annotation.json ({"train": [{"id", "report", "image_path": [...], "split"}], "val",
"test"}; Chen et al. 2020, arXiv 2010.16056, github.com/cuhksz-nlp/R2Gen), which MIMIC-CXR is passed on in, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ragvlm.errors import CorpusError
from ragvlm.readers import values
from ragvlm.readers.delimited import DelimitedReader
from ragvlm.readers.questions import first_folder, is_file, json_rows, own_columns
from ragvlm.readers.table import each_row, inside
from ragvlm.types import Record, Skipped

_REPORTS, _PROJECTIONS = "indiana_reports.csv", "indiana_projections.csv"
_FOLDERS = ("images/images_normalized", "images_normalized", "images")
_KEPT = ("findings", "impression", "indication", "comparison", "MeSH", "Problems")
_ANNOTATION = "annotation.json"


class IuXrayReader:
    """One record a picture; its caption is the report's findings and impression, its labels are ``Problems``
    {problem: True}, its subject is the number of the report (there is one a patient)."""

    name = "iu-xray"
    layout = "IU X-ray (a folder with indiana_reports.csv and indiana_projections.csv)"

    def matches(self, path: Path) -> bool:
        """Whether both tables lie in the folder."""
        return is_file(path / _REPORTS) and is_file(path / _PROJECTIONS)

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records in the order of the projections. Raises CorpusError."""
        own_columns(path, columns, "IU X-ray")
        folder = first_folder(path, _FOLDERS)
        if folder is None:
            raise CorpusError(f"{path}: has none of the folders {', '.join(_FOLDERS)}: unzip the pictures there")
        reports: dict[str, Mapping[str, Any]] = {}
        for report in DelimitedReader().table(path / _REPORTS).each(lambda _, cells: cells):
            if isinstance(report, Skipped):
                yield report
            else:
                reports[str(report.get("uid"))] = report
        table = DelimitedReader().table(path / _PROJECTIONS)
        yield from table.each(lambda _, cells: _projection(cells, reports, folder))


def _projection(cells: Mapping[str, Any], reports: Mapping[str, Mapping[str, Any]], folder: str) -> Record:
    uid, name = values.text(cells.get("uid")), values.text(cells.get("filename"))
    if uid is None or name is None:
        raise ValueError("uid or filename is empty")
    if uid not in reports:
        raise ValueError(f"no report has the uid {uid!r}")
    report = {key: text for key in _KEPT if (text := values.text(reports[uid].get(key)))}
    problems = [word.strip() for word in report.get("Problems", "").split(";") if word.strip()]
    return Record(
        id=name,
        image=inside(name, folder),
        caption=" ".join(report[key] for key in ("findings", "impression") if key in report) or None,
        subject_id=uid,
        study_id=uid,
        modality="X-ray",
        labels=dict.fromkeys(problems, True),
        source="Open-i, Indiana University",
        extra=report | ({"projection": text} if (text := values.text(cells.get("projection"))) else {}),
    )


class R2GenReader:
    """One record a picture: its study's report, the study as subject where none is named, ``extra["split"]``."""

    name = "r2gen"
    layout = "R2Gen's IU X-ray or MIMIC-CXR (a folder with annotation.json and images/)"

    def matches(self, path: Path) -> bool:
        """Whether ``annotation.json`` lies in the folder and ``images`` beside it."""
        return is_file(path / _ANNOTATION) and os.path.isdir(path / "images")  # noqa: PTH112

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records of train, val and test. Raises CorpusError."""
        own_columns(path, columns, "R2Gen's layout")
        for split in ("train", "val", "test"):
            for study in each_row(json_rows(path / _ANNOTATION, inside=split), partial(_views, split=split)):
                yield from [study] if isinstance(study, Skipped) else study


def _views(study: Mapping[str, Any], split: str) -> list[Record]:
    name, pictures = values.text(study.get("id")), study.get("image_path")
    if name is None or not isinstance(pictures, list) or not all(isinstance(p, str) and p for p in pictures):
        raise ValueError("must have an id and a list image_path")
    return [
        Record(
            id=picture,
            image=inside(picture, "images"),
            caption=values.text(study.get("report")),
            subject_id=values.text(study.get("subject_id")) or name,
            study_id=values.text(study.get("study_id")) or name,
            modality="X-ray",
            extra={"split": split},
        )
        for picture in pictures
    ]
