"""Small microscope stacks and slides, with known pixels, written by tifffile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

CHANNELS = ("DAPI", "GFP", "Cy5")
STACK = np.random.default_rng(5).integers(0, 4000, (2, 5, 3, 24, 32), dtype=np.uint16)  # T Z C Y X
BACKGROUND, TISSUE = (243, 241, 244), (186, 92, 160)
SLIDE_SIZE = (1800, 1300)  # width, height
TISSUE_BOX = (530, 390, 1190, 910)  # left, top, right, bottom: on no grid


def ome_stack(path: Path, **options: Any) -> Path:
    """T 2, Z 5, C 3 of 32 x 24 pixels of 0.325 µm, slices 1.5 µm apart."""
    metadata = {
        "axes": "TZCYX",
        "PhysicalSizeX": 0.325,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 325.0,
        "PhysicalSizeYUnit": "nm",
        "PhysicalSizeZ": 1.5,
        "PhysicalSizeZUnit": "µm",
        "Channel": {"Name": list(CHANNELS)},
    }
    tifffile.imwrite(path, STACK, ome=True, metadata=metadata, **options)
    return path


def imagej_stack(path: Path) -> Path:
    """The same stack as ImageJ writes it."""
    labels = list(CHANNELS) * (STACK.shape[0] * STACK.shape[1])
    metadata = {"axes": "TZCYX", "unit": "um", "spacing": 1.5, "Labels": labels}
    tifffile.imwrite(path, STACK, imagej=True, resolution=(1 / 0.325, 1 / 0.325), metadata=metadata)
    return path


def slide_pixels() -> np.ndarray:
    """uint8 (1300, 1800, 3): an empty glass, and in TISSUE_BOX a tissue whose texture tells every place from others."""
    width, height = SLIDE_SIZE
    rng = np.random.default_rng(6)
    pixels = np.full((height, width, 3), BACKGROUND, np.uint8)
    left, top, right, bottom = TISSUE_BOX
    texture = rng.integers(0, 50, (bottom - top, right - left, 1), dtype=np.uint8)
    pixels[top:bottom, left:right] = np.array(TISSUE, np.uint8) + texture
    return pixels


def ome_slide(path: Path, mpp: float | None = 0.25, levels: int = 3, **options: Any) -> Path:
    """``slide_pixels`` as a pyramidal OME-TIFF: SubIFDs of every second pixel, tiles of 128 pixels."""
    pixels = slide_pixels()
    size = {} if mpp is None else {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    common = {"tile": (128, 128), "photometric": "rgb", **options}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(pixels, subifds=levels - 1, metadata={"axes": "YXS", **size}, **common)
        for level in range(1, levels):
            file.write(pixels[:: 2**level, :: 2**level], subfiletype=1, **common)
    return path


def plain_slide(path: Path, description: str | None = None, **options: Any) -> Path:
    """``slide_pixels`` as levels that are pages of their own, as scanners write them."""
    pixels = slide_pixels()
    with tifffile.TiffWriter(path) as file:
        for level in range(3):
            text = description if level == 0 else None
            kind = {"subfiletype": 1} if level else {}
            part = pixels[:: 2**level, :: 2**level]
            file.write(part, tile=(128, 128), photometric="rgb", metadata=None, description=text, **kind, **options)
    return path
