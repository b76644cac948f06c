"""Vector stores: one file each, the same methods in the same order, one contract suite over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ragvlm.errors import InputError
from ragvlm.registry import create, find
from ragvlm.stores.choice import AUTO, chosen
from ragvlm.types import VectorStore

__all__ = ["AUTO", "check_store", "chosen", "kept_options", "load_store", "make_store"]


def load_store(name: str) -> type[VectorStore]:
    """The store class called ``name``: "numpy", "faiss", ... or one that an entry point adds.

    Raises InputError that lists the known names, MissingExtraError with the pip command where a package is absent.
    """
    return cast("type[VectorStore]", find("stores", name).load())


def make_store(name: str, dim: int, options: Mapping[str, Any]) -> VectorStore:
    """An empty store called ``name``. Raises what ``load_store`` raises, and InputError for a wrong option."""
    return cast(VectorStore, create("stores", name, {"dim": dim, **options}))


def kept_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a store's options that an index may write down: no secrets."""
    secrets = getattr(load_store(name), "secrets", ()) if name != AUTO else ()
    return {option: value for option, value in options.items() if option not in secrets}


def check_store(name: str, options: Mapping[str, Any]) -> None:
    """Raise what ``make_store`` would raise; options need a store that is named."""
    if name != AUTO:
        make_store(name, 8, options)
    elif options:
        raise InputError(f"store option {next(iter(options))!r} needs a store that it is for: name one by --store")
