"""Pictures and texts that put an exported tower to the test: the same on every machine."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_SIZES = ((640, 480), (224, 224), (91, 133), (1000, 40), (33, 32), (517, 700), (3, 5), (448, 449))
_SENTENCES = (
    "a",
    "nuclei",
    "Light micrograph of a stained peripheral blood smear with one white cell.",
    "Chest X-ray, PA view: no focal consolidation, pleural effusion or pneumothorax.",
    "T2-weighted axial MRI; lesion of 12 x 9 mm (left temporal lobe), SNR = 18.5 dB, p<0.05!",
    "  Spaces   in\tand\naround  the text  ",
    "TGF-β1, 37 °C, 5 µm, CO₂, naïve Müller ﬁbres, İ, Ångström, 漢字, ½, é, “quoted”, em—dash",
    "a photo of a dog",
    "... ?! ...",
    "Hematoxylin_and_eosin; UPPER lower MiXeD cAsE; don't, it's, we'll, they've",
    "0123456789 3.14159 1,000,000 2^10 50% #7 [8] {9} <10> @ & ~ | \\ /",
    "the nucleus of the cell is dark and round, and its border is sharp; " * 12,
)


def probe_pictures(count: int = len(_SIZES)) -> list[Image]:
    """``count`` RGB pictures of unlike sizes: spots, gradients and noise."""
    from PIL import Image

    found = []
    for seed, (width, height) in enumerate(_SIZES[:count]):
        random = np.random.default_rng(seed)
        cells = random.integers(0, 256, (2 + 3 * seed, 3 + 2 * seed, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
        noise = random.normal(0, 4.0 * seed, (height, width, 3))
        found.append(Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)))
    return found


def probe_texts() -> list[str]:
    """Twelve texts: short and long, with capitals, punctuation, Greek, ligatures, digits and white space."""
    return list(_SENTENCES)


def piece_texts(pieces: Sequence[str], count: int = 200) -> list[str]:
    """At most ``count`` texts of eight pieces each out of a tokenizer's vocabulary, evenly over the whole of it."""
    plain = sorted({_readable(piece) for piece in pieces})
    step = max(1, len(plain) // (count * 8))
    chosen = plain[::step]
    texts = [" ".join(chosen[start : start + 8]) for start in range(0, len(chosen), 8)]
    return [text for text in texts if text.strip(string.whitespace + string.punctuation)]


def _readable(piece: str) -> str:
    return piece.replace("</w>", "").replace("Ġ", " ").replace("\N{LOWER ONE EIGHTH BLOCK}", " ")
