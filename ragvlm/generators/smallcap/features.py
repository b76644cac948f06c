"""What the frozen image tower of the embedded encoder says of a picture: a grid of cells, and the whole field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.encoders.base import fingerprint
from ragvlm.encoders.embedded import ImageTower
from ragvlm.encoders.onnx_cache import cached_model, open_session
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 3
CELLS = SIDE * SIDE
STAGES = (7, 10, 14)
CELL = 80 + 112 + 192
WHOLE = CELL + 1280 + CELL
_VERSION = 1  # raise it with any change of what is computed


@dataclass(frozen=True, slots=True)
class Seen:
    """Pictures as the tower sees them.

    ``cells``: float32 (n, 9, 384), means of three middle stages over a 3 x 3 grid, row by row. ``whole``: float32
    (n, 2048), the means of the same stages and of the head over the field, then the stages' maxima, which keep what
    is small and rare. All through arcsinh: a stage's numbers have heavy tails.
    """

    cells: Float32
    whole: Float32

    def __len__(self) -> int:
        return len(self.whole)

    def rows(self, chosen: Any) -> Seen:
        """Those of the pictures ``chosen`` (numbers or a slice)."""
        return Seen(self.cells[chosen], self.whole[chosen])


class PictureFeatures:
    """EfficientNet-lite0 (ImageNet), frozen, run by ONNX Runtime; the first use exports it.

    Raises MissingExtraError without ``ragvlm[embedded]``, RagvlmError for weights that aren't the pinned ones.
    """

    def __init__(self, *, batch_size: int = 8) -> None:
        self.tower = ImageTower()
        self.batch_size = batch_size
        self.fingerprint = fingerprint({"tower": asdict(self.tower), "side": SIDE, "stages": STAGES, "v": _VERSION})

    def __call__(self, images: Sequence[Image]) -> Seen:
        """The features of RGB pictures of any size."""
        rows = [np.zeros((0, WHOLE + CELLS * CELL), np.float32)]
        for start in range(0, len(images), self.batch_size):
            pixels = np.stack([self.tower.pixels(image) for image in images[start : start + self.batch_size]])
            rows.append(self._session.run(None, {"pixels": pixels})[0])
        found = np.arcsinh(np.concatenate(rows))
        return Seen(found[:, WHOLE:].reshape(-1, CELLS, CELL), found[:, :WHOLE])

    @cached_property
    def _session(self) -> Any:
        def export() -> bytes:
            from ragvlm.encoders.export import export_grid_tower

            return export_grid_tower(self.tower, STAGES, SIDE)

        return open_session(cached_model("efficientnet-lite0-grid", self.fingerprint, export))
