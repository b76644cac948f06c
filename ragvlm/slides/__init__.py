"""Whole-slide images: pyramids that are never read as a whole; tissue, tiles and the way back to the slide."""

from ragvlm.slides.pyramid import Slide, open_slide
from ragvlm.slides.tiles import Rect, TileOptions, tile_rects, tile_side

__all__ = ["Rect", "Slide", "TileOptions", "open_slide", "tile_rects", "tile_side"]
