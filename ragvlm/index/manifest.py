"""manifest.json: the one file that says what an index is made of. It is replaced last, atomically.

Its first line holds the SHA-256 of all that follows, so that no changed byte goes unseen.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ragvlm import __version__
from ragvlm.errors import StoreError
from ragvlm.index import fields
from ragvlm.paths import atomic_path

FORMAT_VERSION = 2
NAME = "manifest.json"
# an index from elsewhere must not make us open a file outside of its folder
_FILE = re.compile(r"(segments/\d{6}\.parquet|(image|text|rows|questions|vanished)-\d{6}\.[a-z0-9]+)")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Segment:
    """One parquet file: ``file`` relative to the index folder, its rows, its bytes, its hex SHA-256.

    ``runs`` tell of each row group: its rows, its picture embeddings and the byte where they begin as one run of
    float16 (0 where they don't: then they must be read as parquet), and the same of its caption embeddings.
    """

    file: str
    rows: int
    bytes: int
    sha256: str
    runs: tuple[tuple[int, int, int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Derived:
    """A file beside the segments: a store made from them ("image", "text"), or the ids marked as "vanished"."""

    kind: str
    file: str
    rows: int
    bytes: int
    sha256: str
    state: str = ""
    store: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Live records, those with a picture, those with a caption; by source and licence ("" where unstated)."""

    records: int = 0
    pictures: int = 0
    captions: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)
    licences: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The state of an index. ``encoder``, ``corpus`` and ``store`` are names; times are ISO 8601 in UTC.

    ``encoder_options`` are what the encoder must be loaded with, beside its name, to give the same vectors.
    ``generation`` counts commits; a segment's number is never used again (``next_segment``). ``complete`` is false
    while a build runs and after one was interrupted. ``vanished`` lists the records that are in the index still but
    no more in the corpus, None where there are none; they count as live.
    ``subject_key`` is the fingerprint of the key that hashed subject and study ids, None where they are plain.
    ``store`` may be "auto"; ``store_options`` are its class', ``tuning`` is what ``tune-index`` found, by kind.
    ``calibration`` is a JSON object that the index keeps; see ``fields.calibration``.
    """

    encoder: str
    encoder_fingerprint: str
    image_dim: int
    text_dim: int
    shared_space: bool
    encoder_options: Mapping[str, Any] = field(default_factory=dict)
    corpus: str
    corpus_root: str
    corpus_fingerprint: str
    store: str
    subject_key: str | None = None
    created: str
    updated: str
    version: str = __version__
    generation: int = 0
    complete: bool = False
    skipped: int = 0
    next_segment: int = 1
    counts: Counts = Counts()
    segments: tuple[Segment, ...] = ()
    derived: tuple[Derived, ...] = ()
    vanished: Derived | None = None
    store_options: Mapping[str, Any] = field(default_factory=dict)
    tuning: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stored_rows(self) -> int:
        """Rows in the segments; above ``counts.records`` while an update has superseded some."""
        return sum(segment.rows for segment in self.segments)

    @property
    def state(self) -> str:
        """A fingerprint of what the segments hold; derived files name the one that they were made from."""
        return hashlib.sha256("\n".join(segment.sha256 for segment in self.segments).encode()).hexdigest()[:16]

    @property
    def files(self) -> tuple[Segment | Derived, ...]:
        """All files of the index but the manifest."""
        return (*self.segments, *self.derived, *([self.vanished] if self.vanished else []))

    def derived_of(self, kind: str) -> Derived | None:
        """The store file of ``kind``, where there is one."""
        return next((item for item in self.derived if item.kind == kind), None)

    def committed(self, path: Path, **changes: Any) -> Manifest:
        """Write the next generation, with ``changes``, into the index folder ``path`` and return it."""
        changes |= {"generation": self.generation + 1, "updated": utc_now(), "version": __version__}
        new = replace(self, **changes)
        numbers = [int(Path(segment.file).stem) for segment in new.segments]
        new = replace(new, next_segment=max(new.next_segment, *(number + 1 for number in numbers), 1))
        with atomic_path(path / NAME) as temporary:
            temporary.write_bytes(seal(new.to_dict()))
        return new

    def to_dict(self) -> dict[str, Any]:
        """What manifest.json holds."""
        return {
            "format_version": FORMAT_VERSION,
            "ragvlm_version": self.version,
            "created": self.created,
            "updated": self.updated,
            "generation": self.generation,
            "complete": self.complete,
            "encoder": {
                "name": self.encoder,
                "fingerprint": self.encoder_fingerprint,
                "image_dim": self.image_dim,
                "text_dim": self.text_dim,
                "shared_space": self.shared_space,
                "options": dict(self.encoder_options),
            },
            "corpus": {"name": self.corpus, "root": self.corpus_root, "fingerprint": self.corpus_fingerprint},
            "store": self.store,
            "store_options": dict(self.store_options),
            "tuning": dict(self.tuning),
            "subject_key": self.subject_key,
            "skipped": self.skipped,
            "next_segment": self.next_segment,
            "counts": asdict(self.counts),
            "segments": [asdict(segment) for segment in self.segments],
            "derived": [asdict(item) for item in self.derived],
            "vanished": asdict(self.vanished) if self.vanished else None,
            "calibration": dict(self.calibration),
        }


def seal(table: Mapping[str, Any]) -> bytes:
    """The bytes of a manifest: JSON whose first line is the SHA-256 of the bytes that follow that line."""
    table = {name: value for name, value in table.items() if name != "sha256"}
    # of a folder's name that is no UTF-8 this makes JSON's own escapes
    text = json.dumps(table, indent=1, ensure_ascii=False).encode(errors="backslashreplace")
    body = text.removeprefix(b"{\n") + b"\n"
    return _first_line(body) + body


def _first_line(body: bytes) -> bytes:
    return f'{{"sha256": "{hashlib.sha256(body).hexdigest()}",\n'.encode()


def utc_now() -> str:
    """Now, as ISO 8601 in UTC to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_manifest(path: Path) -> Manifest:
    """The manifest of the index folder ``path``.

    Raises StoreError where there is none, where it is of another format version and where it is garbled.
    """
    try:
        content = (path / NAME).read_bytes()
        table = json.loads(content.decode())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"{path} is not an index (no {NAME}); build one with: ragvlm index CORPUS --out {path}"
        ) from error
    except OSError as error:
        raise StoreError(f"{path / NAME}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path / NAME} is damaged ({error}); {_advice(path)}") from error
    body = content.partition(b"\n")[2]
    sealed = content == _first_line(body) + body
    version = table.get("format_version") if isinstance(table, dict) else None
    # what has a checksum, and a wrong one, is damaged; what has none may be older than checksums are
    if version != FORMAT_VERSION and (sealed or not content.startswith(b'{"sha256": "')):
        raise StoreError(
            f"index {path} has format version {version}, this ragvlm reads {FORMAT_VERSION}: index the corpus again "
            "into another --out"
        )
    if not sealed:
        raise StoreError(f"{path / NAME} is damaged (it differs from its checksum); {_advice(path)}")
    try:
        return _parse(table)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path / NAME} is damaged ({fields.reason(error)}); {_advice(path)}") from error


