"""Checkpoints of transformers' true architectures with some ten thousand random weights each, saved to a folder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

WORDS = (
    "a light micrograph of stained blood smear with many red cells and one white cell no platelets nuclei cell nucleus "
    "coffee cup fluorescence of single nucleosomes as small bright spots scattered over dark field the showing"
)
LETTERS = "abcdefghijklmnopqrstuvwxyz.,:-0123456789"
SIZE, PATCH, WIDTH = 32, 8, 32
TOWER = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def save(folder: Path, net: Any, processor: Any, tokenizer: Any) -> Path:
    for part in (net, processor, tokenizer):
        part.save_pretrained(folder)
    return folder


def pickled(folder: Path) -> Path:
    """The checkpoint in ``folder`` with its weights as a pickled state dict, as old repositories have them."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def seeded(kind: Any, config: Any) -> Any:
    """A model with random weights of a size that makes different inputs differ."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = kind(config).eval()
        for weights in net.parameters():
            if weights.ndim > 1:
                torch.nn.init.normal_(weights, std=0.3)
        net.logit_scale.data.fill_(1.5)
        if hasattr(net, "logit_bias"):
            net.logit_bias.data.fill_(-2.0)
    return net


def clip(folder: Path) -> Path:
    """CLIP: byte-level BPE, the text's vector at the end token."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    alphabet = sorted(ByteLevel.alphabet())
    merges = [("c", "e"), ("ce", "l"), ("cel", "l</w>"), ("n", "u"), ("nu", "c"), ("nuc", "l"), ("e", "i</w>")]
    pieces = [*alphabet, *(a + "</w>" for a in alphabet), *(a + b for a, b in merges)]
    vocab = {piece: i for i, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    end = vocab["<|endoftext|>"]
    text = {"vocab_size": len(vocab), "max_position_embeddings": 77, "eos_token_id": end, "pad_token_id": end, **TOWER}
    config = CLIPConfig(
        text_config=text | {"bos_token_id": end - 1},
        vision_config={"image_size": SIZE, "patch_size": PATCH, **TOWER},
        projection_dim=24,
    )
    square = {"height": SIZE, "width": SIZE}
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size=square)
    return save(folder, seeded(CLIPModel, config), processor, CLIPTokenizer(vocab=vocab, merges=merges))


def siglip(folder: Path) -> Path:
    """SigLIP: a SentencePiece model, texts padded to 64 tokens, the text's vector at the last place."""
    import sentencepiece
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipTokenizer

    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS, *WORDS.split(), LETTERS]),
        model_writer=stream,
        vocab_size=120,
        hard_vocab_limit=False,
        pad_id=-1,
        bos_id=-1,
        eos_id=1,
        unk_id=2,
        control_symbols=["<pad>"],
        minloglevel=2,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(stream.getvalue())
    tokenizer = SiglipTokenizer(str(folder / "spiece.model"), model_input_names=["input_ids"])
    text = {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": 64, "projection_size": WIDTH, **TOWER}
    special = {"pad_token_id": 1, "eos_token_id": 1, "bos_token_id": 1}
    config = SiglipConfig(text_config=text | special, vision_config={"image_size": SIZE, "patch_size": PATCH, **TOWER})
    processor = SiglipImageProcessorPil(size={"height": SIZE, "width": SIZE})
    return save(folder, seeded(SiglipModel, config), processor, tokenizer)


def gemma() -> Any:
    """Gemma's tokenizer with few pieces: byte-pair encoding with bytes for unknown characters."""
    from transformers import Siglip2Tokenizer

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    pieces = [*special, *(f"<0x{i:02X}>" for i in range(256)), "▁", *LETTERS, "ce", "ll", "cell", "▁cell"]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    merges = [("c", "e"), ("l", "l"), ("ce", "ll"), ("▁", "cell")]
    return Siglip2Tokenizer(vocab=vocab, merges=merges, model_input_names=["input_ids"])


def siglip2(folder: Path) -> Path:
    """SigLIP 2 of native shape: pictures keep their proportions as a list of patches; Gemma's tokenizer."""
    from transformers import Siglip2Config, Siglip2ImageProcessorPil, Siglip2Model

    tokenizer = gemma()
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "projection_size": WIDTH, **TOWER}
    config = Siglip2Config(
        text_config=text | {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2},
        vision_config={"num_patches": 16, "patch_size": PATCH, **TOWER},
    )
    processor = Siglip2ImageProcessorPil(patch_size=PATCH, max_num_patches=16)
    return save(folder, seeded(Siglip2Model, config), processor, tokenizer)


def siglip2_fixed(folder: Path) -> Path:
    """SigLIP 2 of fixed resolution: SigLIP's architecture with Gemma's tokenizer."""
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    tokenizer = gemma()
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "projection_size": WIDTH, **TOWER}
    config = SiglipConfig(
        text_config=text | {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2},
        vision_config={"image_size": SIZE, "patch_size": PATCH, **TOWER},
    )
    processor = SiglipImageProcessorPil(size={"height": SIZE, "width": SIZE})
    return save(folder, seeded(SiglipModel, config), processor, tokenizer)


BUILDERS = {"clip": clip, "siglip": siglip, "siglip2": siglip2, "siglip2-fixed": siglip2_fixed}
