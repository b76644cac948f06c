"""OME-TIFF and ImageJ hyperstacks: the channels as one colour picture, or a channel, slice or projection asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragvlm.errors import ImageError, InputError
from ragvlm.locator import Locator
from ragvlm.types import Record

if TYPE_CHECKING:
    from ragvlm.formats import Opened, Source

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PARTS = frozenset({"channel", "projection", "z", "t"})


class StackFormat:
    """A TIFF whose header tells several planes of one field. Its places: ``channel``, ``projection``, ``z`` and ``t``
    (see ``ragvlm.microscopy.View``); a file alone stands for all channels, projected by their brightest values.

    One plane, and one of a set of files, is read as the common TIFF that it is.
    """

    name = "microscope-stack"
    options = frozenset({"channel", "projection"})

    def matches(self, start: bytes, path: Path | None) -> bool:
        """Whether it is a TIFF whose first page carries OME-XML or ImageJ's header."""
        if start[:4] not in TIFF_MAGIC:
            return False
        if path is None:  # bytes: what stands at their start must do
            return b"ImageJ=" in start or b"<OME" in start
        import tifffile

        try:
            with tifffile.TiffFile(path, _multifile=False) as file:
                return bool(file.is_ome or file.is_imagej)
        except Exception:  # a broken file is told by whoever opens it
            return False

    def open(self, source: Source) -> Opened:
        """The picture at ``source.place``. Raises ImageError for a channel, slice or time point that isn't there."""
        from ragvlm.microscopy import View, open_stack

        stream, place = source.stream or io.BytesIO(), source.place
        stack = None if "page" in place.parts else open_stack(stream)
        if stack is None or (not place.parts and stack.planes < 2):
            stream.seek(0)
            return stream
        place.only(PARTS, "a stack")
        view = View(
            channel=place.parts.get("channel", ""),
            projection=place.parts.get("projection", "max"),
            z=place.whole("z", 0) if "z" in place.parts else None,
            t=place.whole("t", 0),
        )
        return stack.picture(view, source.check)

    def expand(self, record: Record, path: Path, options: Mapping[str, Any]) -> Iterator[Record]:
        """The record with channels and pixel size in ``extra``, at the channel and projection asked for."""
        from ragvlm.microscopy import View, read_info

        asked = {name: str(value) for name, value in options.items() if value}
        try:
            View(projection=asked.get("projection", "max"))
        except ImageError as error:
            raise InputError(str(error)) from error
        found = read_info(path)
        if found is None or record.image is None:
            yield record
            return
        info, planes = found
        image = str(Locator(record.image, asked)) if planes > 1 else record.image
        yield replace(record, image=image, extra={**info.to_extra(), **record.extra})
