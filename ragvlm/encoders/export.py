"""The torch side of the embedded encoder: read the weights, write ONNX, and prove that both say the same."""

from __future__ import annotations

import io
import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.encoders.torch_tools import import_package
from ragvlm.errors import RagvlmError, require
from ragvlm.types import Int64

if TYPE_CHECKING:
    from ragvlm.encoders.embedded import ImageTower, TextTower

_OPSET = 17
AGREEMENT = 0.9999  # least cosine of ONNX Runtime's vector with torch's


def load_image_net(tower: ImageTower) -> Any:
    """The tower as a torch module in evaluation mode; ``stages(pixels)`` gives the blocks' maps and the head's.

    Raises MissingExtraError for an absent package, RagvlmError for weights that aren't the pinned ones.
    """
    require("torch", "embedded")
    import torch

    efficientnet = require("efficientnet_lite_pytorch", "embedded").EfficientNet
    weights = torch.load(tower.weights.verified(), map_location="cpu", weights_only=True)

    class Staged(efficientnet):  # type: ignore[misc, valid-type]
        def stages(self, pixels: Any) -> tuple[list[Any], Any]:
            x, found = self._swish(self._bn0(self._conv_stem(pixels))), []
            for block in self._blocks:
                x = block(x)
                found.append(x)
            return found, self._swish(self._bn1(self._conv_head(x)))

    net = Staged.from_name("efficientnet-lite0", image_size=tower.size)
    net.load_state_dict(weights)
    return net.eval()


