"""Encoders: pictures and words to unit vectors. Importing this costs milliseconds; a model loads on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ragvlm.registry import create

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
    return cast("Encoder", create("encoders", name, options))
