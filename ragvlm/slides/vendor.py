"""Slides in the formats of makers that tifffile doesn't read, by OpenSlide.

OpenSlide (Goode et al., J Pathol Inform 2013, doi 10.4103/2153-3539.119005) reads MIRAX, Hamamatsu, Leica, Ventana,
Philips, Zeiss and more. It is LGPL-2.1 and linked at run time, by an extra of its own; tiffslide, the other choice,
reads no more formats than tifffile does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from ragvlm.errors import ImageError, require
from ragvlm.pixels import BACKGROUND
from ragvlm.slides.pyramid import Level, plausible

SUFFIXES = frozenset({".mrxs", ".ndpi", ".vms", ".vmu", ".scn", ".bif", ".svslide", ".czi"})
"""Names of slides that OpenSlide is asked for first."""


@contextmanager
def opened(path: Path) -> Iterator[OpenSlideSource]:
    """The slide in ``path``. Raises ImageError where OpenSlide can't read it, MissingExtraError without the extra."""
    openslide = require("openslide", "openslide")
    try:
        handle = openslide.OpenSlide(str(path))
    except openslide.OpenSlideError as error:
        raise ImageError(f"broken slide ({error})") from error
    except OSError as error:
        raise ImageError("is not a slide that can be read") from error
    with handle:
        yield OpenSlideSource(handle)


class OpenSlideSource:
    """An open ``openslide.OpenSlide`` as ``ragvlm.slides.pyramid.Source``."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        sizes = zip(handle.level_dimensions, handle.level_downsamples, strict=True)
        self.levels = tuple(Level(width, height, downsample) for (width, height), downsample in sizes)
        try:
            self.mpp = plausible(float(handle.properties.get("openslide.mpp-x", "nan")))
        except ValueError:
            self.mpp = None

    def region(self, level: int, x: int, y: int, width: int, height: int) -> Image.Image:
        """See ``ragvlm.slides.pyramid.Source``."""
        scale = self.levels[level].downsample
        part = self._handle.read_region((round(x * scale), round(y * scale)), level, (width, height))
        rgb = Image.new("RGB", part.size, BACKGROUND)  # what was not scanned is transparent
        rgb.paste(part, mask=part.getchannel("A"))
        return rgb
