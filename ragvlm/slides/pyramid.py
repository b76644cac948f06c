"""Whole slides: levels of falling resolution, of which any rectangle is read at any scale."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ragvlm.errors import ImageError

BAND = 1 << 22  # pixels of a level that are held at once while it is shrunk
_PLAUSIBLE_UM = (0.02, 20.0)  # a pixel of 72 dpi (353 µm) is what a program wrote that knew nothing


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution; ``downsample`` is how many pixels of level 0 one of its pixels is wide."""

    width: int
    height: int
    downsample: float


class Source(Protocol):
    """What reads a slide's file."""

    levels: tuple[Level, ...]
    mpp: float | None

    def region(self, level: int, x: int, y: int, width: int, height: int) -> Image.Image:
        """RGB pixels of ``level``, from its own pixel ``x``, ``y`` on; the rectangle lies within the level."""
        ...


@dataclass(frozen=True, slots=True)
class Slide:
    """An open slide. ``mpp``: µm a pixel of level 0, None where the file doesn't say; ``levels[0]`` is the finest."""

    source: Source

    @property
    def levels(self) -> tuple[Level, ...]:
        """The resolutions, finest first."""
        return self.source.levels

    @property
    def mpp(self) -> float | None:
        """Micrometres a pixel of level 0."""
        return self.source.mpp

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of level 0 in pixels."""
        return self.levels[0].width, self.levels[0].height

    def read(
        self,
        x: int,
        y: int,
        width: int,
        height: int,
        size: tuple[int, int],
        check: Callable[[int, int], None] = lambda width, height: None,
    ) -> Image.Image:
        """The rectangle (pixels of level 0) as an RGB picture of ``size``, from the coarsest level that is fine enough.

        ``check(width, height)`` is told what of that level is read, before it is. Raises ImageError where the rectangle
        doesn't lie within the slide.
        """
        w, h = self.size
        if not (0 <= x < x + width <= w and 0 <= y < y + height <= h and min(size) >= 1):
            raise ImageError(f"the rectangle {width} x {height} at ({x}, {y}) is not within the slide of {w} x {h}")
        number = self._level_for(width / size[0])
        level = self.levels[number]
        sx, sy = level.width / w, level.height / h
        left, top = math.floor(x * sx), math.floor(y * sy)
        right = min(max(math.ceil((x + width) * sx), left + 1), level.width)
        bottom = min(max(math.ceil((y + height) * sy), top + 1), level.height)
        check(right - left, bottom - top)
        part = self.source.region(number, left, top, right - left, bottom - top)
        if part.size == size:
            return part
        box = (x * sx - left, y * sy - top, min((x + width) * sx, right) - left, min((y + height) * sy, bottom) - top)
        return part.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)

    def thumbnail(self, side: int) -> tuple[Image.Image, float]:
        """The whole slide with sides of at most ``side``, and how many pixels of level 0 one of its pixels is wide.

        Each pixel is the mean of a block; a slide without small levels is read in bands.
        """
        number = self._level_for(max(self.size) / side)
        level = self.levels[number]
        factor = max(1, math.ceil(max(level.width, level.height) / side))
        rows = max(factor, BAND // level.width // factor * factor)
        out = Image.new("RGB", (-(-level.width // factor), -(-level.height // factor)))
        for top in range(0, level.height, rows):
            band = self.source.region(number, 0, top, level.width, min(rows, level.height - top))
            out.paste(band.reduce(factor), (0, top // factor))
        return out, factor * level.downsample

    def _level_for(self, downsample: float) -> int:
        fine = [n for n, level in enumerate(self.levels) if level.downsample <= downsample * 1.01]
        return max(fine, key=lambda n: self.levels[n].downsample, default=0)


@contextmanager
def open_slide(path: Path, channel: str = "") -> Iterator[Slide]:
    """The whole slide in the file ``path``: a tiled TIFF with levels by tifffile, all else by OpenSlide.

    ``channel`` chooses among those of a slide that has more than colour, as ``ragvlm.microscopy.View`` does.
    Raises ImageError where it is none, or one that needs OpenSlide (``ragvlm[openslide]``) where that is absent.
    """
    from ragvlm.slides import vendor

    if path.suffix.lower() in vendor.SUFFIXES or not is_tiff(path):
        with vendor.opened(path) as source:
            yield Slide(source)
        return
    import tifffile

    from ragvlm.slides.tiffslide import TiffSource

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it would log names in the file
    with tifffile.TiffFile(path, _multifile=False) as file:
        yield Slide(TiffSource(file, channel))


def is_tiff(path: Path) -> bool:
    """Whether the file begins like a TIFF."""
    with path.open("rb") as stream:
        return stream.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def described_mpp(description: str) -> float | None:
    """µm a pixel, as Aperio's header says ``|MPP = 0.2525|``."""
    found = re.search(r"\|\s*MPP\s*=\s*([0-9.]{1,12})", description)
    return plausible(float(found[1])) if found and found[1].count(".") <= 1 and found[1] != "." else None


def plausible(um: float | None) -> float | None:
    """``um`` where it can be the size of a slide's pixel."""
    return um if um is not None and _PLAUSIBLE_UM[0] <= um <= _PLAUSIBLE_UM[1] else None


def to_rgb(array: NDArray[Any]) -> Image.Image:
    """uint8 (H, W), (H, W, 3) or (H, W, 4), alpha ignored -> RGB."""
    return Image.fromarray(np.ascontiguousarray(array if array.ndim == 2 else array[..., :3])).convert("RGB")
