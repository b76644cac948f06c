"""Arrays of any numeric kind -> 8-bit RGB: the one rule by which deep pixels become visible."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from ragvlm.errors import ImageError

_BLOCK = 1 << 20  # pixels scaled at once: a large page must not be held as floats
LOW_PERCENTILE, HIGH_PERCENTILE = 0.1, 99.9
BACKGROUND = (255, 255, 255)
"""What shines through transparent pixels: white, the empty field of bright-field micrographs and of a page."""


def scale_to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Real ``values`` of one dimension or more -> uint8 of the same shape, monotone in the values.

    uint8 stays untouched and bool becomes 0 and 255. Of all else the 0.1 percentile becomes 0 and the 99.9
    percentile 255, linear between, clipped outside; the percentiles (nearest rank) are of all values together,
    so that colours keep their balance. Where both percentiles are equal (all but some sparse spots have one
    value) the minimum and the maximum take their place; where those are equal too, all becomes 0. NaN counts as
    the lowest value.

    Raises ImageError where the values are not real numbers.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "iuf":
        raise ImageError(f"pixels of type {values.dtype} are not numbers: pass integers, floats or booleans")
    low, high = percentile_bounds(values)
    scaled = np.zeros(values.shape, np.uint8)
    if high > low:
        step = max(1, _BLOCK * len(values) // max(values.size, 1))
        for start in range(0, len(values), step):
            scaled[start : start + step] = stretch(values[start : start + step], low, high)
    return scaled


def percentile_bounds(values: NDArray[Any]) -> tuple[float, float]:
    """What becomes 0 and what becomes 255 of ``values``: see ``scale_to_uint8``; equal where all are equal."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.flatten()
    if finite.size == 0:
        return 0.0, 0.0
    percentiles = np.percentile(finite, (LOW_PERCENTILE, HIGH_PERCENTILE), method="nearest", overwrite_input=True)
    low, high = (float(value) for value in percentiles)
    return (low, high) if high > low else (float(finite.min()), float(finite.max()))


def stretch(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Real ``values`` -> uint8: ``low`` becomes 0 and ``high`` 255, linear between, clipped outside."""
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    # halves, since the difference of two extreme floats would overflow
    low, high = low / 2, high / 2
    half = np.nan_to_num(values.astype(np.float64) / 2, copy=False, nan=low, posinf=high, neginf=low)
    scaled = (np.clip(half, low, high, out=half) - low) / (high - low)
    return np.rint(scaled * 255).astype(np.uint8)


def array_to_rgb(array: NDArray[Any]) -> Image.Image:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4: RGBA) of real numbers -> PIL RGB picture of W x H.

    Pixels are scaled by ``scale_to_uint8``; alpha (full at the type's maximum, or at 1.0 of floats) is not a
    part of that scale and is composited on white. Raises ImageError for other shapes and types.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or 0 in array.shape:
        raise ImageError(
            f"an array of shape {array.shape} is not a picture: pass (height, width), (height, width, 3) "
            "or (height, width, 4), one page or channel at a time"
        )
    colour = scale_to_uint8(array[..., :3] if array.ndim == 3 else array)
    if channels == 1:
        return Image.fromarray(np.ascontiguousarray(colour.reshape(array.shape[:2]))).convert("RGB")
    picture = Image.fromarray(np.ascontiguousarray(colour))
    return composite(picture, Image.fromarray(_alpha(array[..., 3]))) if channels == 4 else picture


def _alpha(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype in (np.uint8, np.bool_):
        return scale_to_uint8(np.ascontiguousarray(values))
    full = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
    scaled: NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(values / full), 0, 1) * 255).astype(np.uint8)
    return scaled


def composite(rgb: Image.Image, alpha: Image.Image) -> Image.Image:
    """``rgb`` over BACKGROUND, by the "L" picture ``alpha`` (255 is opaque)."""
    under = Image.new("RGB", rgb.size, BACKGROUND)
    under.paste(rgb, mask=alpha)
    return under


def upright(rgb: Image.Image, orientation: int) -> Image.Image:
    """``rgb`` turned and mirrored as the EXIF or TIFF ``orientation`` 1 to 8 says; others mean 1."""
    if orientation not in range(2, 9):
        return rgb
    rgb.getexif()[ExifTags.Base.Orientation] = orientation
    return ImageOps.exif_transpose(rgb)
