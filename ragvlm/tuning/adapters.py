"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv:2106.09685) and where in a vision-language model they go."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ragvlm.encoders.torch_tools import import_package
from ragvlm.errors import InputError
from ragvlm.generators.vlm import VlmGenerator
from ragvlm.generators.vlm_dialects import table
from ragvlm.generators.vlm_load import quiet


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """rank: of the two matrices that are added. alpha: their sum is scaled by ``alpha / rank``. dropout: before them.
    target: whole names of layers as a regular expression (default: ``adapters`` of ``data/vlm.toml``).

    Raises InputError for a value that can't be.
    """

    rank: int = 8
    alpha: int = 32
    dropout: float = 0.1
    target: str | None = None

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha < 1:
            raise InputError(f"rank is {self.rank} and alpha {self.alpha}: give 1 or more")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}: give a share from 0 to below 1")
        try:
            re.compile(self.target or "")
        except re.error as error:
            raise InputError(f"target {self.target!r} is no regular expression: {error}") from error


def target_of(net: Any, target: str | None = None) -> str:
    """The expression for the layers of ``net``: ``target``, else that of its family.

    Raises InputError where no linear layer has such a name.
    """
    import torch

    rows = table()["adapters"]
    pattern = target or str(rows.get(net.config.model_type, rows["default"]))
    if not any(re.fullmatch(pattern, name) for name, m in net.named_modules() if isinstance(m, torch.nn.Linear)):
        raise InputError(f"no linear layer of this {net.config.model_type!r} model is named {pattern!r}: give --target")
    return pattern


def add_lora(generator: VlmGenerator, settings: LoraSettings, *, seed: int) -> Any:
    """Give ``generator``'s model fresh adapters, the only weights that will be trained; the wrapped model.

    Raises MissingExtraError without ``ragvlm[tune]``.
    """
    peft = import_package("peft", "tune", "LoraConfig")
    transformers = import_package("transformers", "tune")
    pattern = target_of(generator.net, settings.target)
    config = peft.LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=pattern
    )
    return wrap(generator, config, transformers, peft, seed=seed)


def wrap(generator: VlmGenerator, config: Any, transformers: Any, peft: Any, *, seed: int) -> Any:
    """The model of ``generator`` under an adapter of peft, whose file will name the base."""
    net = generator.net
    with quiet():
        if getattr(net, "is_quantized", False):
            net = peft.prepare_model_for_kbit_training(net, use_gradient_checkpointing=False)
        transformers.set_seed(seed)
        worn = peft.get_peft_model(net, config)
    for known in worn.peft_config.values():
        known.base_model_name_or_path, known.revision = generator.model, generator.revision
    generator.net = worn
    return worn
