"""A classifier on a frozen encoder that ``ragvlm tune classifier`` made: a linear probe, or the vectors of a kNN."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.classifiers.calibrate import temper
from ragvlm.classifiers.calibration_file import Calibration, threshold_of
from ragvlm.classifiers.knn import votes
from ragvlm.classifiers.probe import Linear
from ragvlm.encoders import load_encoder
from ragvlm.errors import InputError, RagvlmError, require
from ragvlm.types import Encoder, Float32

if TYPE_CHECKING:
    from PIL.Image import Image

FACTS, TENSORS = "frozen.json", "frozen.safetensors"


def frozen_probabilities(tensors: dict[str, Any], vectors: Float32, labels: int, k: int) -> Float32:
    """float32 (n, labels) of ``vectors``: by "weights", "bias" and "n", or by the votes of "vectors" with "truth"."""
    if "weights" in tensors:
        model = Linear(tensors["weights"], tensors["bias"], int(tensors["n"][0]))
        return model.probabilities(vectors)
    cosines = vectors @ tensors["vectors"].T
    places = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return votes(np.take_along_axis(cosines, places, axis=1), tensors["truth"][places], labels)


class FrozenClassifier:
    """``model`` is the folder; ``encoder_options`` are further options of its encoder (device, ...).

    ``alpha`` asks for prediction sets, by the scores of the part that was tested on. Raises InputError for a folder
    that holds no such classifier, RagvlmError where its encoder is another one now, and what ``load_encoder`` raises.
    """

    name = "frozen"
    rule = "softmax"

    def __init__(
        self, model: str = "", *, alpha: float | None = None, encoder_options: dict[str, Any] | None = None
    ) -> None:
        folder = Path(model).absolute()
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            self.labels = tuple(str(label) for label in facts["labels"])
            self.k, encoder, wanted = int(facts["k"]), str(facts["encoder"]), str(facts["fingerprint"])
            self._tensors = dict(require("safetensors.numpy", "classify").load_file(folder / TENSORS))
            options = {**facts["encoder_options"], **(encoder_options or {})}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder} holds no probe ({FACTS}): give a folder that `ragvlm tune classifier` wrote"
            ) from error
        self.encoder: Encoder = load_encoder(encoder, **options)
        if self.encoder.fingerprint != wanted:
            raise RagvlmError(f"{folder}: its encoder {encoder!r} is another one now: tune it again")
        self.name = f"frozen:{folder}"
        calibration = Calibration.read(folder)
        self.temperature = calibration.temperature if calibration else None
        self.alpha, self.threshold = alpha, threshold_of(calibration, alpha, str(folder))

    @property
    def provenance(self) -> dict[str, Any]:
        """The encoder as JSON types."""
        return {"encoder": {"name": self.encoder.name, "fingerprint": self.encoder.fingerprint}}

    def classify(self, images: Sequence[Image]) -> Float32:
        """Probabilities: float32 (n, len(labels)), rows that add up to 1."""
        rows = frozen_probabilities(self._tensors, self.encoder.encode_images(images), len(self.labels), self.k)
        return rows if self.temperature is None else temper(rows, self.temperature)
