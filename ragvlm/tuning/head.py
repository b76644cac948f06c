"""``ragvlm tune head``: pictures and captions of one corpus into one space, on the vectors that its index holds.

The encoder below stays as it is. Where its towers have two spaces, a linear map (begun by ridge regression) or a small
MLP takes pictures into the space of the words; where they share one, a residual adapter shifts both (CLIP-Adapter, Gao
et al. 2021, arXiv:2110.04544).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.encoders.head import TENSORS, HeadFacts, mapped
from ragvlm.encoders.torch_tools import import_package
from ragvlm.errors import InputError, require
from ragvlm.index import Index
from ragvlm.tuning.card import Card
from ragvlm.tuning.fit import Progress, fit
from ragvlm.tuning.folder import Tuned, Work, training
from ragvlm.tuning.head_measure import Pair, figures, gains
from ragvlm.tuning.settings import TrainSettings
from ragvlm.tuning.split import Split, corpus_facts, split_by_subject
from ragvlm.types import Float32, Record

DEFAULTS: dict[str, Any] = {"epochs": 30.0, "batch_size": 64, "lr": 1e-4, "weight_decay": 0.1, "patience": 5}
LOSSES = ("infonce", "sigmoid")
EVALUATIONS = 20
"""Of a whole training, unless eval_steps says otherwise."""
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Of the ridge regression; the one with the largest mean cosine on the validation part is taken."""


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """``loss``: "infonce" or "sigmoid". ``hidden``: units of the hidden layer; 0 has none, None is 0 for a map and a
    quarter of the width for an adapter. ``negatives``: hard ones for each picture, from the index. ``dropout`` of the
    picture's vector, in [0, 1). Raises InputError for a value that can't be."""

    loss: str = "infonce"
    hidden: int | None = None
    negatives: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise InputError(f"loss {self.loss!r}: give one of {', '.join(LOSSES)}")
        if (self.hidden or 0) < 0 or self.negatives < 0:
            raise InputError(f"hidden is {self.hidden} and negatives {self.negatives}: give 0 or more")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}: give a share from 0 to below 1")


