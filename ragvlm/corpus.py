"""Validated records, and the fingerprint that says whether two corpora are the same."""

from __future__ import annotations

import hashlib
import json
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ragvlm import formats
from ragvlm.errors import CorpusError, ImageError
from ragvlm.locator import Locator
from ragvlm.privacy import without_identifiers
from ragvlm.readers import find_reader
from ragvlm.readers.columns import check_fields
from ragvlm.readers.folders import pictures
from ragvlm.types import Reader, Record

_LISTED = 10


@dataclass(frozen=True, slots=True)
class Corpus:
    """Records with unique ids whose pictures exist.

    ``root`` is the folder from which relative pictures count. ``unlisted`` are pictures in the folder that no
    record names. ``dropped_columns`` were left out since their names say that they identify a person.
    ``fingerprint`` is a SHA-256 over all fields of all records, in order, and the sizes of their files in
    bytes (of a picture outside the root, its file name stands for its path): equal for equal corpora, wherever they
    lie. Pixels are not read for it.
    """

    records: tuple[Record, ...] = field(repr=False)
    root: Path
    name: str
    fingerprint: str
    reader: str
    unlisted: tuple[str, ...] = ()
    dropped_columns: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        reader: Reader | str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Corpus:
        """Read the corpus at ``path``, a file or a folder.

        ``columns`` maps fields of Record to columns (see ``ragvlm.readers.columns``); ``reader`` is a format's
        name or a Reader, by default what lies at the path decides. ``options`` say how files that hold many
        pictures become records (see ``ragvlm.formats``). Raises CorpusError naming file and row.
        """
        place = Path(path).expanduser().absolute()
        asked = dict(columns or {})
        check_fields(asked)
        formats.check_options(options or {})
        chosen = find_reader(place, reader) if reader is None or isinstance(reader, str) else reader
        folder = place.is_dir()
        root = place if folder else place.parent
        records = tuple(_expanded(chosen.read(place, asked), root, options or {}))
        if not records:
            raise CorpusError(f"{path}: holds no records")
        corpus = cls.from_records(records, root=root, name=place.name if folder else place.stem)
        named = {Locator.of(corpus.root / record.image).path for record in records if record.image is not None}
        unlisted = tuple(image for image in pictures(place) if str(place / image) not in named) if folder else ()
        return replace(corpus, reader=chosen.name, unlisted=unlisted)

    @classmethod
    def from_records(cls, records: Iterable[Record], *, root: str | Path = ".", name: str | None = None) -> Corpus:
        """A corpus of records made by a program; relative pictures count from ``root``. Raises CorpusError."""
        place = Path(root).expanduser().absolute()
        cleaned = [_without_identifiers(record) for record in records]
        kept = tuple(record for record, _ in cleaned)
        if not kept:
            raise CorpusError(f"{root}: holds no records")
        _check_ids(kept)
        return cls(
            records=kept,
            root=place,
            name=name or place.name,
            fingerprint=_fingerprint(kept, _file_sizes(kept, place)),
            reader="records",
            dropped_columns=tuple(sorted(set().union(*(dropped for _, dropped in cleaned)))),
        )

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def image_path(self, record: Record) -> Path:
        """Where the picture of ``record`` lies (see ``ragvlm.locator``). Raises CorpusError where it has none."""
        if record.image is None:
            raise CorpusError(f"record {record.id!r} has no picture")
        return self.root / record.image

    def summary(self) -> dict[str, Any]:
        """Counts, as JSON types: records, images, captions, subjects, labels, modalities, sources, licences."""
        return {
            "name": self.name,
            "reader": self.reader,
            "fingerprint": self.fingerprint,
            "records": len(self),
            "images": sum(record.image is not None for record in self),
            "captions": sum(record.caption is not None for record in self),
            "subjects": len({record.subject_id for record in self} - {None}),
            "labels": dict(Counter(label for record in self for label in record.labels)),
            "modalities": dict(Counter(record.modality for record in self if record.modality)),
            "sources": dict(Counter(record.source for record in self if record.source)),
            "licences": dict(Counter(record.licence for record in self if record.licence)),
            "unlisted": len(self.unlisted),
            "dropped_columns": list(self.dropped_columns),
        }


def _expanded(records: Iterable[Record], root: Path, options: Mapping[str, Any]) -> Iterator[Record]:
    for record in records:
        try:
            yield from formats.expand(record, root, options)
        except ImageError as error:
            raise CorpusError(f"{record.image}: {error}") from error


def _without_identifiers(record: Record) -> tuple[Record, set[str]]:
    labels, from_labels = without_identifiers(record.labels)
    extra, from_extra = without_identifiers(record.extra)
    return replace(record, labels=labels, extra=extra), from_labels | from_extra


def _check_ids(records: Sequence[Record]) -> None:
    seen: dict[str, int] = {}
    for place, record in enumerate(records, start=1):
        if not record.id:
            raise CorpusError(f"record {place} has no id")
        if record.id in seen:
            raise CorpusError(f"records {seen[record.id]} and {place} have the same id {record.id!r}")
        seen[record.id] = place


def _file_sizes(records: Sequence[Record], root: Path) -> list[int | None]:
    """Bytes of each record's picture, None where it has none. Raises CorpusError listing those that are absent."""
    sizes: list[int | None] = []
    absent: list[str] = []
    for record in records:
        try:
            place = Locator.of(root / record.image) if record.image is not None else None
            status = place.file.stat() if place else None
            # a series of files is a folder, and its parts say what of it is meant
            if (
                place
                and status
                and not (stat.S_ISREG(status.st_mode) or (place.parts and stat.S_ISDIR(status.st_mode)))
            ):
                absent.append(str(record.image))
            sizes.append(status.st_size if status else None)
        except (OSError, ValueError):
            absent.append(str(record.image))
    if absent:
        shown = ", ".join(absent[:_LISTED]) + (", ..." if len(absent) > _LISTED else "")
        raise CorpusError(f"{root}: {len(absent)} of {len(records)} records name a picture that is not there: {shown}")
    return sizes


def _fingerprint(records: Sequence[Record], sizes: Sequence[int | None]) -> str:
    digest = hashlib.sha256()
    for record, size in zip(records, sizes, strict=True):
        values = {f.name: getattr(record, f.name) for f in fields(record)}
        if record.image is not None and Path(record.image).is_absolute():
            values["image"] = Path(record.image).name
        line = json.dumps([values, size], sort_keys=True, default=dict, ensure_ascii=True)
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
