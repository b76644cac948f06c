"""Whole slides: an overview, or a tile; with ``tile`` or ``mpp`` asked for, a record for each tile with tissue."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragvlm.errors import ImageError
from ragvlm.formats.stack import TIFF_MAGIC
from ragvlm.locator import Locator
from ragvlm.slides import vendor
from ragvlm.types import Record

if TYPE_CHECKING:
    from ragvlm.formats import Opened, Source
    from ragvlm.slides import Rect, Slide

SLIDE_SUFFIXES = vendor.SUFFIXES | {".btf", ".qptiff", ".svs"}
"""How slides are called, beside .tif and .tiff."""
MOST_TILES = 64  # of a slide that is a query
OVERVIEW = 2048  # pixels on the longer side of a slide that is shown as a whole
_RECT = ("x", "y", "width", "height")
_TILING = ("tile", "mpp", "tissue")


class SlideFormat:
    """A pyramid in tiles. Its places: ``x``, ``y``, ``width`` and ``height`` in pixels of level 0, shown at ``pixels``
    (as ``512x512``; the rectangle's own where absent), and ``channel``. A file alone stands for its overview.

    Nothing is read but the tiles that are needed, so that the file may be of any size.
    """

    name = "slide"
    options = frozenset({"tile", "mpp", "tissue", "channel"})
    in_parts = True

    def matches(self, start: bytes, path: Path | None) -> bool:
        """Whether it is a tiled TIFF with levels, or called like a slide of a maker that OpenSlide reads."""
        if path is None or not start:
            return False
        if start[:4] not in TIFF_MAGIC:
            return path.suffix.lower() in vendor.SUFFIXES
        return _has_levels(path)

    def open(self, source: Source) -> Opened:
        """The tile at ``source.place``, or the overview. Raises ImageError for a place outside the slide."""
        from ragvlm.slides import open_slide

        place = source.place
        if "page" in place.parts:  # of the file as it is
            return place.file.open("rb")
        place.only({*_RECT, *_TILING, "pixels", "channel"}, "a slide")
        with open_slide(place.file, place.parts.get("channel", "")) as slide:
            if not place.parts.keys() & {*_RECT, "pixels"}:
                return slide.thumbnail(OVERVIEW)[0]
            width, height = slide.size
            x, y = place.whole("x", 0), place.whole("y", 0)
            w, h = place.whole("width", width - x), place.whole("height", height - y)
            size = _pixels(place.parts["pixels"]) if "pixels" in place.parts else (w, h)
            source.check(*size)
            return slide.read(x, y, w, h, size, source.check)

    def expand(self, record: Record, path: Path, options: Mapping[str, Any]) -> Iterator[Record]:
        """A record a tile where ``tile``, ``mpp`` or ``tissue`` is given; else the record, with the slide's size."""
        from ragvlm.slides import TileOptions, open_slide, tile_rects, tile_side

        if record.image is None:
            return
        whole = Locator(record.image).but(channel=options.get("channel") or None)
        asked = {name: options[name] for name in _TILING if options.get(name) is not None}
        chosen = TileOptions.of(asked)
        with open_slide(path, whole.parts.get("channel", "")) as slide:
            if not asked:
                yield replace(record, image=str(whole), extra={**_about(slide), **record.extra})
                return
            side = tile_side(slide, chosen)
            for rect in tile_rects(slide, chosen):
                yield _tile(record, whole, rect, slide.mpp, chosen.tile / side)

    def stack(self, place: Locator) -> list[Locator]:
        """The tiles of a slide that is asked for with ``tile``, ``mpp`` or ``tissue``, at most MOST_TILES, evenly
        spread; else the place itself. Raises ImageError where no tile shows tissue."""
        asked = {name: place.parts[name] for name in _TILING if name in place.parts}
        if not asked or place.parts.keys() & set(_RECT):
            return [place]
        whole = place.but(**dict.fromkeys(_TILING))
        options = {**asked, "channel": whole.parts.get("channel")}
        record = Record(id="", image=whole.path)
        found = [str(tile.image) for tile in self.expand(record, place.file, options)]
        if not found:
            raise ImageError("no tile shows enough tissue: give tissue a smaller share, or 0")
        step = max(1, -(-len(found) // MOST_TILES))
        return [Locator.of(tile) for tile in found[::step]]


def _tile(record: Record, whole: Locator, rect: Rect, mpp: float | None, scale: float) -> Record:
    size = "x".join(str(max(1, round(length * scale))) for length in (rect.width, rect.height))
    parts = {name: getattr(rect, name) for name in _RECT}
    region: dict[str, Any] = dict(parts)  # the file is named by the place, which may be hidden
    if mpp is not None:
        region["um"] = [round(parts[name] * mpp, 3) for name in _RECT]
        region["mpp"] = round(mpp / scale, 6)
    return replace(
        record,
        id=f"{record.id}@{rect.x},{rect.y}",
        image=str(whole.but(**parts, pixels=size)),
        subject_id=record.subject_id or record.id,  # tiles of one slide are of one specimen
        extra={**record.extra, "region": region},
    )


def _about(slide: Slide) -> dict[str, Any]:
    size = {"slide_size": list(slide.size)}
    return size if slide.mpp is None else {**size, "pixel_size_um": [round(slide.mpp, 6)] * 2}


def _pixels(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text, re.ASCII)
    if not found:
        raise ImageError(f"pixels={text}: give width x height, as 512x512")
    return int(found[1]), int(found[2])


def _has_levels(path: Path) -> bool:
    import tifffile

    try:
        with tifffile.TiffFile(path, _multifile=False) as file:
            first = file.pages.first
            if not first.is_tiled:
                return False
            if first.subifds or file.is_svs:
                return True
            second = None if file.is_ome or len(file.pages) < 2 else file.pages[1]
            return second is not None and second.is_tiled and second.imagewidth < first.imagewidth
    except Exception:  # a broken file is told by whoever opens it
        return False
