"""One vector for a volume: the mean of its slices' vectors, of unit length again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ragvlm.types import Float32


def pool(vectors: Float32, sizes: Sequence[int]) -> Float32:
    """float32 (sum(sizes), dim) of unit rows -> (len(sizes), dim): each row the renormalised mean of ``sizes[i]`` rows.

    A single row stays as it is. Raises ValueError where a size is below 1 or they don't add up.
    """
    if min(sizes, default=1) < 1 or sum(sizes) != len(vectors):
        raise ValueError(f"{list(sizes)} don't divide {len(vectors)} vectors")
    starts = np.cumsum([0, *sizes])
    pooled = [
        vectors[start] if size == 1 else vectors[start : start + size].mean(axis=0)
        for start, size in zip(starts, sizes, strict=False)
    ]
    rows = np.asarray(pooled, np.float32).reshape(len(sizes), -1)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    alone = np.array(sizes).reshape(-1, 1) == 1
    unit: Float32 = np.where(alone, rows, rows / np.where(norms > 0, norms, 1)).astype(np.float32)
    return unit
