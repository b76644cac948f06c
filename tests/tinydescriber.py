"""A describer that trains in seconds: coloured squares, and a tiny decoder that knows four sentences."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import killing
from tiny import COLOURS, ColourEncoder, build, of, paint
from tinyparts import TEXT, tokenizer
from tinytraining import die_at

from ragvlm.index import Index
from ragvlm.tuning.describer import tune_describer
from ragvlm.tuning.folder import Tuned
from ragvlm.tuning.settings import TrainSettings
from ragvlm.types import Record

SETTINGS = TrainSettings(epochs=12, batch_size=8, lr=0.02, device="cpu", eval_steps=6, patience=0)
N = 28


def corpus(root: Path, n: int = N, *, asked: bool = False) -> Index:
    """An index of ``n`` coloured squares, two of each subject, with a caption or with a question."""
    records = []
    for i in range(n):
        name = list(COLOURS)[i % 4]
        paint(root / f"p{i:02d}.png", tuple(max(c - 2 * i, 0) for c in COLOURS[name]))  # type: ignore[arg-type]
        extra = {"questions": [{"question": "Which colour?", "answer": name, "answer_type": "OPEN"}]} if asked else {}
        caption = None if asked else f"A {name} square."
        records.append(
            Record(f"a{i:02d}", f"p{i:02d}.png", caption, f"s{i // 2}", labels={"colour": name}, extra=extra)
        )
    return build(of(root, records), root / "index", ColourEncoder())


def decoder(folder: Path) -> Path:
    """A Llama of two layers that can say which colour a square has, but not whose."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    words = tokenizer("<pad>", "<end>", pad="<pad>", eos="<end>")
    torch.manual_seed(0)
    config = LlamaConfig(**TEXT, vocab_size=len(words), eos_token_id=1, pad_token_id=0, tie_word_embeddings=True)
    net = LlamaForCausalLM(config)
    texts = [[*words(f"Description: A {name} square.")["input_ids"], 1] for name in COLOURS]
    ids = torch.tensor([text + [0] * (max(map(len, texts)) - len(text)) for text in texts])
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    for _ in range(80):
        net(input_ids=ids, labels=ids.masked_fill(ids == 0, -100)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    net.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def train(index: Index, made: Path, out: Path, settings: TrainSettings = SETTINGS, **options: Any) -> Tuned:
    """Train on ``index`` with the decoder in the folder ``made``."""
    return tune_describer(index, out, decoder=str(made), settings=settings, validation=0.2, **options)


def killed(root: Path, made: Path, out: Path, step: int) -> int:
    """Train in a process that is killed once the checkpoint of ``step`` is whole; its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tinydescriber", "transformers.trainer", "peft", *killing.PRELOADED])
    process = context.Process(target=_killed, args=(root, made, out, step))
    process.start()
    process.join()
    return process.exitcode or 0


def _killed(root: Path, made: Path, out: Path, step: int) -> None:
    die_at(step, "after")
    train(Index.open(root / "index", encoder=ColourEncoder()), made, out)
