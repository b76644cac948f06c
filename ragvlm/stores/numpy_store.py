"""Exact search in numpy: the reference that every other store is held against."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from ragvlm.errors import StoreError
from ragvlm.stores.exact import ArrayVectors, check_k, check_vectors, nothing, search_all, stack
from ragvlm.types import Float32, Int64


class NumpyStore:
    """All inner products, then the best. ``dim`` is the length of a vector."""

    name = "numpy"
    suffix = ".npy"

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._vectors = ArrayVectors(dim)

    def __len__(self) -> int:
        return len(self._vectors)

    def add(self, vectors: Float32) -> None:
        """Append float32 (n, dim) unit rows; positions count on from ``len(self)``. Raises StoreError."""
        self._vectors.append(check_vectors(vectors, self.dim, "vectors"))

    def search(self, queries: Float32, k: int) -> tuple[Float32, Int64]:
        """Scores in [-1, 1] and positions, both (n, min(k, len(self))), best first, equal scores by lower position.

        ``queries`` are float32 (n, dim) unit rows. Raises StoreError for others, InputError for k < 1.
        """
        queries = check_vectors(queries, self.dim, "queries")
        k = min(check_k(k), len(self))
        if k == 0:
            return nothing(queries, k)
        return stack(search_all(self._vectors, queries, k), k)

    def get(self, positions: Int64) -> Float32:
        """The vectors at ``positions`` (m,): float32 (m, dim), a copy. Raises InputError outside of the store."""
        return self._vectors.take(positions)

    def save(self, path: Path) -> None:
        """Write the vectors to ``path`` as one array in numpy's format."""
        with path.open("wb") as stream:
            np.save(stream, self._vectors.whole, allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Memory-map what ``save`` wrote. Raises StoreError where ``path`` isn't such a file."""
        try:
            # an empty array has no bytes that could be mapped
            vectors = np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise StoreError(f"{path} can't be read as a numpy store: {str(error).splitlines()[0]}") from error
        if vectors.ndim != 2 or vectors.dtype != np.float32:
            raise StoreError(f"{path} holds {vectors.dtype} of shape {vectors.shape}, not float32 vectors")
        store = cls(vectors.shape[1])
        store._vectors = ArrayVectors(store.dim, vectors)
        return store
