"""ROCOv2: captions and UMLS concepts of radiological figures.

Rueckert et al., Scientific Data 2024, doi 10.1038/s41597-024-03496-6. The layout was seen in the description of
github.com/openmedlab/Awesome-Medical-Dataset (resources/ROCOV2.md) and in public code that reads it:
``train_captions.csv`` (ID, Caption), ``train_concepts.csv`` (ID, CUIs parted by ";"), pictures ``ID.jpg`` in
``train_images/train``, ``train_images`` or ``train``; the same for valid and test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ragvlm.errors import CorpusError
from ragvlm.readers import values
from ragvlm.readers.delimited import DelimitedReader
from ragvlm.readers.questions import is_file, own_columns
from ragvlm.readers.table import inside
from ragvlm.types import Record, Skipped

_SPLITS = ("train", "valid", "test")


class RocoV2Reader:
    """One record a picture: its caption, its concepts as labels ``{CUI: True}``, ``extra["split"]``."""

    name = "rocov2"
    layout = "ROCOv2 (a folder with train_captions.csv and train_images/, the same for valid and test)"

    def matches(self, path: Path) -> bool:
        """Whether a split's captions lie in the folder, called as in ROCOv2."""
        return any(is_file(path / f"{split}_captions.csv") for split in _SPLITS)

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records of the splits that are there. Raises CorpusError."""
        own_columns(path, columns, "ROCOv2")
        splits = [split for split in _SPLITS if is_file(path / f"{split}_captions.csv")]
        if not splits:
            raise CorpusError(f"{path}: holds no train_captions.csv, valid_captions.csv or test_captions.csv")
        for split in splits:
            yield from _records(path, split)


def _records(path: Path, split: str) -> Iterator[Record | Skipped]:
    concepts: dict[str, list[str]] = {}
    for concept in _concepts(path / f"{split}_concepts.csv"):
        if isinstance(concept, Skipped):
            yield concept
        else:
            concepts[concept[0]] = concept[1]
    pattern: str | None = None

    def make(_: int, cells: Mapping[str, Any]) -> Record:
        nonlocal pattern
        name, caption = _text(cells, "ID"), _text(cells, "Caption")
        pattern = pattern or _pattern(path, split, name)
        return Record(
            id=name,
            image=pattern.format(inside(name, "")),
            caption=caption,
            labels=dict.fromkeys(concepts.get(name, ()), True),
            source="ROCOv2",
            extra={"split": split},
        )

    yield from DelimitedReader().table(path / f"{split}_captions.csv").each(make)


def _pattern(path: Path, split: str, name: str) -> str:
    """Where the pictures of a split lie, judged by the first that is there."""
    folders = (f"{split}_images/{split}", f"{split}_images", split)
    for folder in folders:
        for suffix in (".jpg", ".png"):
            if is_file(path / folder / f"{name}{suffix}"):
                return f"{folder}/{{}}{suffix}"
    raise ValueError(f"picture {name!r} is in none of {', '.join(folders)}: unzip {split}_images.zip there")


def _concepts(file: Path) -> Iterator[tuple[str, list[str]] | Skipped]:
    def make(_: int, cells: Mapping[str, Any]) -> tuple[str, list[str]]:
        listed = values.text(cells.get("CUIs")) or ""
        return _text(cells, "ID"), [cui.strip() for cui in listed.split(";") if cui.strip()]

    return DelimitedReader().table(file).each(make) if is_file(file) else iter(())


def _text(cells: Mapping[str, Any], column: str) -> str:
    text = values.text(cells.get(column))
    if text is None:
        raise ValueError(f"{column} is empty")
    return text
