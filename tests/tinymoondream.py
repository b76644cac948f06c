"""A stand-in for Moondream 2: a tiny model behind the interface that its model card documents, as code of a checkpoint.

No package that runs on a CPU brings the true architecture. This one shares with it what loading and asking depend on:
two modules, no post_init, buffers that aren't saved, bfloat16, methods that are properties, and an ``encode_image``
that trips over settings it doesn't know.
"""

from __future__ import annotations

import json
from pathlib import Path

ENTRY = """
from transformers import PretrainedConfig, PreTrainedModel

from .inner import Inner


class HfConfig(PretrainedConfig):
    model_type = "moondream1"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.config = {}


class HfMoondream(PreTrainedModel):
    config_class = HfConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = Inner()

    @property
    def encode_image(self):
        return self.model.encode_image

    @property
    def query(self):
        return self.model.query

    @property
    def caption(self):
        return self.model.caption
"""
INNER = """
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

WORDS = ["cells", "red", "white", "two", "many", "pale", "round", "dark"]
LENGTHS = {"short": 3, "normal": 5, "long": 9}


@dataclass(frozen=True)
class Seen:
    vector: torch.Tensor


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.vision = nn.Linear(3, 16, dtype=torch.bfloat16)
        self.text = nn.Embedding(256, 16, dtype=torch.bfloat16)
        self.head = nn.Linear(16, len(WORDS), dtype=torch.bfloat16)
        self.register_buffer("place", torch.arange(16.0) / 16, persistent=False)
        self.asked = []

    def encode_image(self, image, settings=None):
        if isinstance(image, Seen):
            return image
        if settings is not None and settings["variant"]:
            raise NotImplementedError
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).to(self.place.device, torch.bfloat16)
        return Seen(self.vision(pixels.mean(dim=(0, 1)) / 255) + self.place.to(torch.bfloat16))

    def query(self, image=None, question=None, reasoning=False, stream=False, settings=None):
        if question == "fail":
            raise ValueError("no such\\nskill")
        letters = torch.tensor(list(question.encode()), device=self.place.device)
        seen = self.encode_image(image, settings)
        return {"answer": self._write(seen.vector + self.text(letters).sum(dim=0), 4, settings)}

    def caption(self, image, length="normal", stream=False, settings=None):
        return {"caption": " " + self._write(self.encode_image(image, settings).vector, LENGTHS[length], settings)}

    def _write(self, state, words, settings):
        self.asked.append(settings)
        said = []
        for _ in range(min(words, settings["max_tokens"])):
            best = int(self.head(state).argmax())
            said.append(WORDS[best])
            state = torch.roll(state, 1) + self.text.weight[best]
        return " ".join(said)
"""


def build(folder: Path) -> Path:
    """Save the checkpoint into ``folder``: configuration, weights and code alone, as on the hub."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hf_moondream.py").write_text(ENTRY)
    (folder / "inner.py").write_text(INNER)
    mapped = {"AutoConfig": "hf_moondream.HfConfig", "AutoModelForCausalLM": "hf_moondream.HfMoondream"}
    config = {"model_type": "moondream1", "architectures": ["HfMoondream"], "auto_map": mapped, "dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "vision.weight": (16, 3), "vision.bias": (16,), "text.weight": (256, 16), "head.weight": (8, 16),
        "head.bias": (8,),
    }  # fmt: skip
    drawn = {f"model.{name}": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file({name: tensor.bfloat16() for name, tensor in drawn.items()}, folder / "model.safetensors")
    return folder
