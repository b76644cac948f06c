"""``ragvlm tune describer``: the embedded describer (``ragvlm.generators.smallcap``) on the records of an index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.encoders.torch_tools import import_package
from ragvlm.errors import InputError
from ragvlm.generators.quantize import hush
from ragvlm.generators.smallcap.decoder import DEFAULT, Decoder, load_decoder
from ragvlm.generators.smallcap.features import PictureFeatures
from ragvlm.generators.smallcap.folder import Trained
from ragvlm.generators.smallcap.layout import NEIGHBOURS
from ragvlm.index import Index
from ragvlm.tuning.card import Card
from ragvlm.tuning.describer_items import look
from ragvlm.tuning.describer_school import Collate, School
from ragvlm.tuning.fit import Progress, fit
from ragvlm.tuning.folder import Tuned, training
from ragvlm.tuning.settings import TrainSettings
from ragvlm.tuning.split import Split, split_by_subject

DEFAULTS: Mapping[str, Any] = {"lr": 1e-3, "epochs": 4.0, "batch_size": 8, "warmup": 0.05}
"""Where they differ from those of TrainSettings: little is learnt, from little."""


def tune_describer(
    index: Index | Path | str,
    out: Path | str,
    *,
    decoder: str = DEFAULT,
    neighbours: int = NEIGHBOURS,
    rank: int = 4,
    validation: float = 0.1,
    test: float = 0.0,
    settings: TrainSettings | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Tuned:
    """Train the describer on the captions and the answered questions of ``index``; the result is the folder ``out``.

    ``decoder`` as ``load_decoder`` takes it. ``neighbours``: references that an item is told; ``rank``: of LoRA.
    ``validation`` and ``test``: shares of the subjects. What a kill interrupts, the same call goes on with.
    Raises InputError on one line where nothing can be learnt (no captions or questions, too few subjects, no
    pictures), MissingExtraError without ``ragvlm[tune,smallcap]``, and what ``training`` and ``fit`` raise.
    """
    hush()
    import_package("peft", "tune")
    settings = settings or TrainSettings(**DEFAULTS)
    index = index if isinstance(index, Index) else Index.open(index)
    if neighbours < 0:
        raise InputError(f"neighbours is {neighbours}: give 0 or more")
    told = [r for r in index.records if r.image and (r.caption or r.extra.get("questions"))]
    if not told:
        raise InputError(f"index {index.path}: no record has a picture with a caption or with questions and answers")
    split = split_by_subject(told, name=str(index.path), validation=validation, test=test, seed=settings.seed)
    features = PictureFeatures()
    identity = {
        "kind": "describer",
        "index": index.fingerprint,
        "features": features.fingerprint,
        "decoder": decoder,
        "neighbours": neighbours,
        "rank": rank,
        "validation": validation,
        "test": test,
        "settings": settings.identity(),
    }
    with training(out, identity) as work:
        if work.tuned is not None:
            return work.tuned
        if progress:
            with progress("Looking at the pictures") as update:
                pictures = look(index, features, update)
        else:
            pictures = look(index, features)
        school = School.of(pictures, split, index, neighbours, settings.seed)
        made = load_decoder(decoder)
        net = _net(made, rank, settings.seed, school)
        fitted = fit(
            net, school.items("train", made), school.items("validation", made),
            place=work.checkpoints, settings=settings, collate=Collate(school, made), progress=progress,
        )  # fmt: skip
        _round(net)
        trust, exact = school.trust(net, made, "validation")
        metrics = {"validation": {"loss": fitted.best, **exact}}
        if split.test:
            metrics["test"] = {"loss": _loss(net, school, made), **school.trust(net, made, "test", [trust])[1]}
        trained = Trained(
            shape=net.mapper.shape.to_dict(), decoder=decoder, decoder_fingerprint=made.fingerprint,
            features_fingerprint=features.fingerprint, net=net.learnt(), readings=school.readings,
            answers=school.answers, neighbours=neighbours, words=school.words(made), trust=trust,
        )  # fmt: skip
        card = _card(index, made, decoder, _data(index, told, split), metrics, identity, command)
        return work.finish(trained.save, card, fitted)


def _card(
    index: Index,
    made: Decoder,
    decoder: str,
    data: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, float]],
    identity: Mapping[str, Any],
    command: str | None,
) -> Card:
    shipped = decoder == DEFAULT
    known = {
        "name": "SmolLM2-135M-Instruct" if shipped else decoder,
        "licence": "Apache-2.0" if shipped else "its own",
    }
    return Card(
        kind="describer",
        title=f"An embedded describer for the corpus of index {index.path.name}",
        base={**known, "fingerprint": made.fingerprint},
        data=data,
        metrics=metrics,
        settings={**identity["settings"], "rank": identity["rank"], "neighbours": identity["neighbours"]},
        use="ragvlm describe PICTURE --index INDEX --generator {folder}",
        limits=(
            "The image tower has seen photographs, not biomedical pictures, and is not trained.",
            "It writes in the words of its corpus; what it counts is an estimate.",
        ),
        command=command,
        plug_in="smallcap",
    )


def _net(decoder: Decoder, rank: int, seed: int, school: School) -> Any:
    from ragvlm.generators.smallcap.net import Shape, Smallcap

    import_package("transformers", "tune", "set_seed").set_seed(seed)
    net = Smallcap(decoder, Shape(rank=rank, alpha=2 * rank))
    net.mapper.fit(school.pictures.seen.rows(np.flatnonzero(school.allowed)))
    return net


def _round(net: Any) -> None:
    """Bring what was learnt to the numbers that are kept, so that what is measured is what is saved."""
    import torch

    with torch.no_grad():
        for tensor in net.learnt().values():
            tensor.copy_(tensor.half())


def _loss(net: Any, school: School, decoder: Decoder) -> float:
    import torch

    items, collate = school.items("test", decoder), Collate(school, decoder)
    with torch.inference_mode():
        found = [float(net(**collate([items[i]]))["loss"]) for i in range(len(items))]
    return float(np.mean(found)) if found else float("nan")


def _data(index: Index, records: list[Any], split: Split) -> dict[str, Any]:
    return {
        "name": index.path.name,
        "fingerprint": index.fingerprint,
        "records": len(records),
        "licences": sorted({record.licence for record in records if record.licence}),
        "sources": sorted({record.source for record in records if record.source}),
        "split": split.facts(),
    }
