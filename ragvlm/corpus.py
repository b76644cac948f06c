"""Validated records, and the fingerprint that says whether two corpora are the same."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

from ragvlm import formats, remote
from ragvlm.errors import CorpusError, ImageError, RagvlmError, reason
from ragvlm.hidden import digest
from ragvlm.locator import Locator
from ragvlm.phi import REDACT, PhiReport, check_mode, cleaned
from ragvlm.privacy import without_identifiers
from ragvlm.readers import find_reader
from ragvlm.readers.columns import check_fields
from ragvlm.readers.folders import pictures
from ragvlm.types import Reader, Record, Skipped


@dataclass(frozen=True, slots=True)
class Corpus:
    """Records with unique ids whose pictures exist.

    ``root`` is the folder from which relative pictures count. ``unlisted`` are pictures in the folder that no
    record names. ``skipped`` are the rows and pictures that can't be records. ``dropped_columns`` were left out since
    their names say that they identify a person; ``phi`` counts what identified one inside texts.
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
    skipped: tuple[Skipped, ...] = ()
    dropped_columns: tuple[str, ...] = ()
    phi: PhiReport = field(default_factory=PhiReport)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        reader: Reader | str | None = None,
        options: Mapping[str, Any] | None = None,
        phi: str = REDACT,
        hide_names: bool = False,
        strict: bool = False,
    ) -> Corpus:
        """Read the corpus at ``path``, a file or a folder, or a URL such as s3://bucket/folder (see ``ragvlm.remote``).

        ``columns`` maps fields of Record to columns (see ``ragvlm.readers.columns``); ``reader`` is a format's
        name or a Reader, by default what lies at the path decides. ``options`` say how files that hold many
        pictures become records (see ``ragvlm.formats``).

        ``phi`` says what becomes of names, dates and numbers of persons in captions, labels and extra columns (see
        ``ragvlm.phi``): "redact" puts ``[NAME]``, ``[DATE]``, ... in their place, "report" counts them, "keep" doesn't
        look for them. ``hide_names`` tells ids, pictures and volumes by keyed hashes (``ragvlm.hidden``), where their
        names may name a person; only with the same key are the pictures found again.

        A row that can't be read, one with the id of another and one whose picture is not there are skipped; if
        ``strict``, they raise CorpusError naming file and row. InputError tells a wrong argument,
        CorpusError where nothing is left.
        """
        elsewhere = isinstance(path, str) and remote.is_url(path)
        copied, missed = remote.mirror(str(path)) if elsewhere else (Path(path), [])
        place = copied.expanduser().absolute()
        asked = dict(columns or {})
        check_fields(asked)
        formats.check_options(options or {})
        chosen = find_reader(place, reader) if reader is None or isinstance(reader, str) else reader
        folder = place.is_dir()
        root = place if folder else place.parent
        found = _expanded(chain(missed, remote.local_pictures(chosen.read(place, asked))), root, options or {})
        if hide_names:
            found = (_nameless(item, root) for item in found)
        corpus = cls._checked(found, root, place.name if folder else place.stem, phi, strict)
        named = {Locator.of(root / record.image).resolved().path for record in corpus if record.image is not None}
        named |= {str(root / skipped.item) for skipped in corpus.skipped}
        unlisted = tuple(image for image in pictures(place, []) if str(place / image) not in named) if folder else ()
        if hide_names:
            unlisted = tuple(digest(image) for image in unlisted)
        return replace(corpus, reader=chosen.name, unlisted=unlisted)

    @classmethod
    def from_records(
        cls, records: Iterable[Record], *, root: str | Path = ".", name: str | None = None, phi: str = REDACT
    ) -> Corpus:
        """A corpus of records made by a program; relative pictures count from ``root``. ``phi`` is as in ``load``.

        Raises CorpusError for a record that ``load`` would skip.
        """
        place = Path(root).expanduser().absolute()
        return cls._checked(records, place, name or place.name, phi, strict=True)

    @classmethod
    def _checked(cls, found: Iterable[Record | Skipped], root: Path, name: str, phi: str, strict: bool) -> Corpus:
        check_mode(phi)
        counts: Counter[str] = Counter()
        touched = 0
        fingerprint = hashlib.sha256()
        records: list[Record] = []
        skipped: list[Skipped] = []
        dropped: set[str] = set()
        seen: set[str] = set()
        for item in found:
            size = item if isinstance(item, Skipped) else _size(item, root, seen)
            if isinstance(size, Skipped):
                if strict:
                    raise CorpusError(f"{root / size.item}: {size.reason}")
                skipped.append(replace(size, item=size.item.removeprefix(f"{root}/")))
            elif isinstance(item, Record):
                before = counts.total()
                records.append(_without_phi(_without_identifiers(item, dropped), phi, counts))
                touched += counts.total() > before
                seen.add(item.id)
                fingerprint.update(_line(records[-1], size))
        if not records:
            raise CorpusError(_nothing(root, skipped))
        return cls(
            records=tuple(records),
            root=root,
            name=name,
            fingerprint=fingerprint.hexdigest(),
            reader="records",
            skipped=tuple(skipped),
            dropped_columns=tuple(sorted(dropped)),
            phi=PhiReport(phi, touched, dict(counts.most_common())),
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
            "skipped": len(self.skipped),
            "dropped_columns": list(self.dropped_columns),
            "phi": self.phi.to_dict(),
        }


