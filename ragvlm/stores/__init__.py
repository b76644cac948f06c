"""Vector stores: one file each, the same methods in the same order, one contract suite over all of them."""

from __future__ import annotations

from typing import cast

from ragvlm.registry import find
from ragvlm.types import VectorStore


def load_store(name: str) -> type[VectorStore]:
    """The store class called ``name``: "numpy", "faiss" or one that an entry point adds.

    Raises InputError that lists the known names, MissingExtraError with the pip command where a package is absent.
    """
    return cast("type[VectorStore]", find("stores", name).load())
