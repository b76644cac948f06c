"""Soft prompts: some vectors that are learnt in place of words (Lester et al. 2021, arXiv:2104.08691).

They are the vectors of tokens that no text holds, behind the prompt of a decoder and before that of an encoder-decoder,
so that a prompt with them is made and continued like any other.
"""

from __future__ import annotations

import re
from typing import Any

from ragvlm.encoders.torch_tools import import_package
from ragvlm.errors import InputError
from ragvlm.generators.vlm import VlmGenerator
from ragvlm.generators.vlm_adapter import make_room
from ragvlm.tuning.adapters import wrap

FIRST_WORDS = "Describe this biomedical image from what it shows: kind, stain, numbers and places."


def add_soft_prompt(generator: VlmGenerator, tokens: int, *, words: str = FIRST_WORDS, seed: int) -> Any:
    """Give ``generator`` a soft prompt of ``tokens`` vectors, the only weights that will be trained; the wrapped model.

    They begin as the vectors of ``words``, repeated or cut. Raises InputError for fewer than one, and for a family
    whose words' vectors can't be reached.
    """
    import torch

    if tokens < 1:
        raise InputError(f"tokens is {tokens}: give 1 or more")
    peft, transformers = import_package("peft", "tune"), import_package("transformers", "tune")
    net, tokenizer = generator.net, generator.tokenizer
    used = max(len(tokenizer), max(tokenizer.get_vocab().values()) + 1)
    soft = tuple(range(used, used + tokens))
    make_room(net, soft)
    table = net.get_input_embeddings()
    name = next((n for n, module in net.named_modules() if module is table), None)
    if name is None or not isinstance(table, torch.nn.Embedding):
        raise InputError(f"{generator.model}: the vectors of its words can't be reached: choose tune lora")
    first = tokenizer(words, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        table.weight[list(soft)] = table.weight[[first[i % len(first)] for i in range(tokens)]].clone()
    config = peft.TrainableTokensConfig(token_indices=list(soft), target_modules=f"(?:.*\\.)?{re.escape(name)}")
    worn = wrap(generator, config, transformers, peft, seed=seed)
    generator.soft = soft
    return worn
