"""The one door for pixels: bounded, safe decoding of every format into 8-bit RGB, and fingerprints of pictures."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ragvlm import jpeg, tiff
from ragvlm.errors import ImageError, MissingExtraError, reason
from ragvlm.formats import SLIDE_SUFFIXES, START, Source, find_format, format_of, in_parts
from ragvlm.locator import Locator
from ragvlm.pixels import array_to_rgb, composite, upright
from ragvlm.streams import open_stream, pixel_bound

ImageSource: TypeAlias = str | Path | bytes | bytearray | memoryview | IO[bytes] | Image.Image | NDArray[Any]

SUPPORTED_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}) | SLIDE_SUFFIXES
_BYTES_PER_PIXEL = 16  # four 32-bit samples: no page needs more, so no larger file is worth reading

# The decoders are called by the first bytes, not through Image.open: that one would first apply Pillow's own
# bound (a global, with a warning below it), and would try formats that run other programs.
_DECODERS: tuple[tuple[bytes, Callable[[IO[bytes]], ImageFile.ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"GIF8", GifImagePlugin.GifImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    *((magic, TiffImagePlugin.TiffImageFile) for magic in tiff.MAGIC),
)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a picture's header says: pixels of the first page, and the number of pages (frames of a GIF)."""

    width: int
    height: int
    n_pages: int


