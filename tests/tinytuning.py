"""What the tests of fine-tuned vision-language models share: a corpus of coloured squares and tiny checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tinyvlm
from tiny import COLOURS, paint
from tinytraining import torch

from ragvlm.corpus import Corpus
from ragvlm.generators.vlm import VlmGenerator
from ragvlm.tuning.settings import TrainSettings
from ragvlm.types import Record

FAMILIES = ["smolvlm", "smolvlm2", "paligemma", "blip2-opt", "blip2-t5", "git", "llava", "medgemma", "qwen2.5-vl"]
SETTINGS = TrainSettings(epochs=2, batch_size=4, lr=0.03, device="cpu", schedule="constant", warmup=0, patience=0)


def squares(root: Path, n: int = 16, *, questions: bool = False) -> Corpus:
    """``n`` records, two a subject: what colour a square has, as captions or as answers."""
    names, records = list(COLOURS), []
    for i in range(n):
        name = names[i % 4]
        paint(root / f"p{i:02d}.png", name, 16)
        said = {"extra": {"questions": [{"question": "what colour?", "answer": name}]}} if questions else {}
        caption = None if questions else f"red cells {name}"
        records.append(Record(f"a{i:02d}", f"p{i:02d}.png", caption, subject_id=f"s{i // 2}", **said))  # type: ignore[arg-type]
    return Corpus.from_records(records, root=root, name="squares")


def checkpoint(family: str, root: Path) -> Path:
    """A tiny checkpoint of ``family`` with weights of the size that transformers draws: they can be trained."""
    name = {"paligemma": "paligemma-3b-pt-224"}.get(family, family)
    folder = root / name
    if not folder.exists():
        torch.manual_seed(0)
        processor, net = tinyvlm.BUILDERS[family]()
        with torch.no_grad():
            for weights in net.parameters():
                if weights.dim() > 1:
                    weights.normal_(0, 0.15)
        folder.mkdir(parents=True)
        processor.save_pretrained(folder)
        net.save_pretrained(folder)
    return folder


def load(folder: Path, **options: Any) -> VlmGenerator:
    return VlmGenerator(str(folder), device="cpu", **{"max_new_tokens": 16, **options})
