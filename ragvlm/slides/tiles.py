"""Tiles of a slide: a grid of squares at one resolution, those that show tissue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.errors import ImageError, InputError
from ragvlm.slides.pyramid import Slide
from ragvlm.slides.tissue import SIDE, tissue_mask

DEFAULT_TILE = 512


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle of a slide: all in pixels of level 0, from the upper left corner of the slide."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TileOptions:
    """tile: side of a tile in pixels, as the encoder sees it. mpp: µm a pixel at which it is cut, None for the slide's
    own. tissue: the least share of a tile that must be tissue, in [0, 1]; 0 keeps all.

    Raises InputError for values out of range.
    """

    tile: int = DEFAULT_TILE
    mpp: float | None = None
    tissue: float = 0.25

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> TileOptions:
        """From words or numbers by name. Raises InputError for what is no number."""
        try:
            kinds = {"tile": int, "mpp": float, "tissue": float}
            return cls(**{name: kinds[name](value) for name, value in options.items()})
        except (TypeError, ValueError) as error:
            raise InputError(f"tile, mpp and tissue are numbers, not {dict(options)}") from error

    def __post_init__(self) -> None:
        if not 16 <= self.tile <= 8192:
            raise InputError(f"tile is {self.tile}: choose 16 to 8192 pixels")
        if self.mpp is not None and not 0 < self.mpp < 1000:
            raise InputError(f"mpp is {self.mpp}: give the micrometres a pixel, as 0.5")
        if not 0 <= self.tissue <= 1:
            raise InputError(f"tissue is {self.tissue}: choose a share from 0 to 1")


def tile_side(slide: Slide, options: TileOptions) -> int:
    """How many pixels of level 0 a tile is wide. Raises ImageError where ``mpp`` is asked of a slide without scale."""
    if options.mpp is None:
        return options.tile
    if slide.mpp is None:
        raise ImageError("doesn't state the size of its pixels: leave mpp out, and tiles are cut from its level 0")
    return max(1, round(options.tile * options.mpp / slide.mpp))


def tile_rects(slide: Slide, options: TileOptions) -> list[Rect]:
    """The tiles with tissue, row by row. At the right and lower edge they end with the slide, and are left out where
    less than half of a side remains; a slide smaller than a tile is one tile.
    """
    side = tile_side(slide, options)
    width, height = slide.size
    grid = [Rect(x, y, w, h) for y, h in _cuts(height, side) for x, w in _cuts(width, side)]
    if options.tissue == 0:
        return grid
    overview, scale = slide.thumbnail(SIDE)
    share = _Shares(tissue_mask(overview), scale)
    return [rect for rect in grid if share(rect) >= options.tissue]


def _cuts(length: int, side: int) -> list[tuple[int, int]]:
    cuts = [(start, min(side, length - start)) for start in range(0, length, side)]
    return [cut for cut in cuts if 2 * cut[1] >= side] or [(0, length)]


class _Shares:
    """The share of a rectangle that is tissue, by a summed-area table of the mask."""

    def __init__(self, mask: NDArray[np.bool_], scale: float) -> None:
        self.scale = scale
        self.table = np.pad(np.cumsum(np.cumsum(mask, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))

    def __call__(self, rect: Rect) -> float:
        rows, columns = self.table.shape
        left, top = int(rect.x / self.scale), int(rect.y / self.scale)
        right = min(max(left + 1, round((rect.x + rect.width) / self.scale)), columns - 1)
        bottom = min(max(top + 1, round((rect.y + rect.height) / self.scale)), rows - 1)
        left, top = min(left, right - 1), min(top, bottom - 1)
        sums = self.table
        inside = int(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])
        return float(inside / ((right - left) * (bottom - top)))
