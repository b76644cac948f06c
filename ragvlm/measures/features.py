"""Vectors of pictures for the measures that compare sets of them; each picture is encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ragvlm.encoders import load_encoder
from ragvlm.images import pixel_hash
from ragvlm.measures.base import Float64

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragvlm.types import Encoder, Float32

CACHED_PICTURES = 20_000  # 1,664 numbers of 4 bytes each make 130 MB


class Features:
    """The image tower of one encoder, with what it has said of pictures before."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[str, Float32] = {}

    @property
    def source(self) -> str:
        """Which encoder, with the first of its fingerprint."""
        return f"features of {self._encoder.name} ({self._encoder.fingerprint[:12]})"

    def vectors(self, pictures: Sequence[Image]) -> Float64:
        """float64 (n, image_dim), unit rows."""
        rgb = [picture.convert("RGB") for picture in pictures]
        keys = [pixel_hash(picture) for picture in rgb]
        new = {key: picture for key, picture in zip(keys, rgb, strict=True) if key not in self._known}
        if new:
            self._known.update(zip(new, self._encoder.encode_images(list(new.values())), strict=True))
        found = [self._known[key] for key in keys]
        for old in list(self._known)[: max(0, len(self._known) - CACHED_PICTURES)]:
            del self._known[old]
        return np.array(found, dtype=np.float64).reshape(-1, self._encoder.image_dim)


@cache
def features(encoder: str) -> Features:
    """Those of the encoder that ``load_encoder`` knows by this name, loaded once. Raises what it raises."""
    return Features(load_encoder(encoder))
