"""Any checkpoint of transformers that was trained to classify pictures: ViT, ResNet, DINOv2, Swin, ConvNeXt, ..."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ragvlm.classifiers.calibrate import temper
from ragvlm.classifiers.calibration_file import Calibration, threshold_of
from ragvlm.encoders.base import check_images
from ragvlm.encoders.contrast import probabilities
from ragvlm.encoders.image_checkpoint import ImageCheckpoint
from ragvlm.errors import InputError, RagvlmError
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageClassifier:
    """A picture classifier with its own labels (``id2label``) and preprocessing.

    A folder that ``ragvlm tune classifier`` wrote brings a temperature and, for ``alpha``, the scores of its test part.
    ``rule`` is "sigmoid" where the checkpoint's problem_type is multi_label_classification, else "softmax". The other
    options are those of TransformersEncoder. Dosovitskiy et al., ICLR 2021, arXiv:2010.11929; He et al., CVPR 2016,
    doi 10.1109/CVPR.2016.90.

    Raises what ImageCheckpoint raises, RagvlmError for a checkpoint without a trained head, and InputError for one
    that was trained for regression.
    """

    fetch = ImageCheckpoint.fetch

    def __init__(
        self,
        model: str = "",
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 16,
        trust_remote_code: bool = False,
        alpha: float | None = None,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: give 1 or more")
        self.batch_size = batch_size
        self._eyes = ImageCheckpoint(
            model,
            revision,
            maker="AutoModelForImageClassification",
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
        )
        self.device, self.dtype = self._eyes.device, self._eyes.dtype
        self.name = f"image-classifier:{self._eyes.name}"
        config = self._eyes.net.config
        self.rule = _rule(config, self._eyes.model)
        if self._eyes.missing:
            raise RagvlmError(
                f"{self._eyes.model} can't classify: {len(self._eyes.missing)} weights are missing, the first is "
                f"{self._eyes.missing[0]!r}: give a checkpoint that was trained to classify"
            )
        self.labels = tuple(str(config.id2label[i]) for i in range(config.num_labels))
        calibration = Calibration.read(Path(self._eyes.model)) if self.rule == "softmax" else None
        self.temperature = calibration.temperature if calibration else None
        self.alpha, self.threshold = alpha, threshold_of(calibration, alpha, self._eyes.model)

    def classify(self, images: Sequence[Image]) -> Float32:
        """Probabilities: float32 (n, len(labels)), in [0, 1]; (0, len(labels)) for an empty list.

        ``images`` are RGB pictures of any size. Raises InputError for anything else, naming its position.
        """
        check_images(images, "classify")
        out = np.empty((len(images), len(self.labels)), dtype=np.float32)
        for start in range(0, len(images), self.batch_size):
            part = images[start : start + self.batch_size]
            logits = self._eyes.run(part).logits.float().cpu().numpy()
            if not np.isfinite(logits).all():
                raise RagvlmError(f"classifier {self.name!r} gave numbers that aren't finite: give dtype float32")
            out[start : start + len(part)] = probabilities(logits, self.rule)
        return out if self.temperature is None else temper(out, self.temperature)


def _rule(config: Any, model: str) -> Literal["softmax", "sigmoid"]:
    if config.problem_type == "regression":
        raise InputError(f"{model} was trained for regression, which gives no probabilities: choose a classifier")
    return "sigmoid" if config.problem_type == "multi_label_classification" else "softmax"
