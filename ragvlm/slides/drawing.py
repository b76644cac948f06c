"""A slide's overview with rectangles on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw

from ragvlm.slides.pyramid import open_slide
from ragvlm.slides.tiles import Rect

_COLOUR = (0, 90, 200)


def draw_rects(path: Path, rects: Mapping[str, Rect], side: int = 640, channel: str = "") -> Image.Image:
    """The overview, with sides of at most ``side`` pixels, and on it each rectangle with its name.

    Raises ImageError where the slide can't be read.
    """
    with open_slide(path, channel) as slide:
        overview, scale = slide.thumbnail(side)
    pen = ImageDraw.Draw(overview)
    for name, rect in rects.items():
        left, top = rect.x / scale, rect.y / scale
        corner = (max(left + rect.width / scale, left + 3), max(top + rect.height / scale, top + 3))
        pen.rectangle(((left, top), corner), outline=_COLOUR, width=2)
        pen.text((left + 3, top + 2), name, fill=_COLOUR)
    return overview