def tune_head(
    index: Index | str | Path,
    out: str | Path,
    *,
    head: HeadSettings | None = None,
    settings: TrainSettings | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    command: str | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Learn a head on the pictures and captions of ``index``; the folder ``out`` is an encoder afterwards.

    ``validation`` and ``test`` are shares of the subjects. The card has, for the test part, R@1, R@5, R@10 and mAP of
    picture to caption and back, before and after, and the gain with its 95 % interval by subject. Before, an encoder of
    two spaces finds captions by way of the neighbours, as a fused search does (``head_measure``).

    The same call after a kill goes on; after the end it gives what is there. Raises InputError for an index without
    captions, with too few subjects or with one caption, and MissingExtraError without ``ragvlm[tune]``.
    """
    opened = index if isinstance(index, Index) else Index.open(index)
    head, settings = head or HeadSettings(), settings or TrainSettings(**DEFAULTS)
    data = HeadData.of(opened, validation, test, settings.seed)
    if settings.eval_steps is None:
        settings = replace(settings, eval_steps=max(settings.steps(len(data.split.train)) // EVALUATIONS, 1))
    shown = {**asdict(head), **settings.identity(), "validation": validation, "test": test}
    with training(out, {"tune": "head", **shown, "index": opened.fingerprint}) as work:
        return work.tuned or _learn(work, data, head, settings, shown, command, progress)


@dataclass(frozen=True, slots=True)
class HeadData:
    """The captioned pictures of an index, by part."""

    index: Index
    split: Split

    @classmethod
    def of(cls, index: Index, validation: float, test: float, seed: int) -> HeadData:
        """Raises InputError where there is nothing to learn from."""
        both = np.intersect1d(index.image_rows, index.text_rows)
        records = [index.records[int(row)] for row in both]
        where = f"index {index.path}"
        if not records:
            raise InputError(f"{where}: no record has a picture and a caption: index a corpus with captions")
        if len({record.caption for record in records}) < 2:
            raise InputError(f"{where}: all captions are equal: nothing is to be told apart")
        return cls(index, split_by_subject(records, name=where, validation=validation, test=test, seed=seed))

    def pair(self, records: tuple[Record, ...]) -> Pair:
        """The vectors of some records."""
        row_of = {record.id: row for row, record in enumerate(self.index.records)}
        rows = [row_of[record.id] for record in records]
        subjects = tuple(r.subject_id if r.subject_id is not None else f"record {r.id}" for r in records)
        words = np.unique([str(record.caption) for record in records], return_inverse=True)[1]
        images, texts = self.index.image_embeddings(rows), self.index.text_embeddings(rows)
        return Pair(images, texts, words.astype(np.int64), subjects, tuple(record.id for record in records))


def _learn(
    work: Work,
    data: HeadData,
    head: HeadSettings,
    settings: TrainSettings,
    shown: dict[str, Any],
    command: str | None,
    progress: Progress | None,
) -> Tuned:
    import_package("transformers", "tune", "Trainer")  # before torch by itself: see import_package
    from ragvlm.tuning.head_net import Pairs, collate

    train, checked, tested = (data.pair(part) for part in (data.split.train, data.split.validation, data.split.test))
    net = _net(data, head, settings.seed, train, checked)
    fitted = fit(
        net,
        Pairs(train.images, train.texts, train.captions, head.negatives),
        Pairs(checked.images, checked.texts, checked.captions, head.negatives),
        place=work.checkpoints,
        settings=settings,
        collate=collate,
        labels=("captions",),
        progress=progress,
    )
    manifest = data.index.manifest
    scale, bias = net.contrast
    form = "adapter" if manifest.shared_space else "map"
    facts = HeadFacts(manifest.encoder, manifest.encoder_fingerprint, dict(manifest.encoder_options), form, scale, bias)
    through = partial(_through, net.numbers())
    metrics: dict[str, dict[str, float]] = {}
    for part, pair in (("validation", checked), ("test", tested)):
        if len(pair.images):
            before = figures(pair, train if form == "map" else None)
            after = figures(through(pair))
            metrics |= {f"{part}, before": before.means(), part: after.means()}
            metrics |= {f"{part}, gain": gains(after, before)} if part == "test" else {}
    return work.finish(
        partial(_write, facts=facts, weights=net.numbers()), _card(data, shown, metrics, command), fitted
    )


def _net(data: HeadData, head: HeadSettings, seed: int, train: Pair, checked: Pair) -> Any:
    import_package("transformers", "tune", "set_seed").set_seed(seed)
    from ragvlm.tuning.head_net import HeadNet, Tower

    manifest = data.index.manifest
    wide, words = manifest.image_dim, manifest.text_dim
    if manifest.shared_space:
        hidden = max(wide // 4, 1) if head.hidden is None else head.hidden
        if not hidden:
            raise InputError("hidden is 0: an adapter is nothing but its hidden layer")
        image, text = Tower(wide, words, hidden, None), Tower(words, words, hidden, None)
    else:
        image = Tower(wide, words, head.hidden or 0, ridge(train, checked))
        text = Tower(words, words, 0, None)
    return HeadNet(image, text, head.loss, head.dropout)


def ridge(train: Pair, checked: Pair) -> Float32:
    """The linear map of pictures' to captions' vectors with the least squared error and an L2 penalty: (out, in)."""
    linear, pools = require("sklearn.linear_model", "tune"), require("threadpoolctl", "tune")
    best, found = -np.inf, np.zeros((train.texts.shape[1], train.images.shape[1]), np.float32)
    with pools.threadpool_limits(1):
        for strength in STRENGTHS:
            matrix = linear.Ridge(alpha=strength, fit_intercept=False).fit(train.images, train.texts).coef_
            seen = checked.images @ matrix.T
            cosine = float(((seen * checked.texts).sum(1) / np.maximum(np.linalg.norm(seen, axis=1), 1e-9)).mean())
            if cosine > best:
                best, found = cosine, np.ascontiguousarray(matrix, np.float32)
    return found


def _through(weights: dict[str, Float32], pair: Pair) -> Pair:
    images, texts = mapped(pair.images, weights, "image"), mapped(pair.texts, weights, "text")
    return replace(pair, images=_unit(images), texts=_unit(texts))


def _unit(rows: Float32) -> Float32:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)


def _write(folder: Path, *, facts: HeadFacts, weights: dict[str, Float32]) -> None:
    require("safetensors.numpy", "tune").save_file(weights, folder / TENSORS)
    facts.write(folder)


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    fingerprint: str


def _card(data: HeadData, shown: dict[str, Any], metrics: dict[str, dict[str, float]], command: str | None) -> Card:
    from ragvlm.registry import entries

    manifest = data.index.manifest
    known = entries("encoders").get(manifest.encoder.partition(":")[0])
    records = [*data.split.train, *data.split.validation, *data.split.test]
    source = _Source(manifest.corpus, manifest.corpus_fingerprint)
    return Card(
        kind="head",
        plug_in="head",
        title=f"{manifest.encoder} with a head that brings pictures and captions of {manifest.corpus} together",
        base={
            "name": manifest.encoder,
            "licence": known.licence if known else None,
            "fingerprint": manifest.encoder_fingerprint,
        },
        data=corpus_facts(source, records, data.split),
        metrics=metrics,
        settings=shown,
        use="ragvlm index CORPUS --out DIR --encoder {folder}",
        limits=LIMITS,
        command=command,
    )


LIMITS = (
    "It is bound to the captions of this corpus: what they never name, its space doesn't tell apart, and pictures of "
    "another kind land anywhere in it.",
    "Its vectors compare with no other encoder's, nor with those of the encoder below: a corpus is indexed anew.",
)
