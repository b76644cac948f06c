"""Absorbing dyes: the Beer-Lambert law with stain vectors of optical density.

The vectors of haematoxylin, eosin and DAB are those of Ruifrok and Johnston 2001 (Anal. Quant. Cytol. Histol. 23:291);
the others are colours estimated by eye or from the mean colour of stained smears, no published vectors. Every slide
turns each vector a little.
"""

from __future__ import annotations

import numpy as np

from ragvlm.simulate.picture import Float, Rng

VECTORS: dict[str, tuple[float, float, float]] = {
    "haematoxylin": (0.650, 0.704, 0.286),
    "blue haematoxylin": (0.73, 0.60, 0.32),
    "eosin": (0.072, 0.990, 0.105),
    "dab": (0.268, 0.570, 0.776),
    "yellow dab": (0.22, 0.48, 0.85),
    "haemoglobin": (0.13, 0.65, 0.69),
    "grey haemoglobin": (0.37, 0.74, 0.56),
    "azure": (0.60, 0.77, 0.10),
    "bright azure": (0.54, 0.84, 0.03),
    "cytoplasm": (0.42, 0.84, 0.30),
    "granules": (0.22, 0.80, 0.52),
    "oil red": (0.18, 0.70, 0.68),
}


def stain_vector(slide: Rng, name: str, spread: float = 0.06) -> Float:
    """Unit vector (3,) of optical density of a dye, turned a little as between laboratories."""
    vector = np.asarray(VECTORS[name]) + slide.normal(0, spread, 3)
    vector = np.clip(vector, 0.02, None)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def stain_mixture(slide: Rng, one: str, other: str, spread: float) -> Float:
    """Unit vector (3,) anywhere between two dyes of a slide, as their proportions differ between laboratories."""
    share = slide.random()
    vector = share * stain_vector(slide, one, spread) + (1 - share) * stain_vector(slide, other, spread)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def transmit(layers: list[tuple[Float, Float]], light: Float) -> Float:
    """Light (h, w, 3) behind the specimen: ``light`` x 10 ** -sum(amount x vector).

    Args:
        layers: pairs of optical density (h, w), >= 0, and the dye's vector (3,).
        light: incoming light, broadcastable to (h, w, 3), 1 = full scale.
    """
    density = sum((amount[..., None] * vector for amount, vector in layers), start=np.float32(0))
    return np.asarray(light * np.power(np.float32(10), -density), dtype=np.float32)