def open_image(
    source: ImageSource,
    *,
    max_pixels: int | None = None,
    page: int = 0,
    name: str | None = None,
    side: int | None = None,
    admit: Callable[[int, int], None] | None = None,
) -> Image.Image:
    """``source`` as an upright 8-bit PIL RGB picture.

    ``source`` is a path, a place in a file as ``ragvlm.locator`` writes it, the bytes of a file, a binary stream,
    a PIL picture, or an array (H, W), (H, W, 3) or (H, W, 4). ``max_pixels`` bounds width x height, from the header,
    before anything is decoded (default: ``$RAGVLM_MAX_PIXELS``, else 200,000,000); a file may have at most 16
    bytes for each of them. ``page`` counts from 0; the part ``page`` of a place goes before it. ``name`` is what
    errors call the source. ``side`` says that the picture will be shrunk to so many pixels: a JPEG is then decoded at
    1/2, 1/4 or 1/8 of its size (``picture.info["scale"]`` is 2, 4 or 8), as long as both sides keep twice that.
    ``admit`` is called with width and height before pixels are decoded, and may wait.

    The EXIF orientation is applied, transparency is composited on white, 8-bit pixels stay untouched, deeper
    ones are scaled by ``ragvlm.pixels.scale_to_uint8`` (0.1 to 99.9 percentile of the page).

    Raises ImageError, and nothing else, for whatever can't be decoded.
    """
    bound = pixel_bound(max_pixels)
    wanted = _Wanted(_check_size(bound, admit), bound * _BYTES_PER_PIXEL, page, side)
    label = name or _label(source)
    try:
        if isinstance(source, np.ndarray | Image.Image):
            return _from_memory(source, wanted)
        place = Locator.of(source).resolved() if isinstance(source, str | Path) else Locator("")
        if "mask" not in place.parts:
            return _open_place(place, source, wanted)
        from ragvlm.burnedin import masked

        # letters must be seen at their size
        return masked(_open_place(place.but(mask=None), source, replace(wanted, side=None)), place.parts["mask"])
    except (ImageError, MissingExtraError) as error:
        raise ImageError(f"{label}: {error}") from error
    except Exception as error:  # decoders fail in every way there is; all of them mean a broken file
        raise ImageError(f"{label}: broken picture ({reason(error)})") from error


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What ``open_image`` was asked for: ``check`` takes width and height, a file has ``most`` bytes."""

    check: Callable[[int, int], None]
    most: int
    page: int
    side: int | None


def _open_place(place: Locator, source: object, wanted: _Wanted) -> Image.Image:
    check, most = wanted.check, wanted.most
    if wanted.page > 0 and "page" not in place.parts:
        place = place.but(page=wanted.page)
    whole = format_of(place.file) if place.path else None
    if whole is not None and (in_parts(whole) or place.file.is_dir()):
        return _common(whole.open(Source(place, None, check, most)), place, wanted)
    with open_stream(place.path or source, most) as stream:
        known = whole if place.path else find_format(stream.read(START), None)
        stream.seek(0)
        opened = stream if known is None else known.open(Source(place, stream, check, most))
        return _common(opened, place if opened is stream else Locator(place.path), wanted)


def _common(opened: Image.Image | IO[bytes], place: Locator, wanted: _Wanted) -> Image.Image:
    """What a format gave, as a picture; a stream holds one of the common formats."""
    if isinstance(opened, Image.Image):
        return opened
    place.only({"page"}, "a picture")
    with opened:
        return _decode(opened, replace(wanted, page=place.whole("page", wanted.page)))


def image_info(source: str | Path | bytes, *, max_pixels: int | None = None) -> ImageInfo:
    """Size and number of pages, from the headers alone; a picture in a ``Format``'s file is opened, and is 1 page.

    Raises ImageError as ``open_image`` does.
    """
    label = _label(source)
    place = Locator.of(source).resolved() if isinstance(source, str | Path) else Locator("")
    try:
        if place.parts or (place.path and format_of(place.file)):
            return ImageInfo(*open_image(source, max_pixels=max_pixels).size, n_pages=1)
        with open_stream(source, pixel_bound(max_pixels) * _BYTES_PER_PIXEL) as stream:
            if not place.path and find_format(stream.read(START), None):
                return ImageInfo(*open_image(source, max_pixels=max_pixels).size, n_pages=1)
            stream.seek(0)
            image = _identify(stream)
            if image is None:
                return ImageInfo(*tiff.count_pages(stream))
            return ImageInfo(*image.size, n_pages=getattr(image, "n_frames", 1))
    except (ImageError, MissingExtraError) as error:
        raise ImageError(f"{label}: {error}") from error
    except Exception as error:
        raise ImageError(f"{label}: broken picture ({reason(error)})") from error


def _label(source: object) -> str:
    if isinstance(source, str | Path):
        return str(source)
    return f"<{type(source).__name__}>"


def _check_size(bound: int, admit: Callable[[int, int], None] | None) -> Callable[[int, int], None]:
    def check(width: int, height: int) -> None:
        if width * height > bound:
            raise ImageError(
                f"{width} x {height} pixels are more than the bound of {bound:,}: "
                "scale it down, or raise RAGVLM_MAX_PIXELS"
            )
        if admit:
            admit(width, height)

    return check


def _identify(stream: IO[bytes]) -> ImageFile.ImageFile | None:
    """The picture with its header read, or None for a TIFF of a kind that Pillow does not know."""
    start = stream.read(16)
    stream.seek(0)
    decoder = next((decoder for magic, decoder in _DECODERS if start.startswith(magic)), None)
    if decoder is None or (start[:4] == b"RIFF" and start[8:12] != b"WEBP"):
        raise ImageError("is not a picture that can be read: use JPEG, PNG, WebP, BMP, GIF or TIFF")
    try:
        return decoder(stream)
    except SyntaxError:
        if start[:4] in tiff.MAGIC:
            return None
        raise


def _decode(stream: IO[bytes], wanted: _Wanted) -> Image.Image:
    check, page = wanted.check, wanted.page
    image = _identify(stream)
    if page < 0:
        raise ImageError(f"page {page} does not exist: pages count from 0")
    if image is None:
        return tiff.read_page(stream, page, check)
    check(*image.size)
    if page:
        n_pages = getattr(image, "n_frames", 1)
        if page >= n_pages:
            raise ImageError(f"has {n_pages} pages: page {page} does not exist (they count from 0)")
        image.seek(page)
        check(*image.size)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and not tiff.pillow_reads(image):
        return tiff.read_page(stream, page, check)
    if image.tile and image.tile[0].args in ("RGB;16B", "RGBA;16B"):
        return _deep_png(image, stream)
    scale = jpeg.shrink(image, wanted.side)
    rgb = _to_rgb(image)
    rgb.info |= {"scale": scale} if scale > 1 else {}
    return rgb


def _deep_png(image: ImageFile.ImageFile, stream: IO[bytes]) -> Image.Image:
    # Pillow keeps the high bytes of 16-bit colour alone; read as little-endian, the same data gives the low ones
    high = np.asarray(image)
    stream.seek(0)
    image = PngImagePlugin.PngImageFile(stream)
    image.tile = [tile._replace(args=str(tile.args).replace("16B", "16L")) for tile in image.tile]
    rgb = array_to_rgb(high.astype(np.uint16) << 8 | np.asarray(image))
    return upright(rgb, image.getexif().get(ExifTags.Base.Orientation, 1))


def _from_memory(source: Image.Image | NDArray[Any], wanted: _Wanted) -> Image.Image:
    if wanted.page:
        raise ImageError(f"page {wanted.page} was asked for, but a picture in memory has one page")
    if isinstance(source, Image.Image):
        wanted.check(*source.size)
        return _to_rgb(source)
    height, width = source.shape[:2] if source.ndim >= 2 else (0, 0)
    wanted.check(width, height)
    return array_to_rgb(source)


def _to_rgb(image: Image.Image) -> Image.Image:
    inverted = tiff.white_is_zero(image)
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    upright = ImageOps.exif_transpose(image) if turned else image  # which would copy in any case
    if upright.mode.startswith("I") or upright.mode == "F":
        rgb = array_to_rgb(np.asarray(upright))
        return ImageOps.invert(rgb) if inverted else rgb
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        return composite(rgba.convert("RGB"), rgba.getchannel("A"))
    rgb = upright.convert("RGB")
    rgb.info.clear()  # colour profiles and EXIF (a place, a person) go no further
    return rgb


def pixel_hash(image: Image.Image) -> str:
    """Hex SHA-256 over size and RGB pixels: equal for exact duplicates, in whatever lossless format they lie.

    For a JPEG that was decoded at 1/2, 1/4 or 1/8 (``side`` of ``open_image``) the hash ends in "/2", "/4" or "/8": it
    is equal for JPEGs of the same coefficients alone, and says nothing about pixels in full.
    """
    digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    digest.update((image if image.mode == "RGB" else image.convert("RGB")).tobytes())
    scale = image.info.get("scale", 1)
    return digest.hexdigest() + (f"/{scale}" if scale in jpeg.SCALES else "")


def perceptual_hash(image: Image.Image) -> int:
    """64-bit pHash, in [0, 2**64): pictures that look alike differ in few bits (see ``hamming``).

    The luma is shrunk to 32 x 32; of its cosine transform (DCT-II) the coefficients 1..8 in both directions
    give a bit each: above their median or not. A picture of one colour gives 0. Source: C. Zauner,
    "Implementation and Benchmarking of Perceptual Image Hash Functions", thesis, Hagenberg 2010. By hand, since
    the package imagehash would bring scipy and PyWavelets into the core for these few lines.
    """
    luma = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), np.float64)
    basis = np.cos(np.pi * np.outer(np.arange(1, 9), 2 * np.arange(32) + 1) / 64)
    low = (basis @ (luma - luma.mean()) @ basis.T).ravel()
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def hamming(a: int, b: int) -> int:
    """The number of bits in which two hashes differ, 0 to 64."""
    return (a ^ b).bit_count()


def thumbnail_data_uri(image: Image.Image, size: int = 160) -> str:
    """``image`` shrunk to at most ``size`` x ``size`` pixels, as a ``data:image/jpeg;base64,...`` URI."""
    small = image.convert("RGB")
    small.thumbnail((size, size))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