def export_image_tower(tower: ImageTower) -> bytes:
    """The bytes of an ONNX model: "pixels" float32 (n, 3, size, size) -> "vector" float32 (n, dim).

    Raises MissingExtraError for an absent package, RagvlmError for weights that aren't the pinned ones, for an
    export that fails, and for one that disagrees with torch.
    """
    require("torch", "embedded")
    import torch

    class Pooled(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = load_image_net(tower)

        def forward(self, pixels: Any) -> Any:
            stages, head = self.net.stages(pixels)
            pooled = ((head if i < 0 else stages[i]).mean((2, 3)) for i in tower.stages)
            return torch.cat([torch.nn.functional.normalize(part, dim=1) for part in pooled], dim=1)

    random = np.random.default_rng(0)
    shapes = [(n, 3, tower.size, tower.size) for n in (1, 3)]
    samples = [{"pixels": torch.from_numpy(random.uniform(-1, 1, s).astype(np.float32))} for s in shapes]
    return _export(Pooled(), samples, {"pixels": {0: "n"}})


def export_grid_tower(tower: ImageTower, stages: tuple[int, ...], side: int) -> bytes:
    """The bytes of an ONNX model: "pixels" as above -> "vector" float32 (n, d).

    First the means of the ``stages`` and of the head over the field, then the stages' maxima, then the stages' means
    over ``side`` x ``side`` cells, row by row, all stages of one cell side by side. Raises what ``export_image_tower``
    raises.
    """
    require("torch", "embedded")
    import torch

    class Grid(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = load_image_net(tower)

        def forward(self, pixels: Any) -> Any:
            maps, head = self.net.stages(pixels)
            chosen = [maps[i] for i in stages]
            parts = [x.mean((2, 3)) for x in (*chosen, head)] + [x.amax((2, 3)) for x in chosen]
            cells = torch.cat([x.flatten(2).transpose(1, 2) for x in (_cells(x, side) for x in chosen)], 2)
            return torch.cat([*parts, cells.flatten(1)], 1)

    random = np.random.default_rng(0)
    shapes = [(n, 3, tower.size, tower.size) for n in (1, 2)]
    samples = [{"pixels": torch.from_numpy(random.uniform(-1, 1, s).astype(np.float32))} for s in shapes]
    return _export(Grid(), samples, {"pixels": {0: "n"}})


def _cells(x: Any, side: int) -> Any:
    """Means over cells that overlap by a row where the map can't be cut evenly, as adaptive pooling has them."""
    import torch

    size = int(x.shape[2])
    cuts = [(i * size // side, -(-(i + 1) * size // side)) for i in range(side)]
    rows = [torch.stack([x[:, :, a:b, c:d].mean((2, 3)) for c, d in cuts], 2) for a, b in cuts]
    return torch.stack(rows, 2)


def export_text_tower(tower: TextTower) -> bytes:
    """The bytes of an ONNX model: "ids" and "mask" int64 (n, tokens) -> "vector" float32 (n, dim).

    Raises what ``export_image_tower`` raises.
    """
    import_package("transformers", "embedded", "BertModel")
    import torch
    from transformers import BertConfig, BertModel

    tensors = require("safetensors.torch", "embedded").load_file(tower.weights.verified())
    config = json.loads(tower.config.verified().read_text(encoding="utf-8"))
    # eager attention is plain arithmetic, which the exporter can trace
    settings = BertConfig(**config, attn_implementation="eager")
    bert = BertModel(settings, add_pooling_layer=False)
    unused = ("pooler.", "embeddings.position_ids")
    bert.load_state_dict({k: v for k, v in tensors.items() if not k.startswith(unused)})

    class MeanPooled(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, ids: Any, mask: Any) -> Any:
            states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask.unsqueeze(-1).to(states.dtype)
            return (states * weight).sum(1) / weight.sum(1).clamp(min=1)

    random = np.random.default_rng(0)
    samples = [_tokens(random.integers(settings.vocab_size, size=size)) for size in ((2, 7), (1, 3), (3, 40))]
    axes = {0: "n", 1: "tokens"}
    return _export(MeanPooled(), samples, {"ids": axes, "mask": axes})


def _tokens(ids: Int64) -> dict[str, Any]:
    import torch

    mask = np.ones_like(ids)
    mask[-1, -2:] = 0  # the last text is shorter, so that the mask is put to the test
    return {"ids": torch.from_numpy(ids), "mask": torch.from_numpy(mask)}


def _export(module: Any, samples: list[dict[str, Any]], axes: dict[str, dict[int, str]]) -> bytes:
    stream = io.BytesIO()
    trace(module, samples[0], axes, stream)
    data = stream.getvalue()
    check_export(module, data, samples)
    return data


def trace(module: Any, sample: dict[str, Any], axes: dict[str, dict[int, str]], target: str | io.BytesIO) -> None:
    """Write the ONNX graph of ``module``, which takes the tensors of ``sample`` by their order, to ``target``.

    ``axes`` names the sizes of each input that may change; the output is "vector" (n, dim). A ``target`` that is a
    path may get files beside it, where the model is beyond protobuf's 2 GB. Raises RagvlmError where torch can't.
    """
    import torch

    # eval() first: the exporter restores the mode that it finds, and a training mode would drop units at random
    module.eval()
    try:
        # the user can do nothing about the exporter's warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                tuple(sample.values()),
                target,
                input_names=list(sample),
                output_names=["vector"],
                dynamic_axes={**axes, "vector": {0: "n"}},
                opset_version=_OPSET,
                dynamo=False,  # the newer exporter needs one more package and gains nothing here
            )
    except (RuntimeError, TypeError, ValueError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise RagvlmError(f"torch {torch.__version__} can't export the encoder to ONNX: {reason}") from error


def check_export(module: Any, data: bytes, samples: list[dict[str, Any]]) -> None:
    """Raise RagvlmError unless ONNX Runtime's vectors agree with torch's on ``samples`` (cosine > 0.9999)."""
    import torch

    runtime = require("onnxruntime", "embedded")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for sample in samples:
        with torch.inference_mode():
            wanted = module(*sample.values()).numpy().astype(np.float64)
        found = session.run(None, {k: v.numpy() for k, v in sample.items()})[0].astype(np.float64)
        lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
        least = float(((wanted * found).sum(axis=1) / lengths).min())
        if not least > AGREEMENT:
            raise RagvlmError(f"the exported encoder disagrees with torch {torch.__version__}: cosine {least:.6f}")
