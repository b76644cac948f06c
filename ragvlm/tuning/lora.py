"""Adapters on a vision-language model: ``ragvlm tune lora`` and the soft prompts of ``ragvlm tune prompt``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ragvlm.corpus import Corpus
from ragvlm.tuning.adapters import LoraSettings, add_lora
from ragvlm.tuning.folder import Tuned
from ragvlm.tuning.settings import TrainSettings
from ragvlm.tuning.soft import FIRST_WORDS, add_soft_prompt
from ragvlm.tuning.vlm_tune import tune_vlm

LORA_DEFAULTS: dict[str, Any] = {"lr": 2e-4, "batch_size": 4, "accumulate": 4}
# few numbers are learnt: they take large steps (Lester et al. 2021)
PROMPT_DEFAULTS: dict[str, Any] = {"lr": 0.03, "batch_size": 4, "accumulate": 4, "epochs": 10}


def tune_lora(
    model: str,
    corpus: Corpus | str | Path,
    out: str | Path,
    *,
    lora: LoraSettings | None = None,
    settings: TrainSettings | None = None,
    **common: Any,
) -> Tuned:
    """Fine-tune ``model`` on the captions, or the questions, of ``corpus``; ``out`` is a generator afterwards.

    Args:
        model: a name of ``ragvlm models``, ORG/NAME or a folder: a family that VlmGenerator loads.
        corpus: records with pictures and captions or questions.
        out: the result's folder: an adapter of peft that names its base, with card and report.
        lora: rank, alpha, dropout and layers.
        settings: how long and fast; default: three epochs, 16 items a step, learning rate 2e-4.
        common: see ``tune_vlm``: ``index`` and ``k`` (references in the prompt), ``drop``, ``template``, ``task``,
            ``columns``, ``validation``, ``test``, ``quantize``, ``options``, ``command``, ``progress``.

    The same call after a kill goes on; after the end it gives what is there. Raises InputError for a corpus or a value
    that can't be, MissingExtraError without ``ragvlm[tune]``, and what ``load_generator`` raises.
    """
    lora, settings = lora or LoraSettings(), settings or TrainSettings(**LORA_DEFAULTS)
    return tune_vlm(
        "lora",
        lambda generator: add_lora(generator, lora, seed=settings.seed),
        model,
        corpus,
        out,
        settings=settings,
        shown=asdict(lora),
        title="low-rank adapters",
        **common,
    )


def tune_prompt(
    model: str,
    corpus: Corpus | str | Path,
    out: str | Path,
    *,
    tokens: int = 16,
    words: str = FIRST_WORDS,
    settings: TrainSettings | None = None,
    **common: Any,
) -> Tuned:
    """Learn a soft prompt of ``tokens`` vectors, which begin as those of ``words``; the rest is as for ``tune_lora``.

    The default is ten epochs with a learning rate of 0.03.
    """
    settings = settings or TrainSettings(**PROMPT_DEFAULTS)
    return tune_vlm(
        "prompt",
        lambda generator: add_soft_prompt(generator, tokens, words=words, seed=settings.seed),
        model,
        corpus,
        out,
        settings=settings,
        shown={"tokens": tokens, "words": words},
        title="a soft prompt",
        **common,
    )
