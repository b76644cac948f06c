"""Adapters of peft that stand beside a checkpoint: which base they name, and how they are put on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ragvlm.encoders import hub
from ragvlm.encoders.torch_tools import import_package
from ragvlm.errors import InputError, RagvlmError
from ragvlm.generators.quantize import hush
from ragvlm.generators.vlm_load import one_error

SOFT = "TRAINABLE_TOKENS"
"""What peft calls an adapter that is vectors of tokens."""
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def base_of(model: str) -> tuple[str, str | None] | None:
    """Base and revision of the adapter in the folder ``model``; None where it is no folder of an adapter.

    Raises InputError where the adapter names no base.
    """
    if not (Path(model) / CONFIG).is_file():
        return None
    config = hub.read_json(Path(model) / CONFIG)
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(base, str) or not base:
        raise InputError(f"{model}: its {CONFIG} names no base (base_model_name_or_path)")
    return base, revision if isinstance(revision, str) else None


def put_on(net: Any, folder: str, device: Any) -> tuple[Any, tuple[int, ...]]:
    """``net`` with the adapter in ``folder`` at work in its layers, and the tokens of its soft prompt, where it is one.

    Only safetensors are read.

    Raises MissingExtraError without ``ragvlm[tune]``, RagvlmError for an adapter of another model.
    """
    if not (Path(folder) / WEIGHTS).is_file():
        raise RagvlmError(f"{folder}: holds no {WEIGHTS}: give the folder that `ragvlm tune lora` wrote")
    hush()
    peft = import_package("peft", "tune", "PeftModel")
    config = hub.read_json(Path(folder) / CONFIG)
    soft = tuple(config.get("token_indices") or ()) if config.get("peft_type") == SOFT else ()
    with one_error(folder):
        if soft:
            make_room(net, soft)
        worn = peft.PeftModel.from_pretrained(net, folder, torch_device=str(device))
    return worn.eval(), soft


def make_room(net: Any, soft: Sequence[int]) -> None:
    """Let ``net`` have vectors for the tokens ``soft``, which no tokenizer makes and no text may hold."""
    import torch

    had = net.get_input_embeddings().num_embeddings
    if max(soft) >= had:
        net.resize_token_embeddings(max(soft) + 1, mean_resizing=False)
        for layer in (net.get_input_embeddings(), net.get_output_embeddings()):
            with torch.no_grad():  # transformers draws them at random, each time others
                layer.weight[had:] = 0
    net.generation_config.suppress_tokens = list(soft)