def _parse(table: dict[str, Any]) -> Manifest:
    encoder, corpus, counts = (fields.get(table, name, dict) for name in ("encoder", "corpus", "counts"))
    return Manifest(
        encoder=fields.get(encoder, "name", str),
        encoder_fingerprint=fields.get(encoder, "fingerprint", str),
        image_dim=fields.get(encoder, "image_dim", int),
        text_dim=fields.get(encoder, "text_dim", int),
        shared_space=fields.get(encoder, "shared_space", bool),
        encoder_options=fields.encoder_options(encoder["options"]),
        corpus=fields.get(corpus, "name", str),
        corpus_root=fields.get(corpus, "root", str),
        corpus_fingerprint=fields.get(corpus, "fingerprint", str),
        store=fields.get(table, "store", str),
        store_options=fields.get(table, "store_options", dict),
        tuning=fields.get(table, "tuning", dict),
        subject_key=None if table["subject_key"] is None else fields.get(table, "subject_key", str),
        created=fields.get(table, "created", str),
        updated=fields.get(table, "updated", str),
        version=fields.get(table, "ragvlm_version", str),
        generation=fields.get(table, "generation", int),
        complete=fields.get(table, "complete", bool),
        skipped=fields.get(table, "skipped", int),
        counts=_counts(counts),
        next_segment=fields.get(table, "next_segment", int),
        segments=tuple(_file(Segment, row) for row in fields.get(table, "segments", list)),
        derived=tuple(_file(Derived, row) for row in fields.get(table, "derived", list)),
        vanished=None if table["vanished"] is None else _file(Derived, table["vanished"]),
        calibration=fields.calibration(fields.get(table, "calibration", dict)),
    )


def _counts(table: dict[str, Any]) -> Counts:
    for name in ("records", "pictures", "captions"):
        fields.get(table, name, int)
    for name in ("sources", "licences"):
        fields.get(table, name, dict)
    return Counts(**table)


def _file(kind: Callable[..., T], row: dict[str, Any]) -> T:
    if not _FILE.fullmatch(fields.get(row, "file", str)):
        raise ValueError(f"unexpected file name {row['file']!r}")
    fields.get(row, "rows", int), fields.get(row, "bytes", int), fields.get(row, "sha256", str)
    return kind(**row | ({"runs": fields.runs(row["runs"])} if "runs" in row else {}))


def _advice(path: Path) -> str:
    return f"copy the index again, or remove it and run: ragvlm index CORPUS --out {path}"
