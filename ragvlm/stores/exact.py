"""What all stores share: the checks at the door, and the last word on scores and ties.

A matrix product may give equal rows scores that differ in the last bit, by where they lie in the matrix and by how
many queries run at once. So a backend only proposes candidates; here they are scored again, each by itself in
float64, and ordered by score and position. Equal rows then tie in every store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from ragvlm.errors import InputError, StoreError
from ragvlm.types import Float32, Int64

UNIT_TOLERANCE = 1e-3
BLOCK = 1 << 24  # scores held at once, 64 MB


class VectorSource(Protocol):
    """Unit vectors that lie elsewhere, in an order that doesn't change: what approximate stores score with."""

    dim: int

    def __len__(self) -> int: ...

    def take(self, positions: Int64) -> Float32:
        """The vectors at ``positions`` (m,): float32 (m, dim), unit rows, a copy."""
        ...

    def blocks(self) -> Iterator[Float32]:
        """All vectors in order, as float32 (m, dim) parts."""
        ...


def check_vectors(vectors: Float32, dim: int, what: str) -> Float32:
    """``vectors`` as C-contiguous float32 (n, dim).

    Raises StoreError where the dimension differs (naming both), a value isn't finite or a row isn't of unit length.
    """
    matrix = np.ascontiguousarray(vectors, dtype=np.float32)
    if matrix.ndim != 2 or matrix.shape[1] != dim:
        raise StoreError(f"{what} of shape {matrix.shape} don't fit a store of dimension {dim}: give (n, {dim})")
    norms = np.linalg.norm(matrix, axis=1)
    # a row with NaN has a norm of NaN, which is within no tolerance
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= UNIT_TOLERANCE))
    if wrong.size:
        row = int(wrong[0])
        reason = f"has length {norms[row]:.4g}" if np.isfinite(matrix[row]).all() else "holds NaN or infinity"
        raise StoreError(f"{what}: row {row} {reason}; rows must be finite and of unit length")
    return matrix


def check_k(k: int) -> int:
    """``k`` itself. Raises InputError where it is below 1."""
    if k < 1:
        raise InputError(f"k is {k}: ask for at least 1 neighbour")
    return k


def check_positions(positions: Int64, size: int) -> Int64:
    """``positions`` as int64 (m,). Raises InputError where one is outside of [0, size)."""
    wanted = np.asarray(positions, dtype=np.int64).reshape(-1)
    if wanted.size and (wanted.min() < 0 or wanted.max() >= size):
        raise InputError(f"positions from {wanted.min()} to {wanted.max()} don't lie in a store of {size} vectors")
    return wanted


def slack(dim: int) -> float:
    """How far two float32 sums of the same inner product of unit vectors can lie apart, at most.

    Twice the bound dim * u on the error of one sum (Higham 2002, Accuracy and Stability of Numerical
    Algorithms, section 3.1), with u the unit roundoff, 2^-24.
    """
    return 2 * (dim + 1) * 2.0**-24 * 2


def best(query: Float32, rows: Float32, candidates: Int64, k: int) -> tuple[Float32, Int64]:
    """Scores and positions (k,) of the best ``candidates`` (m,), whose vectors are ``rows`` (m, dim).

    Equal scores by lower position.
    """
    rough = rows @ query
    if len(rows) > k:
        kept = np.flatnonzero(rough >= np.partition(rough, -k)[-k] - slack(rows.shape[1]))
        rows, candidates = rows[kept], candidates[kept]
    # a sum per row, not a matrix product: the order of summation must not depend on the number of rows
    exact = (rows.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    scores = np.clip(exact, -1, 1).astype(np.float32)
    order = np.lexsort((candidates, -scores))[:k]
    return scores[order], candidates[order]


def search_all(source: VectorSource, queries: Float32, k: int) -> list[tuple[Float32, Int64]]:
    """Scores and positions (k,) of each of ``queries``, by the inner products with all vectors; 1 <= k <= n."""
    step = max(1, BLOCK // len(source))
    found = []
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        rough = np.concatenate([part @ rows.T for rows in source.blocks()], axis=1)
        for query, scores in zip(part, rough, strict=True):
            kth = np.partition(scores, -k)[-k]
            candidates = np.flatnonzero(scores >= kth - slack(source.dim))
            found.append(best(query, source.take(candidates), candidates, k))
    return found


class ArrayVectors:
    """Vectors in memory, or of a mapped array: float32 (n, dim), unit rows."""

    def __init__(self, dim: int, vectors: Float32 | None = None) -> None:
        self.dim = dim
        self._parts: list[Float32] = [] if vectors is None else [vectors]

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    @property
    def whole(self) -> Float32:
        """All of them, not a copy."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate([np.empty((0, self.dim), np.float32), *self._parts])]
        return self._parts[0]

    def append(self, vectors: Float32) -> None:
        """Add a copy of ``vectors``."""
        self._parts.append(vectors.copy())

    def take(self, positions: Int64) -> Float32:
        """The vectors at ``positions`` (m,): float32 (m, dim), a copy. Raises InputError outside of [0, n)."""
        return self.whole[check_positions(positions, len(self))]

    def blocks(self) -> Iterator[Float32]:
        """All vectors, as one part."""
        yield self.whole


def stack(found: list[tuple[Float32, Int64]], k: int) -> tuple[Float32, Int64]:
    """Scores and positions (n, k) from the (k,) of n queries."""
    scores = np.array([row[0] for row in found], dtype=np.float32).reshape(len(found), k)
    positions = np.array([row[1] for row in found], dtype=np.int64).reshape(len(found), k)
    return scores, positions


def nothing(queries: Float32, k: int) -> tuple[Float32, Int64]:
    """Scores and positions (n, k) where there is nothing to find (k = 0) or nothing to ask (n = 0)."""
    return stack([(np.empty(0, np.float32), np.empty(0, np.int64))] * len(queries), k)
