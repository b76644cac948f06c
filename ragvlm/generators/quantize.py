"""Weights in 8 or 4 bits by bitsandbytes: LLM.int8() and NF4."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ragvlm.encoders import hub
from ragvlm.encoders.torch_tools import import_package
from ragvlm.errors import InputError, require

KINDS = ("none", "int8", "int4")
_BYTES = {"int8": 1.0, "int4": 0.5 + 4 / 64}  # NF4 keeps one float32 scale for each 64 weights
_KEPT = re.compile(
    r"embed|lm_head|shared|position"
)  # what bitsandbytes leaves as it is: no linear layers, and the output


def quantization(
    kind: str, folder: Path, model: str, device: Any, dtype: Any, *, trust_remote_code: bool = False
) -> Any | None:
    """transformers' configuration for weights of ``kind`` that compute in ``dtype``; None for "none".

    Dettmers et al. 2022, arXiv:2208.07339 ("int8"); Dettmers et al. 2023, arXiv:2305.14314 ("int4").

    Raises InputError for an unknown kind, a checkpoint that is quantized already, a device that bitsandbytes doesn't
    know, and code that it would fetch and that isn't trusted; MissingExtraError without ``ragvlm[quantized]``.
    """
    if kind not in KINDS:
        raise InputError(f"quantize {kind!r}: give one of {', '.join(KINDS)}")
    if kind == "none":
        return None
    if "quantization_config" in hub.read_json(folder / "config.json"):
        raise InputError(f"{model} is quantized already: give quantize=none")
    require("accelerate", "quantized")
    if importlib.util.find_spec("kernels") and not trust_remote_code:
        raise InputError(
            "bitsandbytes fetches compiled code from the hub where the package kernels is installed: "
            "uninstall it, or give trust_remote_code=true"
        )
    hush()
    known = import_package("bitsandbytes", "quantized").supported_torch_devices
    if device.type not in known:
        raise InputError(
            f"quantize={kind}: bitsandbytes knows {', '.join(sorted(known))}, not {device}: give quantize=none"
        )
    transformers = import_package("transformers", "vlm")
    if kind == "int8":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def hush() -> None:
    """Keep bitsandbytes, which others import too, from recommending the package kernels."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def settle(net: Any) -> None:
    """Keep layers that don't fill the blocks of bitsandbytes' fast path for CPUs with AVX512-BF16 off it.

    It fails on them, for example on the 4304 wide ones of SigLIP.
    """
    for layer in net.modules():
        if getattr(layer, "support_avx512bf16_for_cpu", False) and (layer.in_features % 64 or layer.out_features % 32):
            layer.support_avx512bf16_for_cpu = False


def bytes_needed(folder: Path, dtype: Any, kind: str) -> int:
    """How many bytes the weights of a checkpoint take at least once they are loaded in ``dtype`` and quantized."""
    shapes = (item for path in hub.weight_paths(folder) for item in _shapes(path))
    return round(sum(_bytes(name, shape, dtype, kind) for name, shape in shapes))


def _shapes(path: Path) -> Iterator[tuple[str, list[int]]]:
    """Name and shape of each tensor of a file, whose numbers aren't read."""
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no dictionary
                yield name, file.get_slice(name).get_shape()
        return
    import torch

    for name, tensor in torch.load(path, map_location="meta", weights_only=True).items():
        yield name, list(tensor.shape)


def _bytes(name: str, shape: list[int], dtype: Any, kind: str) -> float:
    count = 1
    for side in shape:
        count *= side
    linear = len(shape) == 2 and name.endswith(".weight") and not _KEPT.search(name)
    return count * (_BYTES[kind] if kind != "none" and linear else dtype.itemsize)
