"""Regions on a picture, for eyes: boxes with labels, masks as a tint, and masks as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ragvlm.errors import InputError
from ragvlm.paths import atomic_path
from ragvlm.regions.found import FoundRegion

if TYPE_CHECKING:
    from PIL.Image import Image

# of Okabe and Ito (2008), told apart by most eyes that see few colours
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (240, 228, 66))
TINT = 0.35


def draw(picture: Image, regions: Sequence[FoundRegion], *, names: bool = True) -> Image:
    """A copy of ``picture`` with ``regions``: a colour a label, masks tinted, boxes outlined, scores written."""
    from PIL import Image as Pil
    from PIL import ImageDraw, ImageFont

    colours = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(dict.fromkeys(r.label for r in regions))}
    pixels = np.array(picture.convert("RGB"))
    for region in regions:
        if region.mask is not None:
            inside = pixels[region.window]
            tint = (1 - TINT) * inside[region.mask] + TINT * np.array(colours[region.label])
            inside[region.mask] = tint.astype(np.uint8)
    drawn = Pil.fromarray(pixels)
    pen = ImageDraw.Draw(drawn)
    thick = max(1, round(max(picture.size) / 320))
    font = ImageFont.load_default(max(10, round(max(picture.size) / 52)))
    for region in regions:
        pen.rectangle(region.box, outline=colours[region.label], width=thick)
    for region in regions if names else ():
        text, place = f"{region.label} {region.score:.2f}", (region.box[0] + thick, region.box[1] + thick)
        pen.rectangle(pen.textbbox(place, text, font=font), fill=colours[region.label])
        pen.text(place, text, fill="white", font=font)
    return drawn


def write_mask(mask: NDArray[np.int32], path: Path) -> None:
    """``mask`` as a PNG of one channel: 0 is background, n the n-th region; 16 bits where there are over 255.

    Raises InputError for another suffix than .png and for more than 65,535 regions, StoreError where ``path`` can't be
    written.
    """
    from PIL import Image as Pil

    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: a mask is saved as .png, without loss")
    if mask.max(initial=0) > np.iinfo(np.uint16).max:
        raise InputError(f"{path}: {mask.max()} regions are more than a PNG's 65,535")
    values = mask.astype(np.uint8 if mask.max(initial=0) < 256 else np.uint16)
    with atomic_path(path) as temporary:
        Pil.fromarray(values).save(temporary, format="PNG")
