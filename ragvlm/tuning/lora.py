"""``ragvlm tune lora``: low-rank adapters on a vision-language model, with references in the prompt or without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError
from ragvlm.generators.vlm import VlmGenerator
from ragvlm.index import Index
from ragvlm.tuning.adapters import LoraSettings, add_lora
from ragvlm.tuning.card import Card
from ragvlm.tuning.fit import Progress, fit
from ragvlm.tuning.folder import Tuned, Work, training
from ragvlm.tuning.settings import TrainSettings
from ragvlm.tuning.vlm_data import VlmData, load_vlm
from ragvlm.tuning.vlm_items import VlmItems, collate
from ragvlm.tuning.vlm_measure import mean_loss, score_items, write_items

DEFAULTS = {"lr": 2e-4, "batch_size": 4, "accumulate": 4}


def tune_lora(
    model: str,
    corpus: Corpus | str | Path,
    out: str | Path,
    *,
    lora: LoraSettings | None = None,
    settings: TrainSettings | None = None,
    task: str = "auto",
    columns: Mapping[str, str] | None = None,
    index: Index | str | Path | None = None,
    k: int = 3,
    drop: float = 0.2,
    template: str = "describe",
    validation: float = 0.1,
    test: float = 0.1,
    quantize: str = "none",
    options: Mapping[str, Any] | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Fine-tune ``model`` on the captions, or the questions, of ``corpus``; ``out`` is a generator afterwards.

    Args:
        model: a name of ``ragvlm models``, ORG/NAME or a folder: a family that VlmGenerator loads.
        corpus: records with pictures and captions or questions.
        out: the result's folder: an adapter of peft that names its base, with card and report.
        lora: rank, alpha, dropout and layers.
        settings: how long and fast; default: three epochs, 16 items a step, learning rate 2e-4.
        task: see VlmData.
        columns: as in ``Corpus.load``.
        index: references of which stand in the prompts: retrieval-augmented fine-tuning.
        k: references a prompt.
        drop: share of the examples that see none, drawn anew in each epoch.
        template: of the prompts with references; those without are asked by "zero-shot".
        validation, test: shares of the subjects.
        quantize: "int8" or "int4" trains over a quantized base (QLoRA, Dettmers et al. 2023, arXiv:2305.14314).
        options: further options of the generator.
        command: for the model card.
        progress: makes bars.

    The same call after a kill goes on; after the end it gives what is there. Raises InputError for a corpus or a value
    that can't be, MissingExtraError without ``ragvlm[tune]``, and what ``load_generator`` raises.
    """
    lora, settings = lora or LoraSettings(), settings or TrainSettings(**DEFAULTS)  # type: ignore[arg-type]
    if k < 1 or not 0 <= drop <= 1:
        raise InputError(f"k is {k} and drop {drop}: give 1 or more references and a share from 0 to 1")
    data = VlmData.of(
        corpus, task=task, columns=columns, index=index, validation=validation, test=test, seed=settings.seed
    )
    told = {"k": k, "drop": drop, "template": template} if data.index else {}
    shown = {
        "model": model, **asdict(lora), **settings.identity(), **told,
        "validation": validation, "test": test, "quantize": quantize, **(options or {}),
    }  # fmt: skip
    with training(out, {"tune": "lora", **shown, **data.identity()}) as work:
        if work.tuned:
            return work.tuned
        generator = load_vlm(model, settings, data, quantize=quantize, **(options or {}))
        return _learn(work, generator, data, lora, settings, told, shown, command, progress)


def _learn(
    work: Work,
    generator: VlmGenerator,
    data: VlmData,
    lora: LoraSettings,
    settings: TrainSettings,
    told: Mapping[str, Any],
    shown: Mapping[str, Any],
    command: str | None,
    progress: Progress | None,
) -> Tuned:
    near = data.neighbours(told["k"], progress) if told else {}
    beside = {"neighbours": near, "seed": settings.seed, **({"template": told["template"]} if told else {})}
    train = data.items(generator, "train", drop=told.get("drop", 0.0), **beside)
    checks = {part: data.items(generator, part, **beside) for part in ("validation", "test")}
    net = add_lora(generator, lora, seed=settings.seed)
    fitted = fit(
        net,
        train,
        checks["validation"],
        place=work.checkpoints,
        settings=settings,
        collate=partial(collate, generator),
        progress=progress,
    )
    card = Card(
        kind="lora",
        plug_in="vlm",
        title=f"{generator.model} with low-rank adapters, trained on {data.corpus.name}",
        base={"name": generator.model, "revision": generator.revision, "licence": licence_of(str(shown["model"]))},
        data=data.facts,
        metrics=measured(generator, data, checks, settings.batch_size),
        settings=shown,
        use=usage(generator, data),
        limits=LIMITS,
        command=command,
    )
    return work.finish(net.save_pretrained, card, fitted)


LIMITS = (
    "It writes what is probable after this corpus, also where the picture doesn't show it: keep the evidence check of "
    "`ragvlm describe`.",
)


def measured(
    generator: VlmGenerator, data: VlmData, checks: Mapping[str, VlmItems], batch_size: int
) -> dict[str, dict[str, float]]:
    """Loss, perplexity and the measures of the words of each part of ``checks`` that has examples; as "PART, base" the
    same of the model without its adapter.
    """
    found: dict[str, dict[str, float]] = {}
    for part, items in checks.items():
        if not len(items):
            continue
        found[part] = _figures(generator, data, items, batch_size)
        with generator.net.disable_adapter():
            found[f"{part}, base"] = _figures(generator, data, items, batch_size)
    return found


def _figures(generator: VlmGenerator, data: VlmData, items: VlmItems, batch_size: int) -> dict[str, float]:
    texts = write_items(generator, items, batch_size)
    return {
        "items": len(items),
        **mean_loss(generator, items, batch_size),
        **score_items(texts, questions=data.questions),
    }


def licence_of(model: str) -> str | None:
    """What ``ragvlm models`` says of the licence of a name."""
    from ragvlm.registry import entries

    entry = entries("generators").get(model)
    return entry.licence if entry else None


def usage(generator: VlmGenerator, data: VlmData) -> str:
    """The command that describes with the result as it was trained."""
    alone = "" if data.index or generator.reads != "prompt" else " --template zero-shot"
    asked = ' --question "..."' if data.questions else ""
    return f"ragvlm describe PICTURE --index DIR --generator {{folder}}{alone}{asked}"
