"""What the tests of vision-language models share: prompts with pictures, and a look at what goes in and comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tinyvlm
from PIL import Image
from texts import context_of

from ragvlm.generators import load_generator
from ragvlm.prompt import build_prompt
from ragvlm.types import Prompt, Query, Record

PICTURES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))
    for seed, size in enumerate(((70, 100), (100, 70), (60, 60)))
]
TOKENS = 16
FAMILIES = sorted(tinyvlm.BUILDERS)
CHATS = ["llava", "medgemma", "qwen2.5-vl", "qwen3-vl", "smolvlm", "smolvlm2"]


def prompt_of(*captions: str | Record, picture: int = 0, text: str | None = None) -> Prompt:
    context = context_of(*(captions or ("Two red cells [1].", "One white cell.")))
    return build_prompt(replace(context, query=Query("query", PICTURES[picture], text)))


def load(folder: Path, **options: Any) -> Any:
    return load_generator(f"vlm:{folder}", **{"device": "cpu", "max_new_tokens": TOKENS, **options})


def new_tokens(generator: Any, prompt: Prompt) -> tuple[Any, list[int]]:
    """What goes into the model for ``prompt``, and the tokens that it answers."""
    seen: list[tuple[Any, Any]] = []
    original = generator.net.generate

    def spy(**options: Any) -> Any:
        seen.append((options, original(**options)))
        return seen[-1][1]

    generator.net.generate = spy
    try:
        generator.generate([prompt])
    finally:
        generator.net.generate = original
    options, rows = seen[0]
    start = 0 if generator.reads_apart else options["input_ids"].shape[1]
    return options, rows[0][start:].tolist()
