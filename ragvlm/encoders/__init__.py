"""Encoders: pictures and words to unit vectors. Importing this costs milliseconds; a model loads on first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from ragvlm.errors import InputError
from ragvlm.registry import create, find

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragvlm.encoders.export_dual import ExportReport
    from ragvlm.types import Encoder

__all__ = ["export_towers", "load_encoder"]


def load_encoder(name: str = "embedded", **options: Any) -> Encoder:
    """The encoder ``name``, ready to encode.

    ``name`` is a plug-in's name, or name and model joined by a colon: "openclip:hf-hub:ORG/NAME",
    "openclip:local-dir:PATH", "openclip:ARCHITECTURE/TAG", "transformers:ORG/NAME", "transformers:PATH".
    ``options`` go to the plug-in: ``batch_size`` to all; ``threads`` and ``precision`` to "embedded";
    ``model``, ``revision``, ``device`` and ``dtype`` to "openclip",
    "transformers" and "biovil-t", ``trust_remote_code`` to the first two,
    ``text_tower`` to "openclip", ``runtime`` and ``precision`` to "transformers", ``logit_scale`` to "biovil-t". An
    encoder's own ``name``, with its own ``options``, gives the same encoder again.

    Raises InputError for an unknown name or option, MissingExtraError (with the pip command) for an absent
    package, and RagvlmError for weights that can't be had.
    """
    return cast("Encoder", create("encoders", name, options))


def export_towers(
    name: str, *, precision: str = "fp32", pictures: Sequence[Image] = (), texts: Sequence[str] = (), **options: Any
) -> ExportReport:
    """Export both towers of the dual encoder ``name`` to ONNX, so that it starts without torch and transformers.

    They go into the cache (nothing is done anew where they are intact) and are found there by ``load_encoder`` with
    ``runtime`` "auto" or "onnx". ``precision`` is "fp32" or "int8" (dynamic quantisation, made from an export in fp32).
    The report has file, size, and the least and mean cosine to torch in float32, on probes of its own and on
    ``pictures`` (RGB) and ``texts``, such as a corpus's own. ``options`` are those of ``load_encoder``, without
    ``runtime``, ``device`` and ``dtype``.

    Raises InputError for an encoder that isn't one of transformers' dual encoders, RagvlmError for one that can't be
    run by ONNX Runtime or whose export in fp32 disagrees with torch (cosine of 0.9999 or less), MissingExtraError
    without ``ragvlm[onnx,transformers]``, StoreError where the cache can't be written.
    """
    if find("encoders", name.partition(":")[0]).target != "ragvlm.encoders.transformers_dual:TransformersEncoder":
        raise InputError(f"encoder {name!r} has no export: choose a dual encoder of transformers, such as clip")
    if taken := {"runtime", "device", "dtype"} & set(options):
        raise InputError(f"export_towers takes no {min(taken)}: towers are exported from torch float32 on the CPU")
    encoder = load_encoder(name, runtime="torch", device="cpu", dtype="float32", **options)
    return cast("ExportReport", cast("Any", encoder).export(precision, pictures=pictures, texts=texts))