def _expanded(found: Iterable[Record | Skipped], root: Path, options: Mapping[str, Any]) -> Iterator[Record | Skipped]:
    for item in found:
        if isinstance(item, Skipped):
            yield item
            continue
        try:
            yield from formats.expand(item, root, options)
        except RagvlmError as error:
            if not isinstance(error, ImageError):
                raise
            yield Skipped(str(item.image), str(error).removeprefix(f"{root / str(item.image)}: "))
        except Exception as error:  # parsers fail in every way there is; all of them mean a broken file
            yield Skipped(str(item.image), f"broken file ({reason(error)})")


def _nameless(item: Record | Skipped, root: Path) -> Record | Skipped:
    """``item`` without the names of files; what is quoted in a reason may be one, too."""
    if isinstance(item, Skipped):
        row = re.search(r", (?:\w+ )?row \d+$", item.item)
        shown = item.item if row else f"{root}/{digest(item.item.removeprefix(f'{root}/'))}"
        return Skipped(shown, re.sub(r"""(['"]).*\1""", "...", item.reason))
    place = Locator.of(root / item.image) if item.image is not None else None
    if place is not None and "file" in place.parts:  # its format did it
        return item
    extra = dict(item.extra)
    if "volume" in extra:  # the id of another record
        extra["volume"] = digest(str(extra["volume"]))
    image = None
    if place is not None:
        inside = Path(place.path).is_relative_to(root)
        base = root if inside else Path(place.path).parent
        folder = "." if inside else str(base)
        image = str(Locator(folder, {"file": digest(posixpath.relpath(place.path, base)), **place.parts}))
    return replace(item, id=digest(item.id), image=image, extra=extra)


def _without_identifiers(record: Record, dropped: set[str]) -> Record:
    labels, from_labels = without_identifiers(record.labels)
    extra, from_extra = without_identifiers(record.extra)
    dropped |= from_labels | from_extra
    return replace(record, labels=labels, extra=extra)


def _without_phi(record: Record, mode: str, counts: Counter[str]) -> Record:
    texts = {name: getattr(record, name) for name in ("caption", "modality", "source", "extra")}
    # of a list of labels the words are the names
    labels = {cleaned(name, mode, counts): cleaned(value, mode, counts) for name, value in record.labels.items()}
    return replace(record, labels=labels, **cleaned(texts, mode, counts))


def _nothing(root: Path, skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return f"{root}: holds no records"
    first = skipped[0]
    return f"{root}: holds no records; all {len(skipped)} were skipped, the first: {first.item}: {first.reason}"


def _size(record: Record, root: Path, seen: Set[str]) -> int | Skipped | None:
    """Bytes of the record's picture; Skipped where it can't stand in a corpus beside those whose ids were ``seen``."""
    item = record.image or record.id
    if not record.id:
        return Skipped(item, "has no id")
    if record.id in seen:
        return Skipped(item, f"has the id {record.id!r} of an earlier record")
    try:
        place = Locator.of(root / record.image) if record.image is not None else None
        status = place.file.stat() if place else None
    except (OSError, ValueError) as error:
        absent = isinstance(error, FileNotFoundError)
        return Skipped(item, "is not there" if absent else getattr(error, "strerror", None) or str(error))
    # a series of files is a folder, and its parts say what of it is meant
    series = place is not None and status is not None and place.parts and stat.S_ISDIR(status.st_mode)
    if status is not None and not (stat.S_ISREG(status.st_mode) or series):
        return Skipped(item, "is not a file")
    return status.st_size if status is not None else None


def _line(record: Record, size: int | None) -> bytes:
    """What of ``record`` the fingerprint sees."""
    values = {f.name: getattr(record, f.name) for f in fields(record)}
    if record.image is not None and Path(record.image).is_absolute():
        values["image"] = Path(record.image).name
    line = json.dumps([values, size], sort_keys=True, default=dict, ensure_ascii=True)
    return line.encode() + b"\n"
