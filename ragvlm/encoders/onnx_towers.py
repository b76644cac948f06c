"""The two towers of a dual encoder, exported and run by ONNX Runtime: neither torch nor transformers is loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.encoders.base import Item, fingerprint
from ragvlm.encoders.light import PixelRule, TokenRule
from ragvlm.encoders.onnx_cache import open_session
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

TOWERS = ("image", "text")
PRECISIONS = ("fp32", "int8")
# what int8 means, part of the fingerprint: change it with any change of the quantisation
INT8 = "dynamic, weights int8 per channel, activations uint8; MatMul, Gemm, Gather"
_EXPORT_VERSION = 1  # raise it with any change of the exported graphs or facts


def export_key(model: str, digests: Mapping[str, str], precision: str) -> tuple[str, str]:
    """(name, key) in the cache of the export of the checkpoint whose files have ``digests``."""
    slug = re.sub(r"[^\w.-]+", "-", Path(model).name if Path(model).is_absolute() else model)
    parts = {"files": dict(digests), "precision": precision, "export": _EXPORT_VERSION}
    return f"{slug}-{precision}", fingerprint(parts | ({"int8": INT8} if precision == "int8" else {}))


class OnnxTowers:
    """The towers in an export's ``folder`` with its ``facts``; each is opened when it is first asked."""

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder = folder
        self.dim = int(facts["dim"])
        self.logit_scale = float(facts["logit_scale"])
        self.logit_bias: float | None = facts["logit_bias"]
        self._pixels = PixelRule.from_dict(facts["pixels"])
        self.input_size = self._pixels.side
        self._tokens = TokenRule.from_dict(facts["tokens"])
        # int8 scales activations by the extremes of the whole batch: a vector must not depend on its neighbours
        self._step = 1 if facts["precision"] == "int8" else None
        self._image, self._text = (_Tower(folder / f"{tower}.onnx") for tower in TOWERS)

    def image_batch(self, images: Sequence[Image]) -> Float32:
        """float32 (n, dim)."""
        return self.input_batch([self.image_input(image) for image in images])

    def image_input(self, image: Image) -> Float32:
        """float32 (3, height, width)."""
        pixels: Float32 = self._pixels.pixels([image])[0]
        return pixels

    def input_batch(self, inputs: Sequence[Float32]) -> Float32:
        """float32 (n, dim)."""
        return self._stepwise(inputs, lambda part: self._image.run({"pixel_values": np.stack(part)}))

    def text_batch(self, texts: Sequence[str]) -> Float32:
        """float32 (n, dim)."""
        return self._stepwise(texts, lambda part: self._text.run(self._tokens.tokens(self._tokenizer, part)))

    def _stepwise(self, items: Sequence[Item], run: Callable[[Sequence[Item]], Float32]) -> Float32:
        step = self._step or len(items)
        return np.concatenate([run(items[start : start + step]) for start in range(0, len(items), step)])

    @cached_property
    def _tokenizer(self) -> Any:
        return self._tokens.open(self.folder / "tokenizer.json")


class _Tower:
    """One tower, opened at its first batch.

    That batch runs on the weights as they lie in the file: to arrange them for speed costs more than a batch, and a
    query has no second one. The vectors are the same but for float rounding.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = False

    def run(self, inputs: Mapping[str, Any]) -> Float32:
        session = self._arranged if self._opened else open_session(self._path, arrange=False)
        self._opened = True
        # the exporter drops an input that the model doesn't use
        taken = {field.name for field in session.get_inputs()}
        found = session.run(None, {name: value for name, value in inputs.items() if name in taken})[0]
        return np.asarray(found, dtype=np.float32)

    @cached_property
    def _arranged(self) -> Any:
        return open_session(self._path)
