"""What every encoder shares: batches, checks and unit rows. A plug-in writes ``image_batch`` and ``text_batch``."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ragvlm.errors import InputError, RagvlmError
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

Item = TypeVar("Item")


class BaseEncoder(ABC):
    """The parent of encoders. A subclass sets the five attributes and writes the two batch methods.

    What it does to a picture before the model it may leave to others' threads: ``image_input`` and ``input_batch``, of
    which ``image_batch`` then is one after the other. ``input_size`` is the side in pixels to which pictures are shrunk
    (None: not known): large JPEGs are decoded at no more than a small multiple of it.

    ``batch_size`` is how many pictures or texts go through the model at once (memory against speed; the
    vectors don't depend on it beyond float rounding, about 1e-6).
    """

    name: str
    fingerprint: str
    image_dim: int
    text_dim: int
    shared_space: bool
    input_size: int | None = None

    def __init__(self, *, batch_size: int = 16) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: give 1 or more")
        self.batch_size = batch_size

    @property
    def options(self) -> Mapping[str, str | int | float | bool]:
        """What ``load_encoder`` must be given beside ``name`` for vectors with this fingerprint; an index keeps it.

        A subclass names what changes its vectors (a number type), never what the machine decides (the device).
        """
        return {}

    @abstractmethod
    def image_batch(self, images: Sequence[Image]) -> Float32:
        """Vectors of at most ``batch_size`` RGB pictures: float (n, image_dim), of any length."""

    @abstractmethod
    def text_batch(self, texts: Sequence[str]) -> Float32:
        """Vectors of at most ``batch_size`` texts: float (n, text_dim), of any length."""

    def image_input(self, image: Image) -> Any:
        """What the image tower takes of one RGB picture; several threads may call it at once."""
        return image

    def input_batch(self, inputs: Sequence[Any]) -> Float32:
        """Vectors of at most ``batch_size`` results of ``image_input``: as of ``image_batch``."""
        return self.image_batch(inputs)

    def encode_images(self, images: Sequence[Image]) -> Float32:
        """float32 (n, image_dim), unit rows, in the order of ``images``; (0, image_dim) for an empty list.

        ``images`` are RGB pictures of any size. Raises InputError for anything else, naming its position.
        """
        check_images(images, "encode_images")
        return self._encode(images, self.image_batch, self.image_dim)

    def encode_inputs(self, inputs: Sequence[Any]) -> Float32:
        """What ``encode_images`` gives of pictures, of their ``image_input``."""
        return self._encode(inputs, self.input_batch, self.image_dim)

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """float32 (n, text_dim), unit rows, in the order of ``texts``; (0, text_dim) for an empty list.

        Raises InputError for an empty text and for anything that isn't a text, naming its position.
        """
        _check_texts(texts)
        # texts of like length share a batch, so that little time goes into padding
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = self._encode([texts[i] for i in order], self.text_batch, self.text_dim)
        return vectors[np.argsort(order)] if order else vectors

    def _encode(self, items: Sequence[Item], batch: Callable[[Sequence[Item]], Float32], dim: int) -> Float32:
        out = np.empty((len(items), dim), dtype=np.float32)
        for start in range(0, len(items), self.batch_size):
            part = items[start : start + self.batch_size]
            out[start : start + len(part)] = self._unit(batch(part), (len(part), dim))
        return out

    def _unit(self, vectors: Float32, shape: tuple[int, int]) -> Float32:
        if vectors.shape != shape:
            raise RagvlmError(f"encoder {self.name!r} gave vectors of shape {vectors.shape}, not {shape}")
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(length) & (length > 0)).all():
            raise RagvlmError(f"encoder {self.name!r} gave a vector that is zero or not finite")
        return np.asarray(vectors / length, dtype=np.float32)


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Hex SHA-256 of ``parts`` (weights, preprocessing, tokenizer, pooling; plain JSON values) in sorted order."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check_images(images: Sequence[Image], method: str) -> None:
    """Raise InputError, naming the position, for what is no RGB picture with pixels; ``method`` is what was called."""
    from PIL.Image import Image

    if isinstance(images, (str, Image)):
        raise InputError(f"{method} takes a list of pictures: put the one picture in a list")
    for position, image in enumerate(images):
        if not isinstance(image, Image):
            raise InputError(f"picture {position} is a {type(image).__name__}: open it with ragvlm.images first")
        if image.mode != "RGB":
            raise InputError(f"picture {position} has mode {image.mode!r}, not RGB: open it with ragvlm.images")
        if 0 in image.size:
            raise InputError(f"picture {position} has no pixels ({image.width} x {image.height})")


def _check_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise InputError("encode_texts takes a list of texts: put the one text in a list")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"text {position} is a {type(text).__name__}, not a string")
        if not text.strip():
            raise InputError(f"text {position} is empty: leave it out, an empty text means nothing")
