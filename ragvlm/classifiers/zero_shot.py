"""Zero-shot classification: a picture is compared with words for each label, in the one space of a dual encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from ragvlm.encoders import load_encoder
from ragvlm.encoders.contrast import probabilities
from ragvlm.errors import InputError
from ragvlm.labelsets import LabelSet, as_label_set, shipped
from ragvlm.types import Encoder, Float32

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from ragvlm.encoders.contrast import ContrastiveEncoder

DEFAULT_ENCODER = "biomedclip"
CHOICES = (DEFAULT_ENCODER, "medsiglip", "pubmedclip", "clip")  # names of encoders with a shared space
Rule: TypeAlias = Literal["softmax", "sigmoid"]


class ZeroShotClassifier:
    """Any labels, by an encoder whose pictures and words share a space.

    ``labels`` are words, a file, the name of a label set or a LabelSet: see ``ragvlm.labelsets``. ``encoder`` is a
    name, loaded with ``encoder_options``, or an Encoder. ``templates`` are sentences with {label} in them; by default
    those of the label set, else the words alone. Every phrase of a label goes through every template; the label's
    vector is the mean of their unit vectors, of length 1 again (prompt ensemble; Radford et al., ICML 2021,
    arXiv:2103.00020).

    The cosines become probabilities by the encoder's own rule (CLIP: softmax; SigLIP: a sigmoid for each label), or by
    ``rule``: "softmax", for which any such encoder has the scale, or "sigmoid", for which it needs a learnt bias.

    Raises InputError for labels, templates or a rule that can't be, and for an encoder without a shared space or scale;
    and what ``load_encoder`` raises.
    """

    name = "zero-shot"

    def __init__(
        self,
        labels: str | Path | Sequence[str] | LabelSet = (),
        *,
        encoder: str | Encoder = DEFAULT_ENCODER,
        encoder_options: Mapping[str, Any] | None = None,
        templates: str | Sequence[str] | None = None,
        rule: str | None = None,
    ) -> None:
        self.label_set = as_label_set(labels, templates)
        self.labels = self.label_set.names
        if rule not in (None, "softmax", "sigmoid"):
            raise InputError(f"rule {rule!r}: give softmax, sigmoid, or none for the encoder's own")
        self.encoder = load_encoder(encoder, **encoder_options or {}) if isinstance(encoder, str) else encoder
        self.rule = _checked_rule(self.encoder, rule)
        if self.rule == "softmax" and len(self.labels) < 2:
            raise InputError(
                f"one label, {self.labels[0]!r}, has probability 1 by softmax whatever the picture shows: give two "
                f"or more, a .toml or .txt file, or a label set ({', '.join(shipped())})"
            )
        self._anchors = self._ensemble()

    @property
    def provenance(self) -> dict[str, Any]:
        """Encoder, templates and label set as JSON types."""
        return {
            "encoder": {"name": self.encoder.name, "fingerprint": self.encoder.fingerprint},
            "templates": list(self.label_set.templates),
            "label_set": self.label_set.name,
        }

    def classify(self, images: Sequence[Image]) -> Float32:
        """Probabilities: float32 (n, len(labels)), in [0, 1]; (0, len(labels)) for an empty list."""
        return self.of_vectors(self.encoder.encode_images(images))

    def of_vectors(self, vectors: Float32) -> Float32:
        """As ``classify``, of the encoder's vectors of pictures: float32 (n, image_dim), unit rows."""
        cosines = vectors @ self._anchors.T
        encoder = cast("ContrastiveEncoder", self.encoder)
        if self.rule == encoder.probability_rule:
            return encoder.similarity_to_probabilities(cosines)
        return probabilities(cosines * encoder.logit_scale, self.rule)  # a bias is the same for all labels

    def _ensemble(self) -> Float32:
        """The labels' vectors: float32 (len(labels), dim), unit rows."""
        prompts = self.label_set.prompts
        vectors = self.encoder.encode_texts([text for texts in prompts for text in texts])
        ends = np.cumsum([len(texts) for texts in prompts])[:-1]
        means = np.stack([part.mean(axis=0) for part in np.split(vectors, ends)])
        length = np.linalg.norm(means, axis=1, keepdims=True)
        return np.asarray(means / np.maximum(length, 1e-12), dtype=np.float32)


def _checked_rule(encoder: Encoder, rule: str | None) -> Rule:
    if not encoder.shared_space:
        raise InputError(
            f"encoder {encoder.name!r} has no common space for pictures and words, so it can't compare a picture with "
            f"labels: choose one that has, such as {', '.join(CHOICES)}, or --method knn or probe with an index whose "
            "records are labelled"
        )
    own = getattr(encoder, "probability_rule", None)
    if own is None:
        raise InputError(
            f"encoder {encoder.name!r} has no rule that makes probabilities of cosines (probability_rule): "
            f"choose one that has, such as {', '.join(CHOICES)}"
        )
    if rule == "sigmoid" != own:
        raise InputError(
            f"rule 'sigmoid' needs a learnt bias, which encoder {encoder.name!r} hasn't: give softmax or no rule"
        )
    return cast("Rule", rule or own)
