"""Which column of a table holds which field of a Record."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ragvlm.errors import CorpusError, InputError
from ragvlm.privacy import is_identifier_column

DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "image": (
        "image",
        "file_name",
        "path",
        "filepath",
        "filename",
        "image_path",
        "image_file",
        "image_name",
        "file",
    ),
    "caption": ("caption", "text", "report", "description", "captions"),
    "id": ("id", "image_id"),
    "subject_id": ("subject_id", "patient_id", "case_id", "subject"),
    "study_id": ("study_id",),
    "modality": ("modality",),
    "labels": ("label", "labels"),
    "source": ("source",),
    "licence": ("licence", "license"),
}
"""Field -> names of columns, the first that exists is taken; case, blanks and punctuation do not count."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The column of each field that has one, and the columns that hold labels."""

    fields: Mapping[str, str]
    labels: tuple[str, ...]

    @property
    def used(self) -> frozenset[str]:
        """All columns that have a field; the others belong to ``Record.extra``."""
        return frozenset(self.fields.values()) | frozenset(self.labels)


def check_fields(asked: Mapping[str, str]) -> None:
    """Raise InputError where ``asked`` names a field that records do not have."""
    for field in asked:
        if field not in DEFAULTS:
            raise InputError(f"columns: unknown field {field!r}: choose of {', '.join(DEFAULTS)}")


def resolve(header: Sequence[str], asked: Mapping[str, str], path: Path) -> Columns:
    """The columns of ``header``: those ``asked`` for by field, for the other fields the defaults.

    ``asked["labels"]`` may name several columns, separated by commas. Raises CorpusError for a column that does
    not exist and for an identifier column that is asked for as anything but ``subject_id``.
    """
    check_fields(asked)
    fields: dict[str, str] = {}
    labels: tuple[str, ...] = ()
    for field, defaults in DEFAULTS.items():
        if field == "labels":
            names = [part.strip() for part in asked.get(field, "").split(",") if part.strip()]
            labels = tuple(_existing(name, field, header, path) for name in names)
        elif field in asked:
            fields[field] = _existing(asked[field], field, header, path)
        elif found := _first(defaults, header, taken=[*asked.values(), *fields.values()]):
            fields[field] = found
    if "labels" not in asked and (found := _first(DEFAULTS["labels"], header, taken=list(fields.values()))):
        labels = (found,)
    return Columns(fields, labels)


def _existing(name: str, field: str, header: Sequence[str], path: Path) -> str:
    found = name if name in header else _first((name,), header, taken=())
    if found is None:
        raise CorpusError(f"{path}: has no column {name!r} for {field}: it has {', '.join(header) or 'none'}")
    if field != "subject_id" and is_identifier_column(found):
        raise CorpusError(f"{path}: column {found!r} identifies a person: it can only serve as subject_id")
    return found


def _first(names: Sequence[str], header: Sequence[str], taken: Sequence[str]) -> str | None:
    by_plain = {_plain(column): column for column in reversed(header) if column not in taken}
    return next((by_plain[_plain(name)] for name in names if _plain(name) in by_plain), None)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())
