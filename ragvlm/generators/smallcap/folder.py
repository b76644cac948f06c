"""A trained describer on disk: ``smallcap.json`` and ``model.safetensors`` (float16)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.errors import InputError, RagvlmError, require
from ragvlm.generators.smallcap.answers import Answers
from ragvlm.generators.smallcap.readings import Readings

CONFIG, TENSORS, FORMAT = "smallcap.json", "model.safetensors", 1
SHIPPED = "simulated"


@dataclass(frozen=True, slots=True)
class Trained:
    """What was learnt beside the decoder's own weights.

    ``net`` is name -> tensor of what ``Smallcap`` learns; ``neighbours``: how many references it was trained with;
    ``words``: the most tokens of an answer; ``trust``: of the decoder against ``answers``, in [0, 1].
    """

    shape: Mapping[str, Any]
    decoder: str
    decoder_fingerprint: str
    features_fingerprint: str
    net: Mapping[str, Any] = field(repr=False)
    readings: Readings = field(repr=False)
    answers: Answers | None = field(default=None, repr=False)
    neighbours: int = 3
    words: int = 96
    trust: float = 0.5

    def save(self, folder: Path) -> None:
        """Write both files into ``folder``."""
        import torch
        from safetensors.torch import save_file

        tensors = {f"net.{name}": torch.as_tensor(t).detach().cpu().half() for name, t in self.net.items()}
        tensors |= {f"readings.{name}": torch.from_numpy(t).half() for name, t in self.readings.tensors().items()}
        if self.answers:
            tensors |= {f"answers.{name}": torch.from_numpy(t).half() for name, t in self.answers.tensors().items()}
        save_file({name: t.contiguous().clone() for name, t in tensors.items()}, folder / TENSORS)
        config = {
            "format": FORMAT,
            "shape": dict(self.shape),
            "decoder": self.decoder,
            "decoder_fingerprint": self.decoder_fingerprint,
            "features_fingerprint": self.features_fingerprint,
            "readings": self.readings.facts(),
            "answers": self.answers.facts() if self.answers else None,
            "neighbours": self.neighbours,
            "words": self.words,
            "trust": self.trust,
        }
        (folder / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, name: str) -> Trained:
        """The describer in the folder ``name``, or the one that ships by that name.

        Raises InputError where there is none, RagvlmError where it is of another format or damaged.
        """
        load_file = require("safetensors.torch", "smallcap").load_file
        folder = find(name)
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            if config["format"] != FORMAT:
                raise RagvlmError(
                    f"{folder}: its format is {config['format']}, this ragvlm reads {FORMAT}: train it again"
                )
            tensors = load_file(folder / TENSORS)
            parts: dict[str, dict[str, Any]] = {"net": {}, "readings": {}, "answers": {}}
            for key, tensor in tensors.items():
                part, _, inner = key.partition(".")
                parts[part][inner] = tensor.float() if part == "net" else tensor.numpy().astype(np.float32)
            known = ("shape", "decoder", "decoder_fingerprint", "features_fingerprint", "neighbours", "words", "trust")
            return cls(
                **{key: config[key] for key in known},
                net=parts["net"],
                readings=Readings.of(config["readings"], parts["readings"]),
                answers=Answers.of(config["answers"], parts["answers"]) if config["answers"] else None,
            )
        except (OSError, ValueError, KeyError, TypeError, require("safetensors", "smallcap").SafetensorError) as error:
            raise RagvlmError(f"{folder}: is damaged ({error}): copy it again, or train it anew") from error


def find(name: str) -> Path:
    """The folder of the describer ``name``. Raises InputError where there is none."""
    shipped = Path(str(files("ragvlm").joinpath("data/smallcap")))
    for folder in (Path(name).expanduser(), shipped / name):
        if (folder / CONFIG).is_file():
            return folder
    there = ", ".join(sorted(path.name for path in shipped.glob("*/") if (path / CONFIG).is_file()))
    raise InputError(
        f"smallcap {name!r}: no such describer: give a folder that `ragvlm tune describer` wrote, or {there or SHIPPED}"
    )
