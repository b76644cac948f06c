"""Slides in TIFF: OME-TIFF with SubIFDs, Aperio SVS, any tiled pyramid; colour, or channels shown in their colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ragvlm.errors import ImageError
from ragvlm.microscopy.colours import channel_colours
from ragvlm.microscopy.metadata import Channel, parse_ome
from ragvlm.microscopy.stack import blend, choose
from ragvlm.pixels import percentile_bounds, stretch
from ragvlm.slides.pyramid import Level, described_mpp, plausible, to_rgb
from ragvlm.slides.tifflevel import read_part

_MAX_LEVELS = 32
_SCALE_PIXELS = 1 << 22  # of the coarsest level, by which channels are scaled


class TiffSource:
    """The first image of an open ``tifffile.TiffFile``. Raises ImageError where it has one resolution alone and is not
    tiled: that is a picture, not a slide."""

    def __init__(self, file: Any, channel: str = "") -> None:
        self.channels: tuple[Channel, ...] = ()
        mpp = None
        if file.is_ome:
            info, planes = parse_ome(file.pages.first.description)
            if planes > len(file.pages) * file.pages.first.samplesperpixel:
                raise ImageError("broken OME-TIFF: it promises more planes than it holds")
            self.channels, mpp = info.channels, info.pixel_um[0]
        series = file.series[0]
        self._series = list(series.levels)[:_MAX_LEVELS]
        first = series.keyframe
        if not first.is_tiled and len(self._series) < 2:
            raise ImageError("is not a slide: it has one resolution, and no tiles")
        self.levels = tuple(_level(item, first.imagewidth) for item in self._series)
        self.mpp = plausible(mpp) or described_mpp(first.description) or plausible(_resolution(first))
        count = len(self._pages(0))
        self.channels = (self.channels + (Channel(),) * count)[:count]
        self._chosen = choose(self.channels, channel)
        self._bounds: list[tuple[float, float]] | None = None

    def region(self, level: int, x: int, y: int, width: int, height: int) -> Image.Image:
        """See ``ragvlm.slides.pyramid.Source``."""
        pages = self._pages(level)
        key = pages[0].keyframe
        if key.samplesperpixel >= 3 and key.dtype == np.uint8:
            return to_rgb(read_part(pages[0], x, y, width, height))
        chosen = self._chosen
        parts = [_grey(read_part(pages[place], x, y, width, height)) for place in chosen]
        layers = [
            part if part.dtype == np.uint8 else stretch(part, *bounds)
            for part, bounds in zip(parts, self._scales(), strict=True)
        ]
        return blend(layers, channel_colours([self.channels[place] for place in chosen]))

    def _scales(self) -> list[tuple[float, float]]:
        """The values that become black and white, of each channel over the whole slide: tiles must look alike."""
        if self._bounds is None:
            coarse = self.levels[-1]
            width = min(coarse.width, _SCALE_PIXELS)
            height = min(coarse.height, max(1, _SCALE_PIXELS // width))
            pages = self._pages(len(self.levels) - 1)
            self._bounds = [
                percentile_bounds(_grey(read_part(pages[place], 0, 0, width, height))) for place in self._chosen
            ]
        return self._bounds

    def _pages(self, level: int) -> list[Any]:
        """A page a channel, of the first slice and time point."""
        series = self._series[level]
        lead = series.axes[: len(series.axes) - len(series.keyframe.shape)]
        step, count = 1, 1
        for place in range(len(lead) - 1, -1, -1):
            if lead[place] == "C":
                count = series.shape[place]
                break
            step *= series.shape[place]
        pages = [series.pages[number * step] for number in range(count) if number * step < len(series.pages)]
        if not pages or any(page is None for page in pages):
            raise ImageError("broken TIFF: planes of a level are missing")
        return pages


def _level(series: Any, full: int) -> Level:
    key = series.keyframe
    return Level(key.imagewidth, key.imagelength, full / key.imagewidth)


def _grey(part: NDArray[Any]) -> NDArray[Any]:
    return part if part.ndim == 2 else part.max(axis=2)


def _resolution(page: Any) -> float | None:
    """µm a pixel by the TIFF resolution, which is in pixels an inch or a centimetre."""
    value = page.tags.valueof("XResolution")
    unit = {2: 25_400.0, 3: 10_000.0}.get(int(page.tags.valueof("ResolutionUnit", 1) or 1))
    return unit * value[1] / value[0] if unit and value and value[0] else None
