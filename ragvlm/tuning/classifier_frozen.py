"""Linear probe and kNN on the frozen vectors of any encoder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.classifiers.calibrate import log_loss
from ragvlm.classifiers.frozen import FACTS, TENSORS, frozen_probabilities
from ragvlm.classifiers.probe import STRENGTHS, fit_linear
from ragvlm.errors import require
from ragvlm.tuning.fit import FitResult, Progress
from ragvlm.tuning.folder import Work
from ragvlm.tuning.picture_items import Example
from ragvlm.types import Encoder, Float32

if TYPE_CHECKING:
    from ragvlm.tuning.classifier import ClassifierData

PROBES = ("linear", "knn")
DEPTH = 10
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Frozen:
    """``rows``: probabilities of the validation and the test part; ``write`` puts the classifier into a folder."""

    fitted: FitResult
    rows: tuple[Float32, Float32]
    write: Callable[[Path], None]


def learn_frozen(
    encoder: str, data: ClassifierData, work: Work, way: str, k: int, seed: int, progress: Progress | None
) -> Frozen:
    """Encode all parts (kept for a call after a kill), then fit; the validation part chooses the strength."""
    from ragvlm.encoders import load_encoder

    began = time.monotonic()
    model = load_encoder(encoder)
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    vectors = {part: _encoded(model, data, work, part, examples, progress) for part, examples in parts.items()}
    place = {name: at for at, name in enumerate(data.classes)}
    truth = np.array([place[example.label] for example in data.train], np.int64)
    count = len(data.classes)
    known = [at for at, example in enumerate(data.validation) if example.label in place]
    right = np.array([place[data.validation[at].label] for at in known], np.int64)
    losses: dict[float, float] = {}
    tensors: dict[str, Any]
    if way == "linear":
        models = {strength: fit_linear(vectors["train"], truth, count, strength) for strength in STRENGTHS}
        losses = {c: log_loss(m.probabilities(vectors["validation"])[known], right) for c, m in models.items()}
        best = models[min(losses, key=lambda c: losses[c])]
        tensors = {"weights": best.weights, "bias": best.bias, "n": np.array([best.n], np.int64)}
    else:
        tensors = {"vectors": vectors["train"], "truth": truth}
    rows = (
        frozen_probabilities(tensors, vectors["validation"], count, k),
        frozen_probabilities(tensors, vectors["test"], count, k),
    )
    loss = log_loss(rows[0][known], right)
    size = tensors["weights"].size if losses else 0
    tried = enumerate(losses.values(), 1)
    fitted = FitResult(
        steps=max(len(losses), 1), epochs=1.0, best_step=1, metric="log loss", best=round(loss, 6), stopped_early=False,
        seconds=round(time.monotonic() - began, 1), resumed=0, trained=size, parameters=size, device="cpu",
        precision="float32", note="A step of the curve is one strength of regularisation" if losses else "",
        history=tuple({"step": float(at), "epoch": 1.0, "loss": value, "eval_loss": value} for at, value in tried),
    )  # fmt: skip
    facts = {
        "labels": list(data.classes), "k": k, "encoder": model.name, "fingerprint": model.fingerprint,
        "encoder_options": dict(getattr(model, "options", {})),
    }  # fmt: skip
    return Frozen(fitted, rows, partial(_write, tensors=tensors, facts=facts))


def _encoded(
    model: Encoder, data: ClassifierData, work: Work, part: str, examples: Sequence[Example], progress: Progress | None
) -> Float32:
    from ragvlm.images import open_image

    kept = work.place / f"{part}.npy"
    if kept.is_file():
        return np.asarray(np.load(kept, allow_pickle=False), np.float32)
    rows = np.zeros((len(examples), model.image_dim), np.float32)
    bar: Any = progress(f"Encoding ({part})") if progress else nullcontext(lambda *_: None)
    with bar as update:
        for start in range(0, len(examples), _BATCH):
            batch = examples[start : start + _BATCH]
            pictures = [open_image(data.corpus.image_path(example.record)) for example in batch]
            rows[start : start + len(batch)] = model.encode_images(pictures)
            update(start + len(batch), len(examples))
    made = work.place / f".{part}.npy"
    np.save(made, rows, allow_pickle=False)
    made.rename(kept)
    return rows


def _write(folder: Path, *, tensors: dict[str, Any], facts: dict[str, Any]) -> None:
    plain = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    safetensors: Any = require("safetensors.numpy", "tune")
    safetensors.save_file(plain, folder / TENSORS)
    (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
