"""DICOM files and series by pydicom."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ragvlm import hidden
from ragvlm.errors import ImageError
from ragvlm.formats import dicompixels as pixels
from ragvlm.formats import dicomtags as tags
from ragvlm.formats import series, volumes, windows
from ragvlm.locator import Locator
from ragvlm.types import Record

if TYPE_CHECKING:
    from PIL import Image

    from ragvlm.formats import Source


class Dicom:
    """A DICOM file; ``frame`` counts from 0, ``window`` is one of ``ragvlm.formats.windows``."""

    name = "dicom"
    options = frozenset({"slices", "window", "plain_names"})

    def matches(self, start: bytes, path: Path | None) -> bool:
        """Whether it is DICOM by its first bytes; the suffix does not count."""
        return tags.is_dicom(start)

    def open(self, source: Source) -> Image.Image:
        """A frame, the middle one where none is asked for. Raises ImageError."""
        if source.stream is None:
            raise ImageError("is a folder, not a DICOM file")
        stream = cast("BinaryIO", source.stream)
        source.place.only({"frame", "slices", "window"}, "a DICOM file")
        header = tags.read_header(stream)
        width, height = pixels.size(header)
        source.check(width, height)
        count = pixels.n_frames(header)
        frame = source.place.whole("frame", count // 2)
        if frame >= count:
            raise ImageError(f"has {count} frames: frame {frame} does not exist (they count from 0)")
        return pixels.to_rgb(header, stream, frame, source.place.parts.get("window"))

    def expand(self, record: Record, path: Path, options: Mapping[str, Any]) -> Iterator[Record]:
        """The record with what its header may tell; the frames of a file that has several.

        A file whose header can't be read keeps its record, so that it is skipped under the name that may be shown.
        Raises InputError for an option's value.
        """
        window = _window(options)
        place = _place(str(record.image), options).but(window=window)
        known = _renamed(record, options)
        try:
            header = tags.read_file(path)
            pixels.size(header)
        except ImageError:
            yield replace(known, image=str(place))
            return
        known = _told(known, header)
        count = pixels.n_frames(header)
        if count == 1:
            yield replace(known, image=str(place))
            return
        yield from volumes.records(
            known, count, options, whole=place, place_of=lambda n: place.but(frame=n), extra={"axis": "frame"}
        )

    def stack(self, place: Locator) -> list[Locator]:
        """The frames that a whole file stands for."""
        count = pixels.n_frames(tags.read_file(place.file))
        chosen = volumes.choose(count, place.parts.get("slices", volumes.DEFAULT))
        return [place.but(slices=None, frame=n) for n in chosen]


class DicomSeries:
    """A folder with DICOM slices; ``series`` tells several in one folder apart, ``slice`` counts from 0."""

    name = "dicom-series"
    options = Dicom.options
    whole = frozenset({"series"})

    def matches(self, start: bytes, path: Path | None) -> bool:
        """Whether it is a folder with a DICOM file among the first ones."""
        return not start and path is not None and path.is_dir() and series.sniff(path)

    def open(self, source: Source) -> Image.Image:
        """A slice, the middle one where none is asked for. Raises ImageError."""
        place = source.place
        place.only({"series", "slice", "slices", "window"}, "a folder of DICOM files")
        found = series.find(place.file, place.parts.get("series"))
        n = place.whole("slice", len(found.files) // 2)
        if n >= len(found.files):
            raise ImageError(f"has {len(found.files)} slices: slice {n} does not exist (they count from 0)")
        with (place.file / found.files[n]).open("rb") as stream:
            parts = {key: value for key, value in place.parts.items() if key == "window"}
            return Dicom().open(replace(source, place=Locator(place.path, parts), stream=stream))

    def expand(self, record: Record, path: Path, options: Mapping[str, Any]) -> Iterator[Record]:
        """The volume and its chosen slices, each in its own file. Raises ImageError and InputError."""
        window = _window(options)
        asked = Locator(str(record.image)) if "#" not in str(record.image) else Locator.of(str(record.image))
        found = series.find(path, asked.parts.get("series"))
        place = _place(asked.path, options) if asked.path != "." else Locator(".")
        files = [posixpath.normpath(posixpath.join(asked.path, file)) for file in found.files]
        told = {"gaps": found.gaps, "duplicates": found.duplicates, "slice_spacing_mm": found.spacing}
        yield from volumes.records(
            _told(_renamed(record, options), found.header),
            len(files),
            options,
            whole=place.but(series=found.key, window=window),
            place_of=lambda n: _place(files[n], options).but(window=window),
            extra={key: value for key, value in told.items() if value},
        )

    def stack(self, place: Locator) -> list[Locator]:
        """The files of the slices that a whole series stands for."""
        resolved = place.resolved()
        found = series.find(resolved.file, place.parts.get("series"))
        chosen = volumes.choose(len(found.files), place.parts.get("slices", volumes.DEFAULT))
        return [resolved.but(slices=None, slice=n) for n in chosen]

    def files(self, place: Locator) -> list[Path]:
        """The files of the series at ``place``."""
        folder = place.file
        return [folder / file for file in series.find(folder, place.parts.get("series")).files]


def _window(options: Mapping[str, Any]) -> str | None:
    return windows.check(options["window"]) if options.get("window") else None


def _place(image: str, options: Mapping[str, Any]) -> Locator:
    """Where a file lies, by the hash of its name unless ``plain_names``: files may be named after persons."""
    if options.get("plain_names"):
        return Locator(image)
    folder, name = (
        (str(PurePath(image).parent), PurePath(image).name) if PurePath(image).is_absolute() else (".", image)
    )
    return Locator(folder, {"file": hidden.digest(posixpath.normpath(name))})


def _renamed(record: Record, options: Mapping[str, Any]) -> Record:
    """The record under an id that does not tell its file's name."""
    name = str(record.image)
    told = record.id in name or PurePath(name).stem in record.id
    hides = told and not options.get("plain_names") and "#" not in name
    return replace(record, id=hidden.digest(posixpath.normpath(name))) if hides else record


def _told(record: Record, header: Any) -> Record:
    """The record with what its table does not say and its header may."""
    subject, study = tags.person(header)
    return replace(
        record,
        modality=record.modality or tags.modality(header),
        subject_id=record.subject_id or subject,
        study_id=record.study_id or study,
        extra={**tags.allowed(header), **record.extra},
    )
