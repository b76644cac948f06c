"""Vectors of the questions that an index's records answer: made when first asked, then kept among the derived files.

A build doesn't make them, since most corpora hold no questions, and those of one that changed are made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from ragvlm.errors import StoreError
from ragvlm.index.derived import QUESTIONS, array_saver, current, repair, write
from ragvlm.index.index import Index
from ragvlm.index.rowtable import load_array
from ragvlm.types import Float32

BATCH = 256


def question_vectors(index: Index, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> Float32:
    """float32 (len(texts), text_dim), unit rows, memory-mapped where they are kept.

    ``texts`` are all different questions of the live records, in the order of their first mention. ``progress`` is
    called with the questions encoded and all of them.
    """
    item = current(index.path, index.manifest, QUESTIONS)
    if item is not None and item.rows == len(texts):
        with suppress(StoreError):
            known: Float32 = load_array(index.path / item.file, np.float32)
            if known.shape == (len(texts), index.manifest.text_dim):
                return known
    made = np.empty((len(texts), index.manifest.text_dim), np.float32)
    for start in range(0, len(texts), BATCH):
        made[start : start + BATCH] = index.encoder.encode_texts(texts[start : start + BATCH])
        if progress is not None:
            progress(min(start + BATCH, len(texts)), len(texts))

    save = array_saver(made)
    repair(
        index.path,
        index.manifest,
        lambda latest: [write(index.path, latest, QUESTIONS, save, len(texts), ".npy")],
        QUESTIONS,
    )
    return made
