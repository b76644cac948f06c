"""The two towers of a dual encoder, exported and run by ONNX Runtime: neither torch nor transformers is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.encoders.base import fingerprint
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
        self._tokens = TokenRule.from_dict(facts["tokens"])

    def image_batch(self, images: Sequence[Image]) -> Float32:
        """float32 (n, dim)."""
        return _run(self._image_session, {"pixel_values": self._pixels.pixels(images)})

    def text_batch(self, texts: Sequence[str]) -> Float32:
        """float32 (n, dim)."""
        return _run(self._text_session, self._tokens.tokens(self._tokenizer, texts))

    @cached_property
    def _image_session(self) -> Any:
        return open_session(self.folder / "image.onnx")

    @cached_property
    def _text_session(self) -> Any:
        return open_session(self.folder / "text.onnx")

    @cached_property
    def _tokenizer(self) -> Any:
        return self._tokens.open(self.folder / "tokenizer.json")


def _run(session: Any, inputs: Mapping[str, Any]) -> Float32:
    # the exporter drops an input that the model doesn't use
    taken = {field.name for field in session.get_inputs()}
    found = session.run(None, {name: value for name, value in inputs.items() if name in taken})[0]
    return np.asarray(found, dtype=np.float32)
