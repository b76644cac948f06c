"""The decoder of PaliGemma's mask codes, which its checkpoints don't hold: 16 codes -> a mask of 64 x 64.

The architecture is that of Google's ``vae-oid`` (big_vision, Apache-2.0; after Ning et al. 2023, arXiv:2301.02229): a
table of 128 vectors, a convolution, two residual blocks, four doublings of the side, and a convolution to one channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.errors import InputError, RagvlmError, require
from ragvlm.regions.loctokens import CODES, CODES_PER_MASK

TABLE = "_vq_vae._embedding"
SIDE = 64
_WIDTH = 128


class MaskDecoder:
    """The decoder with the weights in ``path``: .safetensors, or .npz as Google published them (``vae-oid.npz``).

    Raises InputError for a file that isn't there, of another kind or without such weights, RagvlmError for weights of
    other shapes, MissingExtraError without torch (``ragvlm[vlm]``).
    """

    def __init__(self, path: str | Path) -> None:
        require("torch", "vlm")
        weights = _weights(Path(path))
        try:
            table = np.asarray(weights[TABLE], np.float32)
            self._table, self._net = table, _net(table.shape[1])
            self._net.load_state_dict(_tensors(weights), strict=True)
        except (KeyError, IndexError, RuntimeError) as error:
            line = " ".join(str(error).split())[:200]
            raise RagvlmError(f"{path}: not the weights of PaliGemma's mask decoder ({line})") from error
        if len(table) != CODES:
            raise RagvlmError(f"{path}: a table of {len(table)} codes, PaliGemma has {CODES}")

    def __call__(self, codes: Sequence[int]) -> NDArray[np.float32]:
        """How much each place of the box belongs to the thing: float32 (64, 64) in [0, 1]; from 0.5 on it does.

        ``codes`` are 16 numbers in [0, 128). Raises InputError for others.
        """
        import torch

        if len(codes) != CODES_PER_MASK or not all(0 <= code < CODES for code in codes):
            raise InputError(f"a mask has {CODES_PER_MASK} codes below {CODES}, not {list(codes)}")
        grid = self._table[list(codes)].reshape(1, 4, 4, -1).transpose(0, 3, 1, 2)
        with torch.inference_mode():
            found = self._net(torch.from_numpy(np.ascontiguousarray(grid)))[0, 0].numpy()
        return np.asarray(np.clip(found * 0.5 + 0.5, 0, 1), np.float32)


def _weights(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise InputError(f"mask decoder {path}: no such file; Google's is vae-oid.npz of big_vision's PaliGemma")
    try:
        if path.suffix == ".safetensors":
            return dict(require("safetensors.numpy", "vlm").load_file(path))
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as held:
                return {name: held[name] for name in held.files}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"mask decoder {path}: damaged ({' '.join(str(error).split())[:200]})") from error
    except Exception as error:  # safetensors and zipfile have errors of their own
        raise InputError(f"mask decoder {path}: can't be read ({' '.join(str(error).split())[:200]})") from error
    raise InputError(f"mask decoder {path}: give a .safetensors or .npz file")


def _tensors(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The decoder's part, by torch's own names."""
    import torch

    start = "decoder."
    return {
        name.removeprefix(start): torch.from_numpy(np.array(value, np.float32))
        for name, value in weights.items()
        if name.startswith(start)
    }


def _net(dim: int) -> Any:
    from torch import nn

    class Residual(nn.Module):  # type: ignore[misc]
        """Three convolutions beside the identity."""

        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(
                nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1), nn.ReLU(),
                nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1), nn.ReLU(),
                nn.Conv2d(_WIDTH, _WIDTH, 1),
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            return x + self.net(x)

    layers: list[Any] = [nn.Conv2d(dim, _WIDTH, 1), nn.ReLU(), Residual(), Residual()]
    widths = [_WIDTH, 128, 64, 32, 16]
    for before, after in pairwise(widths):
        layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 1)).eval()
