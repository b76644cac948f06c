"""The embedded image tower in int8: static quantisation by ONNX Runtime, its ranges measured on drawn micrographs.

Dynamic quantisation, which suits transformers, makes this convolutional tower seven times slower and its vectors
useless (a mean cosine of 0.75 to float32). Jacob et al., CVPR 2018, arXiv:1712.05877.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.errors import require
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragvlm.encoders.embedded import ImageTower

FLOAT_CONVOLUTIONS = 7  # the first ones stay: few multiplications, and most of the loss
# what int8 means, part of the fingerprint: change it with any change of the quantisation or of the pictures
INT8 = (
    "static QDQ, weights int8 per channel, activations uint8, min-max over 48 drawn micrographs, 7 convolutions float"
)


def quantised(exact: Path, tower: ImageTower) -> bytes:
    """The bytes of an int8 copy of the exported image tower in the file ``exact``.

    Raises MissingExtraError without ``ragvlm[embedded]``.
    """
    onnx = require("onnx", "embedded")
    require("onnxruntime", "embedded")
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as name, quietly():
        plain, made = Path(name) / "plain.onnx", Path(name) / "int8.onnx"
        quant_pre_process(str(exact), str(plain), skip_symbolic_shape=True)
        convolutions = [node.name for node in onnx.load(plain).graph.node if node.op_type == "Conv"]
        quantize_static(
            str(plain),
            str(made),
            _Reader(tower),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=convolutions[:FLOAT_CONVOLUTIONS],
        )
        return made.read_bytes()


class _Reader:
    """Calibration data as ONNX Runtime asks for it."""

    def __init__(self, tower: ImageTower) -> None:
        self._inputs: Iterator[Float32] = (tower.pixels(picture)[None] for picture in micrographs())

    def get_next(self) -> dict[str, Any] | None:
        found = next(self._inputs, None)
        return None if found is None else {"pixels": found}

    def __len__(self) -> int:
        return 48


def micrographs(n: int = 48) -> Iterator[Image]:
    """RGB pictures of 320 x 320 with discs of a few colours, the same on every machine.

    In turn: stained on a light ground, fluorescent on a dark one, grey as a radiograph, grey with fine texture.
    """
    from PIL import Image, ImageDraw, ImageFilter

    for seed in range(n):
        rng = np.random.default_rng(seed)
        kind = seed % 4
        ground = rng.integers(*((200, 256), (0, 30), (20, 160), (90, 170))[kind], 3)
        inks = rng.integers(*((60, 220), (40, 256), (80, 256), (60, 200))[kind], (3, 3))
        picture = Image.new("RGB", (320, 320), tuple(ground.tolist()))
        pen = ImageDraw.Draw(picture)
        for _ in range(int(rng.integers(5, 120))):
            x, y, r = rng.integers(0, 320), rng.integers(0, 320), rng.integers(2, (40, 15, 140, 25)[kind])
            stretch = rng.uniform(0.5, 1.5)
            box = (float(x - r), float(y - r * stretch), float(x + r), float(y + r * stretch))
            pen.ellipse(box, fill=tuple(inks[rng.integers(3)].tolist()))
        soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 4)))), np.float32)
        if kind >= 2:
            soft = soft.mean(axis=2, keepdims=True).repeat(3, axis=2)
        grain = rng.normal(0, rng.uniform(1, (8, 8, 6, 30)[kind]), (320, 320, 1))
        yield Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8))


@contextmanager
def quietly() -> Iterator[None]:
    """Without the quantiser's advice, which no user can follow."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
