"""Vector stores: one file each, the same methods in the same order, one contract suite over all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self, cast

from ragvlm.registry import find
from ragvlm.types import Float32, Int64, VectorStore


class Store(VectorStore, Protocol):
    """What an index needs of a store beyond searching it.

    ``suffix`` ends the name of the file that ``save`` writes, as in ``.faiss``.
    """

    suffix: str

    def __init__(self, dim: int) -> None: ...

    def get(self, positions: Int64) -> Float32:
        """The vectors at ``positions`` (m,): float32 (m, dim), unit rows, a copy."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        ...


def load_store(name: str) -> type[Store]:
    """The store class called ``name``: "numpy", "faiss" or one that an entry point adds.

    Raises InputError that lists the known names, MissingExtraError with the pip command where a package is absent.
    """
    return cast("type[Store]", find("stores", name).load())
