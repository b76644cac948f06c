"""Text burnt into the border of a picture: where it is, and the picture without it.

Scanners and ultrasound machines write names, numbers and dates into the pixels. What is looked for are strokes (by a
top-hat, Serra 1982), connected to letters, that stand side by side on a line: the classical way of finding text without
a model. Its misses are measured (``benchmarks/burned_in.py``); it is no proof that a picture is clean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ragvlm.errors import ImageError, require

BORDER = 0.3  # of each side: what is written in the middle is mostly a mark of a finding
LETTERS = 4  # on a line, at least
CONTRAST = 48  # grey levels between a stroke and what is around it
_TALLEST, _SMALLEST = 0.08, 5  # of the picture's height; pixels
_WIDEST = 8  # heights: letters that touch


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels: left and top are in it, right and bottom are not."""

    left: int
    top: int
    right: int
    bottom: int


def find_text(image: Image.Image) -> list[Box]:
    """Lines of text in the border of an RGB picture, from the top. Raises MissingExtraError."""
    pixels = np.asarray(image.convert("RGB"))
    # coloured letters stand out in one channel at least
    lines = {line for grey in (pixels.max(axis=2), 255 - pixels.min(axis=2)) for line in _lines(grey)}
    return sorted((line for line in lines if _in_border(line, *image.size)), key=lambda box: (box.top, box.left))


def masked(image: Image.Image, what: str) -> Image.Image:
    """The picture at a place with the part ``mask``: text is all that can be masked. Raises ImageError."""
    if what != "text":
        raise ImageError(f"mask={what}: only text can be masked")
    return mask_text(image)


def mask_text(image: Image.Image) -> Image.Image:
    """A copy of an RGB picture whose text in the border is painted over, each line in the median colour around it."""
    masked = image.copy()
    pixels = np.asarray(image)
    draw = ImageDraw.Draw(masked)
    for box in find_text(image):
        pad = max(2, (box.bottom - box.top) // 3)
        area = (
            max(0, box.left - pad),
            max(0, box.top - pad),
            min(image.width, box.right + pad),
            min(image.height, box.bottom + pad),
        )
        around = pixels[area[1] : area[3], area[0] : area[2]].reshape(-1, pixels.shape[2])
        colour = tuple(int(value) for value in np.median(around, axis=0))
        draw.rectangle((area[0], area[1], area[2] - 1, area[3] - 1), fill=colour)
    return masked


def _in_border(box: Box, width: int, height: int) -> bool:
    x, y = (box.left + box.right) / 2 / width, (box.top + box.bottom) / 2 / height
    return not (BORDER < x < 1 - BORDER and BORDER < y < 1 - BORDER)


def _lines(grey: NDArray[np.uint8]) -> list[Box]:
    """Lines of bright letters in (H, W)."""
    letters = sorted(_letters(grey), key=lambda box: box.left)
    lines: list[list[Box]] = []
    for letter in letters:
        line = next((line for line in lines if _continues(line[-1], letter)), None)
        if line is None:
            lines.append([letter])
        else:
            line.append(letter)
    return [
        Box(line[0].left, min(b.top for b in line), max(b.right for b in line), max(b.bottom for b in line))
        for line in lines
        if sum(_count(letter) for letter in line) >= LETTERS and _varied(line)
    ]


def _letters(grey: NDArray[np.uint8]) -> list[Box]:
    """What could be a letter: a connected stroke of a letter's size that is neither a dot nor a filled block."""
    require("skimage", "medical")
    from skimage.measure import label, regionprops
    from skimage.morphology import footprint_rectangle, white_tophat

    tallest = max(12, round(_TALLEST * grey.shape[0]))
    # a stroke is thinner than a quarter of the tallest letter; the sequence of small footprints is as fast as one
    width = max(5, tallest // 3) | 1
    strokes = white_tophat(grey, footprint_rectangle((width, width), decomposition="separable")) >= CONTRAST
    found = []
    for region in regionprops(label(strokes, connectivity=2)):
        top, left, bottom, right = region.bbox
        height, wide = bottom - top, right - left
        filled = region.area / (height * wide)
        # letters that touch are one wide stroke; a bar is wide too, but full
        if (
            _SMALLEST <= height <= tallest
            and filled > 0.15
            and (wide <= 1.6 * height or (wide <= _WIDEST * height and filled < 0.75))
        ):
            found.append(Box(left, top, right, bottom))
    return found


def _count(stroke: Box) -> int:
    """How many letters a stroke is, as wide as it is."""
    return max(1, round((stroke.right - stroke.left) / (0.8 * (stroke.bottom - stroke.top))))


def _continues(last: Box, letter: Box) -> bool:
    """Whether ``letter`` stands beside ``last`` on a line: as tall, as low, and near."""
    tall, own = last.bottom - last.top, letter.bottom - letter.top
    near = letter.left - last.right <= 1.5 * max(tall, own)
    return (
        near
        and letter.left >= last.left
        and abs(last.bottom - letter.bottom) <= 0.35 * max(tall, own)
        and (0.55 <= tall / own <= 1.8)
    )


def _varied(line: list[Box]) -> bool:
    """Whether the widths differ as those of letters do: the marks of a ruler are all alike."""
    widths = [box.right - box.left for box in line]
    return len(line) > 1 and max(widths) > max(2, min(widths))
