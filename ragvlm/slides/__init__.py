"""Whole-slide images: pyramids that are never read as a whole; tissue, tiles and the way back to the slide."""

from ragvlm.slides.drawing import draw_rects
from ragvlm.slides.pyramid import Slide, open_slide
from ragvlm.slides.tiles import Rect, TileOptions, tile_rects, tile_side

__all__ = ["Rect", "Slide", "TileOptions", "draw_rects", "open_slide", "tile_rects", "tile_side"]
