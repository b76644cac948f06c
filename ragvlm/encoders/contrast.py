"""What dual encoders that were trained by contrast share: cosines become the model's own probabilities."""

from __future__ import annotations

from abc import ABC
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ragvlm.encoders.base import BaseEncoder
from ragvlm.types import Float32


class ContrastiveEncoder(BaseEncoder, ABC):
    """A BaseEncoder with one space for both towers and a learnt scale, and perhaps a bias, for its cosines.

    ``logit_scale`` (a factor, above 0), ``logit_bias`` (None where the model has none, as CLIP) and
    ``probability_rule`` ("softmax" without a bias, "sigmoid" with one) are set by ``_set_contrast``.
    """

    logit_scale: float
    logit_bias: float | None
    probability_rule: Literal["softmax", "sigmoid"]

    def _set_contrast(self, log_scale: Any, bias: Any) -> None:
        """Take the learnt tensors of one element: the natural logarithm of the scale, and the bias or None."""
        self._set_scale(*learnt_numbers(log_scale, bias))

    def _set_scale(self, scale: float, bias: float | None) -> None:
        """Take the numbers themselves: the factor, above 0, and the bias or None."""
        self.logit_scale, self.logit_bias = scale, bias
        self.probability_rule = "softmax" if bias is None else "sigmoid"

    def similarity_to_probabilities(self, scores: Float32) -> Float32:
        """float32 like ``scores``, in [0, 1]: the model's own rule for cosines (n pictures, m texts).

        CLIP: softmax over the texts of logit_scale * cosine, so that a row adds up to 1. SigLIP: sigmoid of
        logit_scale * cosine + logit_bias, each pair by itself, so that a row may add up to anything.
        """
        logits = np.asarray(scores, dtype=np.float64) * self.logit_scale + (self.logit_bias or 0.0)
        return probabilities(logits, self.probability_rule)


def learnt_numbers(log_scale: Any, bias: Any) -> tuple[float, float | None]:
    """(scale, bias) of a model's tensors of one element: the scale's natural logarithm, and the bias or None."""
    return log_scale.detach().float().exp().item(), None if bias is None else bias.detach().float().item()


def probabilities(logits: NDArray[Any], rule: Literal["softmax", "sigmoid"]) -> Float32:
    """float32 like ``logits`` (n, m), in [0, 1]: softmax over each row, or a sigmoid for each number by itself."""
    values = np.asarray(logits, dtype=np.float64)
    if rule == "sigmoid":
        # written with tanh, which doesn't overflow
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)), dtype=np.float32)
    weights = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), dtype=np.float32)
