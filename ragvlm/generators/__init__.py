"""What writes the text: one plug-in a file, all with the same two members, ``name`` and ``generate``."""

from __future__ import annotations

import inspect
from typing import Any

from ragvlm.errors import InputError
from ragvlm.registry import find
from ragvlm.types import Generator


def load_generator(name: str = "consensus", **options: Any) -> Generator:
    """The generator ``name``, made with ``options``.

    Raises InputError for an unknown name or option, MissingExtraError with the pip command where a package is
    absent.
    """
    entry = find("generators", name)
    options = {**entry.options, **options}
    maker = entry.load()
    try:
        inspect.signature(maker).bind(**options)
    except TypeError as error:
        raise InputError(f"generator {name!r} does not take these options: {error}") from error
    generator: Generator = maker(**options)
    return generator
