"""What writes the text: one plug-in a file, all with the same two members, ``name`` and ``generate``."""

from __future__ import annotations

import inspect
from typing import Any

from ragvlm.errors import InputError
from ragvlm.registry import find
from ragvlm.types import Generator


def load_generator(name: str = "consensus", **options: Any) -> Generator:
    """The generator ``name``, made with ``options``.

    ``name`` is a plug-in's name, or name and model joined by a colon, as in "openai:MODEL".

    Raises InputError for an unknown name or option, MissingExtraError with the pip command where a package is
    absent.
    """
    plug_in, _, model = name.partition(":")
    if model:
        options = {"model": model} | options
    entry = find("generators", plug_in)
    options = {**entry.options, **options}
    maker = entry.load()
    try:
        inspect.signature(maker).bind(**options)
    except TypeError as error:
        raise InputError(f"generator {plug_in!r} does not take these options: {error}") from error
    generator: Generator = maker(**options)
    return generator
