"""Exact inner-product search in FAISS (Douze et al. 2024, arXiv:2401.08281), memory-mapped on load."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from ragvlm.errors import require
from ragvlm.stores import faiss_files
from ragvlm.stores.exact import best, check_k, check_positions, check_vectors, nothing, slack, stack
from ragvlm.types import Float32, Int64

MARGIN = 8  # candidates beyond k, so that a tie at the cut rarely needs a second look


class FaissStore:
    """A flat FAISS index. ``dim`` is the length of a vector."""

    name = "faiss"
    suffix = ".faiss"

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._index: Any = require("faiss", "faiss").IndexFlatIP(dim)
        self._mapped = False

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: Float32) -> None:
        """Append float32 (n, dim) unit rows; positions count on from ``len(self)``. Raises StoreError."""
        rows = check_vectors(vectors, self.dim, "vectors")
        if self._mapped:
            self._index, self._mapped = faiss_files.owned(self._index), False
        self._index.add(rows)

    def search(self, queries: Float32, k: int) -> tuple[Float32, Int64]:
        """Scores in [-1, 1] and positions, both (n, min(k, len(self))), best first, equal scores by lower position.

        ``queries`` are float32 (n, dim) unit rows. Raises StoreError for others, InputError for k < 1.
        """
        queries = check_vectors(queries, self.dim, "queries")
        vectors, k = self._vectors(), min(check_k(k), len(self))
        if k == 0 or not len(queries):
            return nothing(queries, k)
        scores, positions = self._index.search(queries, min(k + MARGIN, len(self)))
        found = []
        for query, near, at in zip(queries, scores, positions, strict=True):
            # what ties with the k-th may lie beyond what was fetched: fetch on until it can't
            while len(at) < len(self) and near[-1] >= near[k - 1] - slack(self.dim):
                rows = self._index.search(query[None, :], min(2 * len(at), len(self)))
                near, at = rows[0][0], rows[1][0]  # noqa: PLW2901
            found.append(best(query, vectors[at], at, k))
        return stack(found, k)

    def get(self, positions: Int64) -> Float32:
        """The vectors at ``positions`` (m,): float32 (m, dim), a copy. Raises InputError outside of the store."""
        return self._vectors()[check_positions(positions, len(self))]

    def save(self, path: Path) -> None:
        """Write the index to ``path`` in FAISS's format. Raises StoreError where that fails."""
        faiss_files.write(self._index, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Memory-map what ``save`` wrote. Raises StoreError where ``path`` isn't such a file."""
        index = faiss_files.mapped(path, "IndexFlatIP")
        store = cls(int(index.d))
        store._index, store._mapped = index, True
        return store

    def _vectors(self) -> Float32:
        """The index's own memory as float32 (n, dim), read-only: a write to a mapped file would end the process."""
        if not len(self):
            return np.empty((0, self.dim), np.float32)
        faiss = require("faiss", "faiss")
        view: Float32 = faiss.rev_swig_ptr(self._index.get_xb(), len(self) * self.dim)
        view.flags.writeable = False
        return view.reshape(len(self), self.dim)
