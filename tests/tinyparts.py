"""What the builders of tiny vision-language checkpoints share: words, sizes, a tokenizer, a processor's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WORDS = [
    "Captions of the most similar images: red cells in a stained blood smear, two white cells, no platelets.",
    "You describe a biomedical image. Answer with one to three plain sentences. caption en answer en question?",
]
TEXT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 4096,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 16,
}  # fmt: skip


def tokenizer(*special: str, **roles: str) -> Any:
    """Byte-level BPE over a few words, with ``special`` tokens in order and their ``roles``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(WORDS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, **{f"{role}_token": name for role, name in roles.items()})


class ProcessorFiles:
    """The files of a processor as on the hub, for classes that can't be made without torchvision."""

    def __init__(self, eyes: Any, words: Any, chat: str, name: str, **settings: Any) -> None:
        self.image_processor, self.tokenizer, self.chat = eyes, words, chat
        self.settings = {"processor_class": name, **settings}

    def save_pretrained(self, folder: Path) -> None:
        self.image_processor.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": self.chat}))
        (folder / "processor_config.json").write_text(json.dumps(self.settings))
