"""A part of one TIFF page: only the tiles (or strips) that it touches are read and decoded."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.errors import ImageError

_DEFLATE = (8, 32946)
MAX_SEGMENT = 1 << 28  # bytes of one decoded tile or strip


def read_part(page: Any, x: int, y: int, width: int, height: int) -> NDArray[Any]:
    """The pixels (height, width) or (height, width, samples) of ``page`` from ``x``, ``y`` on, which lie within it.

    Parts that the file doesn't store are white in 8-bit colour and 0 otherwise. Raises ImageError for a compression
    that needs imagecodecs, for tiles above 256 MB and for those that are broken.
    """
    key = page.keyframe
    samples = key.samplesperpixel
    contiguous = key.planarconfig == 1
    blank = 255 if samples >= 3 and key.dtype == np.uint8 else 0
    out = np.full((height, width, samples), blank, key.dtype)
    tall, wide = (key.tilelength, key.tilewidth) if key.is_tiled else (key.rowsperstrip, key.imagewidth)
    if tall * wide * samples * key.dtype.itemsize > MAX_SEGMENT:
        raise ImageError(f"is stored in strips of {wide} x {tall} pixels: save it in tiles")
    across, down = -(-key.imagewidth // wide), -(-key.imagelength // tall)
    for plane in range(1 if contiguous else samples):
        for row in range(y // tall, -(-(y + height) // tall)):
            for column in range(x // wide, -(-(x + width) // wide)):
                segment = _segment(page, (plane * down + row) * across + column)
                if segment is not None:
                    into = out if contiguous else out[..., plane : plane + 1]
                    _paste(into, segment, row * tall - y, column * wide - x)
    return out if samples > 1 else out[..., 0]


def _segment(page: Any, index: int) -> NDArray[Any] | None:
    """Tile or strip ``index``: (length, width, samples), None where the file stores nothing for it."""
    key, handle = page.keyframe, page.parent.filehandle
    if index >= len(page.dataoffsets):
        raise ImageError("broken TIFF: parts of the page are missing")
    count = page.databytecounts[index]
    if count == 0:
        return None
    handle.seek(page.dataoffsets[index])
    data = handle.read(count)
    if len(data) < count:
        raise ImageError("broken TIFF: parts of the page are missing")
    # inflated as a whole, whatever it claims to hold
    if key.compression in _DEFLATE and len(zlib.decompressobj().decompress(data, MAX_SEGMENT + 1)) > MAX_SEGMENT:
        raise ImageError("broken TIFF: a tile holds more than it may")
    try:
        segment = key.decode(data, index, jpegtables=key.jpegtables, jpegheader=key.jpegheader)[0]
    except ValueError as error:
        if "imagecodecs" in str(error):
            raise ImageError(f'TIFF compression {key.compression.name}: pip install "ragvlm[slides]"') from error
        raise
    return None if segment is None else segment[0]


def _paste(out: NDArray[Any], segment: NDArray[Any], top: int, left: int) -> None:
    """Copy ``segment`` to where it lies in ``out``; ``top`` and ``left`` may be negative."""
    rows = slice(max(top, 0), min(top + segment.shape[0], out.shape[0]))
    columns = slice(max(left, 0), min(left + segment.shape[1], out.shape[1]))
    out[rows, columns] = segment[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
