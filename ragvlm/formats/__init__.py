"""File formats beside the common ones of ``ragvlm.images``: more than one picture a file, or a package of their own.

A format is one class in one file. ``ragvlm.images.open_image`` asks each in turn whether a file is its own; the first
that says so opens it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias, runtime_checkable

from PIL import Image

from ragvlm.errors import InputError
from ragvlm.formats.dicom import Dicom, DicomSeries
from ragvlm.formats.nifti import Nifti
from ragvlm.formats.slide import SLIDE_SUFFIXES as SLIDE_SUFFIXES
from ragvlm.formats.slide import SlideFormat
from ragvlm.formats.stack import StackFormat
from ragvlm.formats.tar import Tar
from ragvlm.locator import Locator
from ragvlm.types import Record

START = 512
"""How many of a file's first bytes ``Format.matches`` is given."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be opened. ``stream`` is at its start, and None for a folder and where the format reads ``in_parts``;
    ``place.path`` is "" for bytes.

    ``check(width, height)`` raises ImageError where a picture has too many pixels: call it before decoding.
    ``max_bytes`` bounds what may be unpacked from the file.
    """

    place: Locator
    stream: IO[bytes] | None
    check: Callable[[int, int], None]
    max_bytes: int


Opened: TypeAlias = Image.Image | IO[bytes]


class Format(Protocol):
    """Knows a file by its first bytes (and, where these don't tell, by its name), and opens a picture in it.

    One that has ``in_parts`` true reads from the path only what it needs, whatever the size of the file; its
    ``Source.stream`` is None.
    """

    name: str

    def matches(self, start: bytes, path: Path | None) -> bool:
        """Whether a file that begins with ``start`` (b"" for a folder) is of this format; cheap, never raises."""
        ...

    def open(self, source: Source) -> Opened:
        """The picture at ``source.place`` as 8-bit RGB, or a binary stream of a common format that holds it.

        Raises ImageError without the path, which the caller puts before it, or anything at all for a broken file.
        """
        ...


@runtime_checkable
class Expander(Protocol):
    """A Format of which one file makes many records: the slices of a volume, the tiles of a slide.

    ``options`` are the names of what may be asked for, as ``slices`` or ``tile``. It may have ``whole``, the parts with
    which a place still means all of the file (as ``series`` in a folder of several).
    """

    options: frozenset[str]

    def expand(self, record: Record, path: Path, options: Mapping[str, Any]) -> Iterator[Record]:
        """The records of the file at ``path``, which ``record.image`` names as a whole.

        Raises InputError for an option's value, ImageError (without the path) where the file can't be read.
        """
        ...


@runtime_checkable
class Stacked(Protocol):
    """A Format whose whole file, asked for as one picture, is many: a volume as a query, or as a record."""

    def stack(self, place: Locator) -> list[Locator]:
        """The places of the pictures that ``place`` stands for, in order. Raises ImageError."""
        ...


FORMATS: tuple[Format, ...] = (Dicom(), DicomSeries(), Nifti(), Tar(), SlideFormat(), StackFormat())
"""All formats; the first that matches opens the file."""


def in_parts(known: Format) -> bool:
    """Whether ``known`` reads what it needs from the path by itself: see ``Format``."""
    return getattr(known, "in_parts", False)


def find_format(start: bytes, path: Path | None) -> Format | None:
    """The format of a file, None for the common ones."""
    return next((known for known in FORMATS if known.matches(start, path)), None)


_PLAIN = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"})  # not worth a look inside: never many records


def expand(record: Record, root: Path, options: Mapping[str, Any]) -> Iterator[Record]:
    """The records that ``record`` stands for: itself, or those of its file where that is of an Expander's format.

    A record that names a place in its file stays as it is. With the option ``mask_burned_in`` all pictures are those
    without the text in their border. Raises as ``Expander.expand`` does.
    """
    for one in _expand(record, root, options):
        if one.image is not None and options.get("mask_burned_in"):
            yield replace(one, image=str(Locator.in_corpus(one.image, root).but(mask="text")))
        else:
            yield one


def _expand(record: Record, root: Path, options: Mapping[str, Any]) -> Iterator[Record]:
    place = Locator.of(root / record.image) if record.image is not None else None
    if place is None or place.file.suffix.lower() in _PLAIN or not (known := format_of(place.file)):
        yield record
    elif isinstance(known, Expander) and place.parts.keys() <= getattr(known, "whole", set()):
        yield from known.expand(record, place.file, {k: v for k, v in options.items() if k in known.options})
    else:
        yield record


def check_options(options: Mapping[str, Any]) -> None:
    """Raise InputError for an option that no format has."""
    names = {name for known in FORMATS if isinstance(known, Expander) for name in known.options} | {"mask_burned_in"}
    for name in options:
        if name not in names:
            raise InputError(f"no format has an option {name!r}: there are {', '.join(sorted(names)) or 'none'}")


def format_of(path: Path) -> Format | None:
    """``find_format`` of a file or folder; None for what can't be read."""
    try:
        if path.is_dir():
            return find_format(b"", path)
        if not path.is_file():  # a pipe would wait for ever
            return None
        with path.open("rb") as stream:
            return find_format(stream.read(START), path)
    except (OSError, ValueError):  # what can't be read is told by whoever opens the picture
        return None


def stack(place: Locator) -> list[Locator]:
    """The pictures that ``place`` stands for: the slices of a whole volume, else itself. Raises ImageError."""
    known = format_of(place.file)
    single = place.parts.keys() & {"slice", "frame"}
    return [place] if single or not isinstance(known, Stacked) else known.stack(place)


def files_of(place: Locator) -> list[Path]:
    """The files that the picture at ``place`` is made of: one, but for a folder. Raises ImageError and OSError."""
    path = place.file
    if not path.is_dir():
        return [path]
    known = format_of(path)
    return known.files(place) if isinstance(known, DicomSeries) else sorted(f for f in path.iterdir() if f.is_file())
