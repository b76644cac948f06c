"""What all stores share: the checks at the door, and the last word on scores and ties.

A matrix product may give equal rows scores that differ in the last bit, by where they lie in the matrix and by how
many queries run at once. So a backend only proposes candidates; here they are scored again, each by itself in
float64, and ordered by score and position. Equal rows then tie in every store.
"""

from __future__ import annotations

import numpy as np

from ragvlm.errors import InputError, StoreError
from ragvlm.types import Float32, Int64

UNIT_TOLERANCE = 1e-3


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


def best(query: Float32, vectors: Float32, candidates: Int64, k: int) -> tuple[Float32, Int64]:
    """Scores and positions (k,) of the best ``candidates``, equal scores by lower position."""
    # a sum per row, not a matrix product: the order of summation must not depend on the number of rows
    exact = (vectors[candidates].astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    scores = np.clip(exact, -1, 1).astype(np.float32)
    order = np.lexsort((candidates, -scores))[:k]
    return scores[order], candidates[order]


def stack(found: list[tuple[Float32, Int64]], k: int) -> tuple[Float32, Int64]:
    """Scores and positions (n, k) from the (k,) of n queries."""
    scores = np.array([row[0] for row in found], dtype=np.float32).reshape(len(found), k)
    positions = np.array([row[1] for row in found], dtype=np.int64).reshape(len(found), k)
    return scores, positions
