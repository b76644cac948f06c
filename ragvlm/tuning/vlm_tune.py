"""What tune lora and tune prompt share: an adapter on a vision-language model, trained, measured and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError
from ragvlm.generators.vlm import VlmGenerator
from ragvlm.index import Index
from ragvlm.registry import entries
from ragvlm.tuning.card import Card
from ragvlm.tuning.fit import Progress, fit
from ragvlm.tuning.folder import Tuned, training
from ragvlm.tuning.settings import TrainSettings
from ragvlm.tuning.vlm_data import VlmData, load_vlm
from ragvlm.tuning.vlm_items import VlmItems, collate
from ragvlm.tuning.vlm_measure import mean_loss, score_items, write_items

LIMITS = (
    "It writes what is probable after this corpus, also where the picture doesn't show it: keep the evidence check of "
    "`ragvlm describe`.",
)


def tune_vlm(
    kind: str,
    add: Callable[[VlmGenerator], Any],
    model: str,
    corpus: Corpus | str | Path,
    out: str | Path,
    *,
    settings: TrainSettings,
    shown: Mapping[str, Any],
    title: str,
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
    """Train what ``add`` adds to the model, and write it to ``out``; see ``tune_lora``.

    Args:
        kind, title: the card's; ``shown`` are the settings of ``add``.
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
    """
    if k < 1 or not 0 <= drop <= 1:
        raise InputError(f"k is {k} and drop {drop}: give 1 or more references and a share from 0 to 1")
    data = VlmData.of(
        corpus, task=task, columns=columns, index=index, validation=validation, test=test, seed=settings.seed
    )
    told = {"k": k, "drop": drop, "template": template} if data.index else {}
    shown = {
        "model": model, **shown, **settings.identity(), **told,
        "validation": validation, "test": test, "quantize": quantize, **(options or {}),
    }  # fmt: skip
    with training(out, {"tune": kind, **shown, **data.identity()}) as work:
        if work.tuned:
            return work.tuned
        generator = load_vlm(model, settings, data, quantize=quantize, **(options or {}))
        train, checks = _parts(generator, data, settings, told, progress)
        net = add(generator)
        fitted = fit(
            net,
            train,
            checks["validation"],
            place=work.checkpoints,
            settings=settings,
            collate=partial(collate, generator),
            progress=progress,
        )
        entry = entries("generators").get(model)
        card = Card(
            kind=kind,
            plug_in="vlm",
            title=f"{generator.model} with {title}, trained on {data.corpus.name}",
            base={
                "name": generator.model,
                "revision": generator.revision,
                "licence": entry.licence if entry else None,
            },
            data=data.facts,
            metrics=measured(generator, data, checks, settings.batch_size),
            settings=shown,
            use=usage(generator, data),
            limits=LIMITS,
            command=command,
        )
        # "auto" would save all vectors of words where some were added, and ask the hub
        return work.finish(partial(net.save_pretrained, save_embedding_layers=False), card, fitted)


def _parts(
    generator: VlmGenerator,
    data: VlmData,
    settings: TrainSettings,
    told: Mapping[str, Any],
    progress: Progress | None,
) -> tuple[VlmItems, dict[str, VlmItems]]:
    """What is learnt, and what is validated and tested on."""
    near = data.neighbours(told["k"], progress) if told else {}
    beside = {"neighbours": near, "seed": settings.seed, **({"template": told["template"]} if told else {})}
    train = data.items(generator, "train", drop=told.get("drop", 0.0), **beside)
    return train, {part: data.items(generator, part, **beside) for part in ("validation", "test")}


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
        with _without_adapter(generator):
            found[f"{part}, base"] = _figures(generator, data, items, batch_size)
    return found


@contextmanager
def _without_adapter(generator: VlmGenerator) -> Iterator[None]:
    """The base, as it was; its prompts without the soft one."""
    soft, generator.soft = generator.soft, ()
    try:
        with generator.net.disable_adapter():
            yield
    finally:
        generator.soft = soft


def _figures(generator: VlmGenerator, data: VlmData, items: VlmItems, batch_size: int) -> dict[str, float]:
    texts = write_items(generator, items, batch_size)
    return {
        "items": len(items),
        **mean_loss(generator, items, batch_size),
        **score_items(texts, questions=data.questions),
    }


def usage(generator: VlmGenerator, data: VlmData) -> str:
    """The command that describes with the result as it was trained."""
    alone = "" if data.index or generator.reads != "prompt" else " --template zero-shot"
    asked = ' --question "..."' if data.questions else ""
    return f"ragvlm describe PICTURE --index DIR --generator {{folder}}{alone}{asked}"
