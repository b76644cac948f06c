"""Which answers of the training part are likely: a small perceptron on the question's vector and the picture's."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ragvlm.errors import require
from ragvlm.types import Float32

SHOWN = 3
"""How many of the likeliest the decoder is told."""
PICTURE = 4
"""Principal components of the picture's features: more let a few hundred pictures be learnt by heart."""
UNITS = 256
EPOCHS = 30
DECAY = 0.03


@dataclass(frozen=True, slots=True)
class Answers:
    """``vocabulary`` holds the answers as they were first written; ``layers`` are (weights, bias) of a perceptron with
    rectified units over [question, picture]; ``mean``, ``scale`` and ``axes`` reduce the picture's features."""

    vocabulary: tuple[str, ...] = field(repr=False)
    layers: tuple[tuple[Float32, Float32], ...] = field(repr=False)
    mean: Float32 = field(repr=False)
    scale: Float32 = field(repr=False)
    axes: Float32 = field(repr=False)

    def logprobs(self, questions: Float32, whole: Float32) -> Float32:
        """float32 (n, answers) of unit vectors of questions (n, 384) and the pictures' features (n, d)."""
        states = np.hstack([questions, ((whole - self.mean) / self.scale) @ self.axes])
        for i, (weights, bias) in enumerate(self.layers):
            states = states @ weights + bias
            if i + 1 < len(self.layers):
                states = np.maximum(states, 0)
        states = states - states.max(1, keepdims=True)
        found: Float32 = states - np.log(np.exp(states).sum(1, keepdims=True))
        return found

    def tensors(self) -> dict[str, Float32]:
        """What ``of`` makes the same again from, with ``facts``."""
        layers = {f"{i}.{name}": t for i, pair in enumerate(self.layers) for name, t in zip("wb", pair, strict=True)}
        return {"mean": self.mean, "scale": self.scale, "axes": self.axes, **layers}

    def facts(self) -> dict[str, Any]:
        """The vocabulary, as JSON types."""
        return {"vocabulary": list(self.vocabulary), "layers": len(self.layers)}

    @classmethod
    def of(cls, facts: Mapping[str, Any], tensors: Mapping[str, Float32]) -> Answers:
        """Raises KeyError where a tensor is absent."""
        layers = tuple((tensors[f"{i}.w"], tensors[f"{i}.b"]) for i in range(facts["layers"]))
        return cls(tuple(facts["vocabulary"]), layers, tensors["mean"], tensors["scale"], tensors["axes"])


def fit_answers(questions: Float32, whole: Float32, answers: Sequence[str], *, seed: int = 0) -> Answers | None:
    """A perceptron that names the answer; None where all answers are one.

    Answers that differ in case alone are one. Trained by scikit-learn's MLPClassifier (Adam, EPOCHS epochs, weight
    decay DECAY). Raises MissingExtraError without it.
    """
    written: dict[str, str] = {}
    for answer in answers:
        written.setdefault(answer.lower(), answer)
    if len(written) < 2:
        return None
    # the commonest way of writing an answer, the first of equals
    usual = {key: Counter(a for a in answers if a.lower() == key).most_common(1)[0][0] for key in written}
    mean, scale = whole.mean(0), np.maximum(whole.std(0), np.float32(1e-3))
    pca = require("sklearn.decomposition", "tune").PCA(min(PICTURE, *whole.shape), random_state=seed, whiten=True)
    standard = (whole - mean) / scale
    pca.fit(standard)
    axes = np.asarray(pca.components_.T / np.sqrt(pca.explained_variance_ + 1e-6), np.float32)
    # whitened components have length 1 each, the question's vector as a whole
    axes = axes / np.float32(np.sqrt(axes.shape[1]))
    net = require("sklearn.neural_network", "tune").MLPClassifier(
        (UNITS,),
        alpha=DECAY,
        max_iter=EPOCHS,
        random_state=seed,
        batch_size=min(32, len(answers)),
        n_iter_no_change=EPOCHS,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is stopped before it converges, lest it learn by heart
        net.fit(np.hstack([questions, standard @ axes]), [answer.lower() for answer in answers])
    layers = [
        (np.asarray(w, np.float32), np.asarray(b, np.float32)) for w, b in zip(net.coefs_, net.intercepts_, strict=True)
    ]
    vocabulary = [usual[key] for key in net.classes_]
    if len(vocabulary) == 2:  # scikit-learn has one output then
        weights, bias = layers[-1]
        layers[-1] = np.hstack([np.zeros_like(weights), weights]), np.append(np.float32(0), bias)
    return Answers(tuple(vocabulary), tuple(layers), mean, scale, axes)
