"""Words on the patches of a picture: how like each place is to a phrase, as a heat map, masks and boxes.

The vectors of the patches are those of ``ragvlm.encoders.dense`` (MaskCLIP, Zhou et al. 2022, arXiv:2112.01071).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.encoders.contrast import probabilities
from ragvlm.errors import InputError, require
from ragvlm.regions.found import FoundRegion, boxed
from ragvlm.types import Encoder, Float32

if TYPE_CHECKING:
    from PIL.Image import Image

AGAINST = ("background", "nothing", "blank area")
TEMPLATES = ("{}", "a photo of {}", "a microscopy image of {}")
LEAST_PATCHES = 0.25  # a component smaller than this share of a patch is an artefact of the interpolation


def heat_map(encoder: Encoder, image: Image, phrase: str, against: Sequence[str] = AGAINST) -> Float32:
    """How much each place of ``image`` is ``phrase`` rather than any of ``against``: (height, width) in [0, 1].

    Softmax over the phrases of the encoder's own scale times the cosine, from the grid of patches by bilinear
    interpolation. The picture is squeezed to a square first, so that no preprocessing cuts its border off.
    Raises InputError for an encoder without patches in the words' space, and without words.
    """
    from PIL import Image as Pil

    patches = getattr(encoder, "patch_batch", None)
    if patches is None or not encoder.shared_space:
        raise InputError(
            f"encoder {encoder.name!r} has no patches in the space of words: choose CLIP or SigLIP with a ViT tower"
        )
    words = [word for word in dict.fromkeys(against) if word.strip() and word != phrase]
    if not phrase.strip() or not words:
        raise InputError("give a phrase to look for, and at least one other to tell it from")
    side = getattr(encoder, "input_size", None) or 224
    grid = _unit(patches([image.resize((side, side), Pil.Resampling.BICUBIC)])[0])
    scale = float(getattr(encoder, "logit_scale", 100.0))
    shares = probabilities(scale * (grid @ _vectors(encoder, [phrase, *words]).T), "softmax")
    raster = Pil.fromarray(np.asarray(shares[..., 0], np.float32))
    return np.clip(np.asarray(raster.resize(image.size, Pil.Resampling.BILINEAR), np.float32), 0, 1)


def regions_of(heat: Float32, label: str, threshold: float, patches: int) -> tuple[FoundRegion, ...]:
    """The connected places (8 neighbours) of at least ``threshold``, by their highest value; ``patches``: grid cells.

    Raises MissingExtraError without scikit-image (``ragvlm[regions]``).
    """
    measure = require("skimage.measure", "regions")
    labelled = measure.label(heat >= threshold, connectivity=2)
    least = LEAST_PATCHES * heat.size / max(patches, 1)
    found = []
    for number in range(1, int(labelled.max()) + 1):
        own = labelled == number
        place = boxed(own) if own.sum() >= least else None
        if place is not None:
            found.append(FoundRegion(place[0], label, float(heat[own].max()), place[1]))
    return tuple(sorted(found, key=lambda region: -region.score))


def _vectors(encoder: Encoder, phrases: Sequence[str]) -> Float32:
    texts = [template.format(phrase) for phrase in phrases for template in TEMPLATES]
    vectors = encoder.encode_texts(texts).reshape(len(phrases), len(TEMPLATES), -1)
    return _unit(vectors.mean(axis=1))


def _unit(vectors: NDArray[Any]) -> Float32:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1), np.float32)
