"""Picture classifiers and backbones of transformers' true architectures with some thousand random weights each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LABELS = ("red cell", "white cell", "platelet", "nothing")
SIZE = 32
TOWER = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def build(family: str, folder: Path, **config: Any) -> Path:
    """Save a checkpoint of ``family`` into ``folder``; ``config`` changes its configuration."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, processor = BUILDERS[family](**{"id2label": dict(enumerate(LABELS))} | config)
        with torch.no_grad():  # as transformers draws them, all pictures would look alike
            for name, weights in net.named_parameters():
                if weights.ndim > 1:
                    weights.normal_(0, 1 if "classifier" in name or name.startswith("fc") else 0.3)
    net.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def edit(folder: Path, name: str, **changes: Any) -> Path:
    """Change the JSON file ``name`` of a checkpoint."""
    table = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(table | changes))
    return folder


def _square(kind: str) -> Any:
    import transformers

    return getattr(transformers, kind)(size={"height": SIZE, "width": SIZE})


def _vit(**config: Any) -> Any:
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {**TOWER, "image_size": SIZE, "patch_size": 8}
    return ViTForImageClassification(ViTConfig(**sizes, **config)), _square("ViTImageProcessorPil")


def _deit(**config: Any) -> Any:
    from transformers import DeiTConfig, DeiTForImageClassification

    sizes = {**TOWER, "image_size": SIZE, "patch_size": 8}
    return DeiTForImageClassification(DeiTConfig(**sizes, **config)), _square("ViTImageProcessorPil")


def _resnet(**config: Any) -> Any:
    from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetForImageClassification

    sizes = {"embedding_size": 8, "hidden_sizes": [16, 40], "depths": [1, 1], "layer_type": "bottleneck"}
    processor = ConvNextImageProcessorPil(size={"shortest_edge": SIZE}, crop_pct=0.875)
    return ResNetForImageClassification(ResNetConfig(**sizes, **config)), processor


def _dinov2(**config: Any) -> Any:
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIZE, "patch_size": 8}
    square = {"height": SIZE, "width": SIZE}
    processor = BitImageProcessorPil(size={"shortest_edge": SIZE}, crop_size=square)
    return Dinov2Model(Dinov2Config(**sizes, **config)), processor


def _swin(**config: Any) -> Any:
    from transformers import SwinConfig, SwinForImageClassification

    sizes = {"image_size": SIZE, "patch_size": 4, "embed_dim": 12, "depths": [1, 1], "num_heads": [2, 2]}
    net = SwinForImageClassification(SwinConfig(window_size=4, **sizes, **config))
    return net, _square("ViTImageProcessorPil")


def _convnext(**config: Any) -> Any:
    from transformers import ConvNextConfig, ConvNextForImageClassification, ConvNextImageProcessorPil

    net = ConvNextForImageClassification(ConvNextConfig(hidden_sizes=[8, 8, 16, 28], depths=[1] * 4, **config))
    return net, ConvNextImageProcessorPil(size={"shortest_edge": 64}, crop_pct=0.875)


def _vit_mae(**config: Any) -> Any:
    from transformers import ViTMAEConfig, ViTMAEModel

    sizes = {**TOWER, "image_size": SIZE, "patch_size": 8}
    return ViTMAEModel(ViTMAEConfig(**sizes, **config)), _square("ViTImageProcessorPil")


def _vit_msn(**config: Any) -> Any:
    from transformers import ViTMSNConfig, ViTMSNModel

    sizes = {**TOWER, "image_size": SIZE, "patch_size": 8}
    return ViTMSNModel(ViTMSNConfig(**sizes, **config)), _square("ViTImageProcessorPil")


def _ijepa(**config: Any) -> Any:
    from transformers import IJepaConfig, IJepaForImageClassification

    sizes = {**TOWER, "image_size": SIZE, "patch_size": 8}
    return IJepaForImageClassification(IJepaConfig(**sizes, **config)), _square("ViTImageProcessorPil")


BUILDERS = {
    "vit": _vit,
    "deit": _deit,
    "resnet": _resnet,
    "dinov2": _dinov2,
    "swin": _swin,
    "convnext": _convnext,
    "vit_mae": _vit_mae,
    "vit_msn": _vit_msn,
    "ijepa": _ijepa,
}
