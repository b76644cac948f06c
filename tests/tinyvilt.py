"""A tiny ViLT with random weights, and its files as they lie on the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tinyparts import VISION

ANSWERS = ["yes", "no", "1", "2", "red", "blue", "nothing", "3"]


def build(folder: Path) -> Path:
    """Save a checkpoint into ``folder``; its preprocessing is written as the hub's checkpoint writes it."""
    import torch
    from transformers import BertTokenizerFast, ViltConfig, ViltForQuestionAnswering

    torch.manual_seed(0)
    listed = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghijklmnopqrstuvwxyz?",
        "cells",
        "what",
        "red",
        "is",
    ]
    words = BertTokenizerFast(vocab={word: i for i, word in enumerate(listed)}, model_max_length=40)
    config = ViltConfig(
        **VISION, image_size=64, vocab_size=len(listed), max_position_embeddings=40,
        id2label=dict(enumerate(ANSWERS)), label2id={answer: i for i, answer in enumerate(ANSWERS)},
    )  # fmt: skip
    net = ViltForQuestionAnswering(config)
    with torch.no_grad():
        for weights in net.parameters():
            if weights.dim() > 1:
                weights.normal_(0, 0.5)
    folder.mkdir(parents=True, exist_ok=True)
    words.save_pretrained(folder)
    net.save_pretrained(folder)
    eyes: dict[str, Any] = {
        "feature_extractor_type": "ViltFeatureExtractor", "do_normalize": True, "do_resize": True, "resample": 3,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": 64, "size_divisor": 16,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(eyes))
    return folder
