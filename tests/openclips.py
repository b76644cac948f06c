"""Checkpoints of open_clip's true architectures with few random weights, saved to a folder as a repository holds them.

As in the repositories that the rows name: BiomedCLIP is a ViT of timm and a BERT of transformers, whose configuration
and tokenizer lie in another repository; QuiltNet is CLIP's own class with a pickled state dict; MobileCLIP is a
FastViT; SigLIP has a bias, a pooling by attention and a tokenizer of transformers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checkpoints import LETTERS, WORDS
from PIL import Image

from ragvlm.encoders import load_encoder
from ragvlm.encoders.openclip import OpenClipEncoder

NORM = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
TEXT = {"width": 32, "heads": 2, "layers": 2}
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


def fill(net: Any) -> Any:
    """Random weights of a size that makes different inputs differ."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, weights in net.named_parameters():
            if weights.ndim > 1 and not name.endswith("gamma"):  # the small scales that keep a FastViT stable
                torch.nn.init.normal_(weights, std=float(weights[0].numel()) ** -0.5)
    net.logit_scale.data.fill_(1.5)
    if net.logit_bias is not None:
        net.logit_bias.data.fill_(-2.0)
    return net.eval()


def write(folder: Path, model: dict[str, Any], net: Any, *, pickled: bool = False, **preprocessing: Any) -> Path:
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps({"model_cfg": model, "preprocess_cfg": {**NORM, **preprocessing}}))
    state = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    if pickled:
        torch.save(state, folder / "open_clip_pytorch_model.bin")
    else:
        save_file(state, folder / "open_clip_model.safetensors")
    return folder


def bert(folder: Path) -> Path:
    """What the repository of a text tower holds that matters here: a configuration and a tokenizer, no weights."""
    from transformers import BertConfig, BertTokenizer

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS)]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys([*pieces, *WORDS.split()]))}
    width = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertConfig(vocab_size=len(vocab), max_position_embeddings=256, **width).save_pretrained(folder)
    BertTokenizer(vocab=vocab).save_pretrained(folder)
    return folder


def biomedclip(folder: Path) -> Path:
    """Its text tower stands in the folder "bert" beside it, by the name lab/bert."""
    from open_clip import CustomTextCLIP

    tower = bert(folder.parent / "bert")
    vision = {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear", "image_size": 160}
    text = {"hf_proj_type": "mlp", "hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": 256}
    named = {"hf_model_name": "lab/bert", "hf_tokenizer_name": "lab/bert"}
    here = {"hf_model_name": str(tower), "hf_model_pretrained": False}
    net = fill(CustomTextCLIP(embed_dim=24, vision_cfg={**vision}, text_cfg={**text, **here}))
    return write(folder, {"embed_dim": 24, "vision_cfg": vision, "text_cfg": {**text, **named}}, net)


def quiltnet(folder: Path) -> Path:
    from open_clip import CLIP

    vision = {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 32}
    model = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": {"context_length": 77, "vocab_size": 49408, **TEXT}}
    return write(folder, model, fill(CLIP(**model)), pickled=True)


def mobileclip(folder: Path) -> Path:
    from open_clip import CustomTextCLIP

    vision = {"timm_model_name": "fastvit_mci0", "timm_pool": "avg", "timm_proj": None, "image_size": 64}
    text = {"context_length": 77, "vocab_size": 49408, "no_causal_mask": True, **TEXT}
    model = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    net = fill(CustomTextCLIP(**model))
    return write(folder, {**model, "custom_text": True}, net, mean=[0, 0, 0], std=[1, 1, 1], interpolation="bilinear")


def siglip(folder: Path) -> Path:
    from open_clip import CustomTextCLIP
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(["<unk>", "</s>", *WORDS.split()]))}
    rules = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))  # noqa: S106 - a token of another kind
    rules.pre_tokenizer = pre_tokenizers.Whitespace()
    rules.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=rules, **special).save_pretrained(folder)
    vision = {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none", "image_size": 160}
    text = {"context_length": 64, "vocab_size": len(vocab), "no_causal_mask": True, "proj_bias": True, **TEXT}
    text |= {"pool_type": "last", "tokenizer_kwargs": {"clean": "canonicalize"}, "hf_tokenizer_name": "lab/siglip"}
    model = {"embed_dim": 64, "init_logit_bias": -10, "vision_cfg": vision, "text_cfg": text}
    return write(folder, {**model, "custom_text": True}, fill(CustomTextCLIP(**model)), resize_mode="squash")


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "biomedclip": biomedclip,
    "quiltnet": quiltnet,
    "mobileclip": mobileclip,
    "siglip": siglip,
}


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file."""
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


def load(model: Path | str, **options: Any) -> OpenClipEncoder:
    """By the public path; a folder or what the option ``model`` takes."""
    name = f"local-dir:{model}" if isinstance(model, Path) else model
    found = load_encoder("openclip", model=name, device="cpu", **options)
    assert isinstance(found, OpenClipEncoder)
    return found


def noise(size: tuple[int, int]) -> Image.Image:
    return Image.effect_noise(size, 90).convert("RGB")
