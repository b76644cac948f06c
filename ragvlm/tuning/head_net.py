"""The torch side of a head: the maps, the two contrastive losses, the pairs with their hard negatives.

Imported inside functions alone: it loads torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as fn

from ragvlm.types import Float32, Int64

FIRST_SCALE = {"infonce": 1 / 0.07, "sigmoid": 10.0}
FIRST_BIAS = -10.0
"""As CLIP and SigLIP begin."""
_MOST = math.log(100.0)


class Tower(nn.Module):  # type: ignore[misc]
    """See ``ragvlm.encoders.head.mapped``. ``first`` (out, in) is what ``linear`` begins with; None: there is none."""

    def __init__(self, dim: int, out: int, hidden: int, first: Float32 | None) -> None:
        super().__init__()
        self.linear = None
        if first is not None:
            self.linear = nn.Linear(dim, out)
            with torch.no_grad():
                self.linear.weight.copy_(torch.from_numpy(first))
                self.linear.bias.zero_()
        self.down = nn.Linear(dim, hidden) if hidden else None
        self.up = nn.Linear(hidden, out, bias=False) if hidden else None
        if self.up is not None:
            nn.init.zeros_(self.up.weight)  # it begins as if it weren't there

    def forward(self, vectors: Any) -> Any:
        out = vectors if self.linear is None else self.linear(vectors)
        if self.down is not None and self.up is not None:
            out = out + self.up(fn.relu(self.down(vectors)))
        return out


class HeadNet(nn.Module):  # type: ignore[misc]
    """Both towers' heads, scale and bias; ``forward`` gives the loss of a batch of pairs.

    ``loss``: "infonce" (van den Oord et al. 2018, arXiv:1807.03748, both ways as in CLIP) or "sigmoid" (Zhai et al.
    2023, arXiv:2303.15343). Pairs whose captions are equal are no negatives of each other.
    """

    def __init__(self, image: Tower, text: Tower, loss: str, dropout: float) -> None:
        super().__init__()
        self.image, self.text, self.loss, self.dropout = image, text, loss, dropout
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE[loss])))
        if loss == "sigmoid":
            self.bias = nn.Parameter(torch.tensor(FIRST_BIAS))

    def forward(self, images: Any, texts: Any, hard: Any, captions: Any, hard_captions: Any) -> dict[str, Any]:
        seen = fn.dropout(images, self.dropout, self.training)
        a, b = (fn.normalize(tower(x), dim=-1) for tower, x in ((self.image, seen), (self.text, texts)))
        scale = self.log_scale.clamp(max=_MOST).exp()
        logits = scale * a @ b.T
        against = scale * torch.einsum("nd,nhd->nh", a, fn.normalize(self.text(hard), dim=-1))
        same, hard_same = captions[:, None] == captions[None, :], hard_captions == captions[:, None]
        if self.loss == "sigmoid":
            return {"loss": self._sigmoid(logits, against, same, hard_same)}
        own = torch.arange(len(a), device=a.device)
        others = same & ~torch.eye(len(a), dtype=torch.bool, device=a.device)
        wide = torch.cat([logits.masked_fill(others, -math.inf), against.masked_fill(hard_same, -math.inf)], dim=1)
        back = logits.T.masked_fill(others, -math.inf)
        return {"loss": (fn.cross_entropy(wide, own) + fn.cross_entropy(back, own)) / 2}

    def _sigmoid(self, logits: Any, against: Any, same: Any, hard_same: Any) -> Any:
        pairs = torch.cat([logits, against], dim=1) + self.bias
        alike = torch.cat([same, hard_same], dim=1)
        return -fn.logsigmoid(torch.where(alike, pairs, -pairs)).sum() / len(logits)

    def numbers(self) -> dict[str, Float32]:
        """The weights of the heads, as head.safetensors holds them."""
        state = {**_named("image", self.image), **_named("text", self.text)}
        return {name: np.ascontiguousarray(tensor.detach().cpu().float().numpy()) for name, tensor in state.items()}

    @property
    def contrast(self) -> tuple[float, float | None]:
        """Scale and bias."""
        bias = float(self.bias.item()) if self.loss == "sigmoid" else None
        return float(self.log_scale.clamp(max=_MOST).exp().item()), bias


class Pairs(torch.utils.data.Dataset):  # type: ignore[misc]
    """Pictures' and captions' vectors, and for each pair ``count`` hard negatives.

    Those are the captions, other than its own, of the pictures that look most like its picture. ``images`` (n, d) and
    ``texts`` (n, t) are unit rows, ``captions`` (n,) numbers equal for equal captions.
    """

    def __init__(self, images: Float32, texts: Float32, captions: Int64, count: int) -> None:
        self.images, self.texts, self.captions = images, texts, captions
        self.hard = hard_negatives(images, captions, count)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> dict[str, Any]:
        hard = self.hard[i]
        return {
            "images": self.images[i], "texts": self.texts[i], "hard": self.texts[hard],
            "captions": self.captions[i], "hard_captions": self.captions[hard],
        }  # fmt: skip


def hard_negatives(images: Float32, captions: Int64, count: int, block: int = 512) -> Int64:
    """int64 (n, min(count, n)): the nearest pictures of each; those with its own caption come last."""
    found = []
    for start in range(0, len(images), block):
        part = slice(start, start + block)
        cosines = images[part] @ images.T
        cosines[captions[part, None] == captions[None, :]] = -2
        found.append(np.argsort(-cosines, axis=1, kind="stable")[:, :count])
    return np.concatenate(found).astype(np.int64)


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The arguments of HeadNet."""
    return {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}


def _named(tower: str, module: Tower) -> dict[str, Any]:
    return {f"{tower}.{name}": tensor for name, tensor in module.state_dict().items()}
