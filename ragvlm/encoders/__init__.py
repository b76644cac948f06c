"""Encoders: pictures and words to unit vectors. Importing this costs milliseconds; a model loads on first use."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

from ragvlm.errors import InputError
from ragvlm.registry import find

if TYPE_CHECKING:
    from ragvlm.types import Encoder

__all__ = ["load_encoder"]


def load_encoder(name: str = "embedded", **options: Any) -> Encoder:
    """The encoder ``name``, ready to encode.

    ``name`` is a plug-in's name, or name and model joined by a colon: "openclip:hf-hub:ORG/NAME",
    "openclip:local-dir:PATH", "openclip:ARCHITECTURE/TAG", "transformers:ORG/NAME", "transformers:PATH".
    ``options`` go to the plug-in: ``batch_size`` to all; ``threads`` to "embedded"; ``device`` and ``model`` to
    "openclip" and "transformers", ``revision``, ``dtype`` and ``trust_remote_code`` to "transformers". An
    encoder's own ``name`` gives the same encoder again.

    Raises InputError for an unknown name or option, MissingExtraError (with the pip command) for an absent
    package, and RagvlmError for weights that can't be had.
    """
    plug_in, _, model = name.partition(":")
    if model:
        options = {"model": model} | options
    entry = find("encoders", plug_in)
    options = {**entry.options, **options}
    encoder_class = entry.load()
    known = inspect.signature(encoder_class).parameters
    for option in options:
        if option not in known:
            raise InputError(f"encoder {plug_in!r} has no option {option!r}: it takes {', '.join(known)}")
    return cast("Encoder", encoder_class(**options))
