"""Where a generator of PaliGemma's kind says that things are, by its task words ``detect`` and ``segment``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.errors import InputError
from ragvlm.regions.found import Bools, Edges, FoundRegion, window
from ragvlm.regions.loctokens import Answer, Said, read_answer

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragvlm.regions.maskdecoder import MaskDecoder


def ask(generator: Any, image: Image, phrase: str, *, masks: bool) -> tuple[str, Answer]:
    """What ``generator`` writes when it is asked to detect (with ``masks``: segment) ``phrase``, and what that places.

    Raises InputError for a generator that isn't asked by task words, and for a phrase without words or with ";".
    """
    follow = getattr(generator, "follow", None)
    if follow is None:
        raise InputError(f"generator {generator.name!r} can't say where things are: choose PaliGemma, or an index")
    words = " ".join(phrase.split())
    if not words or ";" in words:
        raise InputError(f"phrase {phrase!r}: give the words for one thing, without ';'")
    written = str(follow(image, f"{'segment' if masks else 'detect'} {words}"))
    return written, read_answer(written, image.size)


def regions_of(answer: Answer, phrase: str, decoder: MaskDecoder | None) -> tuple[FoundRegion, ...]:
    """The boxes in the order in which they were written, each sure (PaliGemma gives no scores), labelled with its own
    words, else ``phrase``; with ``decoder`` their masks."""
    return tuple(
        FoundRegion(said.box, said.label or phrase, 1.0, mask_of(said, decoder) if decoder and said.codes else None)
        for said in answer.said
    )


def mask_of(said: Said, decoder: MaskDecoder) -> Bools:
    """The mask of ``said`` within the whole pixels of its box."""
    from PIL import Image as Pil

    rows, columns = window(said.box)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    raster = Pil.fromarray(decoder(said.codes)).resize(size, Pil.Resampling.BILINEAR)
    inside = np.asarray(raster) >= 0.5
    return _within(inside, said.box, rows, columns)


def _within(inside: Bools, box: Edges, rows: slice, columns: slice) -> Bools:
    """Only pixels whose centre lies in the box."""
    y, x = np.arange(rows.start, rows.stop) + 0.5, np.arange(columns.start, columns.stop) + 0.5
    return inside & ((y >= box[1]) & (y <= box[3]))[:, None] & ((x >= box[0]) & (x <= box[2]))[None, :]


def load_decoder(path: str | Path | None) -> MaskDecoder | None:
    """The mask decoder at ``path``, None without one. Raises as ``MaskDecoder`` does."""
    from ragvlm.regions.maskdecoder import MaskDecoder

    return None if path is None else MaskDecoder(path)
