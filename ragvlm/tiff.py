"""TIFF pages that Pillow can't read, or reads wrongly: deep colour, planes, 64-bit floats, unusual integers."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin

from ragvlm.errors import ImageError
from ragvlm.pixels import array_to_rgb, upright

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION, _BITS, _PHOTOMETRIC = 274, 258, 262
_DEFLATE = (8, 32946)


def pillow_reads(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether Pillow keeps all bits of the page at hand: it cuts deep colour down to its high bytes."""
    bits = image.tag_v2.get(_BITS, (1,))
    width, height = image.size
    # above its own bound Pillow warns or refuses, whatever bound the caller asked for
    bounded = Image.MAX_IMAGE_PIXELS is None or width * height <= Image.MAX_IMAGE_PIXELS
    return bounded and (len(bits) == 1 or max(bits) <= 8)


def white_is_zero(image: Image.Image) -> bool:
    """Whether a deep grey page counts from white to black, which Pillow leaves to its callers."""
    deep = image.mode.startswith("I") or image.mode == "F"
    return deep and isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0


def read_page(stream: IO[bytes], page: int, check: Callable[[int, int], None]) -> Image.Image:
    """Page ``page`` as an upright PIL RGB picture; ``check(width, height)`` is called before decoding.

    Raises ImageError for an absent page, for more than 4 samples a pixel and for a compression that needs the
    package imagecodecs; other errors are those of tifffile.
    """
    import tifffile

    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        if page >= len(file.pages):
            raise ImageError(f"has {len(file.pages)} pages: page {page} does not exist (they count from 0)")
        ifd = file.pages[page]
        check(ifd.imagewidth, ifd.imagelength * ifd.imagedepth)
        _check_segments(ifd, stream)
        try:
            array = ifd.asarray(maxworkers=1)
        except ValueError as error:
            if "imagecodecs" in str(error):
                raise ImageError(
                    f"TIFF compression {ifd.compression.name}: pip install imagecodecs, or save it uncompressed"
                ) from error
            raise
        return upright(_to_rgb(array, ifd), int(ifd.tags.valueof(_ORIENTATION, 1)))


def count_pages(stream: IO[bytes]) -> tuple[int, int, int]:
    """Width and height of the first page, and the number of pages."""
    import tifffile

    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        first = file.pages[0]
        return first.imagewidth, first.imagelength, len(file.pages)


def _check_segments(ifd: Any, stream: IO[bytes]) -> None:
    """Refuse a page whose strips or tiles are absent, too many, or larger than they claim."""
    if ifd.samplesperpixel not in (1, 3, 4):
        raise ImageError(f"has {ifd.samplesperpixel} channels a page: save 1 or 3, or one channel a page")
    size = stream.seek(0, io.SEEK_END)
    segments = list(zip(ifd.dataoffsets, ifd.databytecounts, strict=False))
    # tifffile would fill what is absent with zeros
    if len(segments) < math.prod(ifd.chunked) or any(o + n > size or n == 0 for o, n in segments):
        raise ImageError("broken TIFF: parts of the page are missing")
    if ifd.compression not in _DEFLATE:
        return
    most = ifd.nbytes + math.prod(ifd.chunks) * ifd.dtype.itemsize  # a tile may reach over the edge
    for offset, count in segments:
        stream.seek(offset)
        # a strip is inflated as a whole, whatever it claims to hold
        if len(zlib.decompressobj().decompress(stream.read(count), most + 1)) > most:
            raise ImageError("broken TIFF: a strip holds more than the whole page")


def _to_rgb(array: NDArray[Any], ifd: Any) -> Image.Image:
    if ifd.axes == "SYX":
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[2] == 4 and not any(int(kind) in (1, 2) for kind in ifd.extrasamples):
        array = array[..., :3]
    rgb = array_to_rgb(array)
    return ImageOps.invert(rgb) if int(ifd.photometric) == 0 else rgb
