"""What every simulated kind hands back: pixels, words, labels and the truth they were made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Float: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.int32]
Rng: TypeAlias = np.random.Generator
Scalar: TypeAlias = str | int | float | bool
Shape: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Picture:
    """One simulated micrograph.

    Attributes:
        pixels: uint8, (height, width) grey or (height, width, 3) RGB.
        caption: two or three sentences, each true of the simulation.
        modality: the imaging modality, e.g. ``"fluorescence microscopy"``.
        labels: scalars only; the counts are of objects whose centre lies inside the field.
        masks: object class -> int32 label image (height, width), 0 background, one positive number
            for each counted object; where objects overlap the one drawn last is on top.
        jpeg_quality: 1-95 to store as JPEG, None to store as PNG.
    """

    pixels: NDArray[np.uint8]
    caption: str
    modality: str
    labels: Mapping[str, Scalar]
    masks: Mapping[str, Labels] = field(default_factory=dict)
    jpeg_quality: int | None = None


Painter: TypeAlias = Callable[[Rng, Rng], Picture]
"""``draw(slide, rng)``: ``slide`` is the same for all fields of a slide, ``rng`` is the field's own."""


FIELDS: tuple[Shape, ...] = (
    (512, 512),
    (480, 640),
    (512, 640),
    (512, 696),
    (540, 720),
    (576, 768),
    (600, 600),
    (640, 640),
    (640, 512),
)


def field_shape(slide: Rng) -> Shape:
    """Height and width of the camera's field in pixels: one of the common sensor formats."""
    return FIELDS[int(slide.integers(len(FIELDS)))]


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """One draw whose logarithm is uniform in [log(low), log(high)]."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def chance(rng: Rng, p: float) -> bool:
    """True with probability ``p``."""
    return bool(rng.random() < p)
