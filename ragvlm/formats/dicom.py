"""DICOM files by pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ragvlm.errors import ImageError
from ragvlm.formats import dicompixels as pixels
from ragvlm.formats import dicomtags as tags

if TYPE_CHECKING:
    from PIL import Image

    from ragvlm.formats import Source


class Dicom:
    """A DICOM file; ``frame`` counts from 0, ``window`` is one of ``ragvlm.formats.windows``."""

    name = "dicom"

    def matches(self, start: bytes, path: Path | None) -> bool:
        """Whether it is DICOM by its first bytes; the suffix does not count."""
        return tags.is_dicom(start)

    def open(self, source: Source) -> Image.Image:
        """A frame, the middle one where none is asked for. Raises ImageError."""
        stream = cast("BinaryIO", source.stream)
        source.place.only({"frame", "window"}, "a DICOM file")
        header = tags.read_header(stream)
        width, height = pixels.size(header)
        source.check(width, height)
        count = pixels.n_frames(header)
        frame = source.place.whole("frame", count // 2)
        if frame >= count:
            raise ImageError(f"has {count} frames: frame {frame} does not exist (they count from 0)")
        return pixels.to_rgb(header, stream, frame, source.place.parts.get("window"))
