"""How well a vision-language model does on examples: its loss on the right words, and its own words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ragvlm.evaluation.split import subject_of
from ragvlm.generators.vlm import VlmGenerator
from ragvlm.generators.vlm_load import quiet
from ragvlm.measures import Item, measure
from ragvlm.tuning.vlm_items import IGNORED, VlmItems, collate

CAPTIONS, ANSWERS = ("ROUGE-L", "CIDEr-D"), ("Exact Match", "token F1")


def mean_loss(generator: VlmGenerator, items: VlmItems, batch_size: int) -> dict[str, float]:
    """``loss``, the mean over tokens of the negative log-likelihood, and ``perplexity``, its exponential."""
    import torch

    net, total, count = generator.net.eval(), 0.0, 0
    with quiet(), torch.inference_mode():
        for start in range(0, len(items), batch_size):
            batch = collate(generator, [items[i] for i in range(start, min(start + batch_size, len(items)))])
            batch = {name: _placed(tensor, net) for name, tensor in batch.items()}
            labels = batch["labels"] if generator.reads_apart else batch["labels"][:, 1:]
            tokens = int((labels != IGNORED).sum())
            total, count = total + float(net(**batch)["loss"]) * tokens, count + tokens
    loss = total / count
    return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}


def write_items(
    generator: VlmGenerator, items: VlmItems, batch_size: int, progress: Callable[..., None] | None = None
) -> list[Item]:
    """What the model writes for each example beside what is right, as the measures take it."""
    made = []
    for start in range(0, len(items), batch_size):
        numbers = range(start, min(start + batch_size, len(items)))
        texts = generator.generate([items.prompt(i) for i in numbers])
        for i, text in zip(numbers, texts, strict=True):
            example = items.examples[i]
            made.append(Item(f"{example.record.id} {i}", subject_of(example.record), text, (example.answer,)))
        if progress:
            progress(len(made), len(items))
    return made


def score_items(made: Sequence[Item], *, questions: bool) -> Mapping[str, float]:
    """ROUGE-L and CIDEr-D of captions; exact match and token F1 of answers."""
    task = "vqa" if questions else "describe"
    return {name: measure(name, task).statistics(made).value for name in (ANSWERS if questions else CAPTIONS)}


def _placed(tensor: Any, net: Any) -> Any:
    return tensor.to(net.device)
