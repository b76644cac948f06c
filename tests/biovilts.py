"""A checkpoint of BioViL-T's true classes with random weights, laid out as its repository.

Its picture tower has one size (27 million weights, 110 MB); the text tower is small.
"""

from __future__ import annotations

import json
from pathlib import Path

from checkpoints import LETTERS, WORDS

IMAGE_WEIGHTS = "biovil_t_image_model_proj_size_128.pt"
# the repository names its own code, which mustn't run
AUTO = {"AutoConfig": "configuration_cxrbert.CXRBertConfig", "AutoModel": "modeling_cxrbert.CXRBertModel"}


def biovilt(folder: Path) -> Path:
    import torch
    from health_multimodal.image.model.model import ImageModel
    from health_multimodal.text.model import CXRBertConfig, CXRBertModel

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS), *WORDS.split()]
    vocab = list(dict.fromkeys(pieces))
    width = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pictures = ImageModel(img_encoder_type="resnet50_multi_image", joint_feature_size=128)
        texts = CXRBertModel(CXRBertConfig(vocab_size=len(vocab), max_position_embeddings=64, **width))
        for weights in texts.parameters():
            if weights.ndim > 1:
                torch.nn.init.normal_(weights, std=0.3)
    texts.save_pretrained(folder)
    torch.save(pictures.state_dict(), folder / IMAGE_WEIGHTS)
    (folder / "vocab.txt").write_text("\n".join(vocab))
    tokenizer = {"tokenizer_class": "CXRBertTokenizer", "do_lower_case": True}
    tokenizer |= {"auto_map": {"AutoTokenizer": ["configuration_cxrbert.CXRBertTokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": AUTO}))
    for name in ("configuration_cxrbert.py", "modeling_cxrbert.py"):
        (folder / name).write_text("raise SystemExit('remote code ran')\n")
    return folder
