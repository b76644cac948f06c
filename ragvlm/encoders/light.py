"""Preprocessing of dual encoders without transformers: Pillow, numpy and tokenizers; compared with it at export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.errors import RagvlmError, require
from ragvlm.types import Float32, Int64

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class PixelRule:
    """How a picture becomes numbers: resize, centre crop, rescale, normalise, in this order.

    ``resize`` is (height, width), a single number for the shortest edge (the other follows in proportion), or None;
    ``resample`` a ``PIL.Image.Resampling``; ``crop`` (height, width) or None, with zeros around what is too small;
    ``scale`` a factor; ``mean`` and ``std`` one number per channel.
    """

    resize: tuple[int, int] | int | None
    resample: int
    crop: tuple[int, int] | None
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def of_processor(cls, settings: Mapping[str, Any]) -> PixelRule:
        """The rule of an image processor's settings (preprocessor_config.json with its class's defaults filled in).

        Raises RagvlmError for settings that it doesn't know.
        """
        resize = _resize(settings) if settings.get("do_resize") else None
        crop = _square(settings.get("crop_size")) if settings.get("do_center_crop") else None
        if settings.get("do_pad") or (crop is None and not isinstance(resize, tuple)):
            raise RagvlmError("its pictures keep a shape of their own, and not one fixed shape")
        normalise = settings.get("do_normalize")
        return cls(
            resize=resize,
            resample=2 if settings.get("resample") is None else int(settings["resample"]),
            crop=crop,
            scale=float(settings["rescale_factor"]) if settings.get("do_rescale") else 1.0,
            mean=_three(settings["image_mean"]) if normalise else (0.0, 0.0, 0.0),
            std=_three(settings["image_std"]) if normalise else (1.0, 1.0, 1.0),
        )

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> PixelRule:
        """The rule that ``dataclasses.asdict`` and JSON made a mapping of."""
        lists = {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
        return cls(**{**found, **lists})

    @property
    def side(self) -> int | None:
        """Pixels to which at least the shorter side of a picture is brought; None where it stays as it is."""
        return max(self.resize) if isinstance(self.resize, tuple) else self.resize

    def pixels(self, images: Sequence[Image]) -> Float32:
        """float32 (n, 3, height, width) of RGB pictures of any size."""
        # a byte has 256 values: scaled in double precision, as transformers does it, and looked up
        scaled = (np.arange(256, dtype=np.float64) * self.scale).astype(np.float32)
        tables = [(scaled - np.float32(m)) / np.float32(s) for m, s in zip(self.mean, self.std, strict=True)]
        pictures = [self._cut(image) for image in images]
        return np.stack([np.stack([table[p[..., i]] for i, table in enumerate(tables)]) for p in pictures])

    def _cut(self, image: Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
        if self.resize is not None:
            height, width = self.resize if isinstance(self.resize, tuple) else _in_proportion(self.resize, image)
            image = image.resize((width, height), self.resample)
        pixels = np.asarray(image, dtype=np.uint8)
        return _centre(pixels, self.crop) if self.crop else pixels


def input_side(settings: Mapping[str, Any]) -> int | None:
    """``PixelRule.side`` of an image processor's settings; None also where its pictures keep a shape of their own."""
    try:
        return PixelRule.of_processor(settings).side
    except (RagvlmError, KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class TokenRule:
    """How a text becomes token numbers: at most ``length`` of them, padded to the longest of a batch or to all.

    ``inputs`` are the arrays that the model takes: "input_ids", and perhaps "attention_mask" and "token_type_ids".
    """

    length: int
    pad_to_full: bool
    pad_id: int
    pad_token: str
    pad_side: str
    cut_side: str
    inputs: tuple[str, ...]

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> TokenRule:
        """The rule that ``dataclasses.asdict`` and JSON made a mapping of."""
        return cls(**{**found, "inputs": tuple(found["inputs"])})

    def open(self, path: Path) -> Any:
        """The ``tokenizers.Tokenizer`` in a tokenizer.json, set to this rule."""
        tokenizer = require("tokenizers", "onnx").Tokenizer.from_file(str(path))
        tokenizer.enable_truncation(self.length, direction=self.cut_side)
        tokenizer.enable_padding(
            direction=self.pad_side,
            pad_id=self.pad_id,
            pad_token=self.pad_token,
            length=self.length if self.pad_to_full else None,
        )
        return tokenizer

    def tokens(self, tokenizer: Any, texts: Sequence[str]) -> dict[str, Int64]:
        """Name -> int64 (n, tokens) of every input."""
        encoded = tokenizer.encode_batch(list(texts))
        fields = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        return {name: np.array([getattr(e, fields[name]) for e in encoded], dtype=np.int64) for name in self.inputs}


def _resize(settings: Mapping[str, Any]) -> tuple[int, int] | int:
    size = {key: value for key, value in (settings.get("size") or {}).items() if value is not None}
    if set(size) == {"shortest_edge"}:
        return int(size["shortest_edge"])
    return _square(size)


def _square(size: Mapping[str, Any] | None) -> tuple[int, int]:
    found = {key: value for key, value in (size or {}).items() if value is not None}
    if set(found) != {"height", "width"}:
        raise RagvlmError(f"its pictures are brought to a size by a rule of its own ({found})")
    return int(found["height"]), int(found["width"])


def _three(values: float | Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = [values] * 3 if isinstance(values, (int, float)) else values
    return float(red), float(green), float(blue)


def _in_proportion(shortest: int, image: Image) -> tuple[int, int]:
    """(height, width) with the shorter edge of ``shortest`` pixels."""
    width, height = image.size
    if width <= height:
        return int(shortest * height / width), shortest
    return shortest, int(shortest * width / height)


def _centre(pixels: np.ndarray[Any, np.dtype[np.uint8]], size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    height, width = max(size[0], pixels.shape[0]), max(size[1], pixels.shape[1])
    if (height, width) != pixels.shape[:2]:
        # an odd rest goes above and to the left, as transformers has it
        above, left = (height - pixels.shape[0] + 1) // 2, (width - pixels.shape[1] + 1) // 2
        around = ((above, height - pixels.shape[0] - above), (left, width - pixels.shape[1] - left), (0, 0))
        pixels = np.pad(pixels, around)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return pixels[top : top + size[0], left : left + size[1]]
