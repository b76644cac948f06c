"""An encoder with a head that was learned on one corpus (``ragvlm tune head``), in numpy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.encoders.base import BaseEncoder, fingerprint
from ragvlm.encoders.contrast import ContrastiveEncoder
from ragvlm.errors import InputError, RagvlmError, require
from ragvlm.paths import sha256_file
from ragvlm.types import Encoder, Float32

if TYPE_CHECKING:
    from PIL.Image import Image

FACTS, TENSORS = "head.json", "head.safetensors"
FORMS = ("map", "adapter")


@dataclass(frozen=True, slots=True)
class HeadFacts:
    """What head.json says.

    ``base`` with ``base_options`` and ``base_fingerprint`` is the encoder below. ``form``: "map" takes pictures into
    the space of the words, "adapter" shifts both towers of a shared space. ``scale`` and ``bias`` (None by InfoNCE)
    make probabilities of cosines.
    """

    base: str
    base_fingerprint: str
    base_options: dict[str, Any]
    form: str
    scale: float
    bias: float | None = None

    @classmethod
    def read(cls, folder: Path) -> HeadFacts:
        """Raises InputError where ``folder`` holds no head."""
        try:
            table = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            return cls(**{field.name: table[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder} holds no head ({FACTS}): give the folder that `ragvlm tune head` wrote"
            ) from error

    def write(self, folder: Path) -> None:
        """Into ``folder``."""
        (folder / FACTS).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def mapped(vectors: Float32, weights: dict[str, Float32], tower: str) -> Float32:
    """float32 (n, out), not of length 1: ``vectors`` (n, in) through the head of one ``tower``.

    A v + b (v itself where there is no A) plus a hidden layer C relu(D v + e), where there is one.
    """
    linear, hidden = weights.get(f"{tower}.linear.weight"), weights.get(f"{tower}.down.weight")
    out = vectors if linear is None else vectors @ linear.T + weights[f"{tower}.linear.bias"]
    if hidden is not None:
        inner = np.maximum(vectors @ hidden.T + weights[f"{tower}.down.bias"], 0)
        out = out + inner @ weights[f"{tower}.up.weight"].T
    return np.asarray(out, np.float32)


class HeadEncoder(ContrastiveEncoder):
    """The encoder below, its vectors taken through a learned head; pictures and words then share a space.

    ``model`` is the folder that ``ragvlm tune head`` wrote; ``base_options`` are further options of the encoder below
    (device, trust_remote_code). The fingerprint changes with the head's weights and with those below.

    Raises InputError for a folder without a head, RagvlmError where the encoder below is another one now or the weights
    don't fit it, and what ``load_encoder`` raises.
    """

    shared_space = True

    def __init__(self, model: str = "", *, batch_size: int = 16, base_options: dict[str, Any] | None = None) -> None:
        super().__init__(batch_size=batch_size)
        from ragvlm.encoders import load_encoder

        folder = Path(model).absolute()
        self.facts = HeadFacts.read(folder)
        self.base: Encoder = load_encoder(self.facts.base, **{**self.facts.base_options, **(base_options or {})})
        if self.base.fingerprint != self.facts.base_fingerprint:
            raise RagvlmError(
                f"{folder}: its head was learned on encoder {self.facts.base!r} ({self.facts.base_fingerprint[:12]}), "
                f"which is another one now ({self.base.fingerprint[:12]}): learn it again"
            )
        try:
            self.weights = dict(require("safetensors.numpy", "embedded").load_file(folder / TENSORS))
            probe = mapped(np.zeros((1, self.base.image_dim), np.float32), self.weights, "image")
        except (OSError, ValueError, KeyError) as error:
            raise RagvlmError(f"{folder / TENSORS} can't be read or doesn't fit ({error}): learn it again") from error
        self.name = f"head:{folder}"
        self.image_dim, self.text_dim = probe.shape[1], self.base.text_dim
        if self.image_dim != self.text_dim:
            raise RagvlmError(f"{folder / TENSORS} doesn't fit {self.facts.base!r}: learn it again")
        self.input_size = getattr(self.base, "input_size", None)
        self._set_scale(self.facts.scale, self.facts.bias)
        self.fingerprint = fingerprint(
            {"base": self.base.fingerprint, "head": sha256_file(folder / TENSORS), "facts": asdict(self.facts)}
        )

    def image_batch(self, images: Sequence[Image]) -> Float32:
        """float32 (n, image_dim)."""
        return mapped(self.base.encode_images(images), self.weights, "image")

    def image_input(self, image: Image) -> Any:
        """As of the encoder below."""
        return self.base.image_input(image) if isinstance(self.base, BaseEncoder) else image

    def input_batch(self, inputs: Sequence[Any]) -> Float32:
        """As ``image_batch``."""
        if isinstance(self.base, BaseEncoder):
            return mapped(self.base.encode_inputs(inputs), self.weights, "image")
        return self.image_batch(inputs)

    def text_batch(self, texts: Sequence[str]) -> Float32:
        """float32 (n, text_dim)."""
        return mapped(self.base.encode_texts(texts), self.weights, "text")
