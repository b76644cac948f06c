"""Vision-language checkpoints of the true architectures, small and with random weights, built on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tinychats
from tinyparts import TEXT, VISION, ProcessorFiles, tokenizer

# where 0 gives weights that say one token over and over
SEEDS = {"paligemma2": 2}


def build(family: str, folder: Path) -> Path:
    """Save a checkpoint of ``family`` into ``folder``."""
    import torch

    torch.manual_seed(SEEDS.get(family, 0))
    processor, net = BUILDERS[family]()
    with torch.no_grad():  # as drawn by transformers they would say one token over and over
        for weights in net.parameters():
            if weights.dim() > 1:
                weights.normal_(0, 0.3)
    folder.mkdir(parents=True, exist_ok=True)
    processor.save_pretrained(folder)
    net.save_pretrained(folder)
    return folder


def give_an_end(folder: Path, row: list[int]) -> None:
    """Let the checkpoint end its texts with a token that it says in ``row``: random weights hardly say the true one."""
    end = list(dict.fromkeys(row[:-1]))[-1]
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        settings = json.loads(path.read_text())
        (settings.get("text_config") or settings)["eos_token_id"] = settings["eos_token_id"] = end
        path.write_text(json.dumps(settings))


CHAT = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
IDEFICS_TOKENS = (
    "<pad>", "<|im_start|>", "<end_of_utterance>", "<image>", "<fake_token_around_image>", "<global-img>",
    *(f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)),
)  # fmt: skip


def _idefics_tokenizer() -> Any:
    return tokenizer(*IDEFICS_TOKENS, pad="<pad>", bos="<|im_start|>", eos="<end_of_utterance>")


def _idefics_sizes(words: Any) -> dict[str, Any]:
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return {
        "vision_config": {**VISION, "image_size": 64},
        "text_config": {**TEXT, "model_type": "llama", "vocab_size": len(words), **ids},
        "image_token_id": words.convert_tokens_to_ids("<image>"),
        "scale_factor": 2,
        "pad_token_id": 0,
    }


def _smolvlm1() -> Any:
    """SmolVLM-256M-Instruct and 500M are Idefics3."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    words = _idefics_tokenizer()
    eyes = Idefics3ImageProcessorPil(size={"longest_edge": 128}, max_image_size={"longest_edge": 64})
    # (64 / 16)^2 / 2^2 tokens a tile
    processor = Idefics3Processor(eyes, words, image_seq_len=4, chat_template=CHAT)
    return processor, Idefics3ForConditionalGeneration(Idefics3Config(**_idefics_sizes(processor.tokenizer)))


def _smolvlm2() -> Any:
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    words = _idefics_tokenizer()
    eyes = SmolVLMImageProcessorPil(size={"longest_edge": 128}, max_image_size={"longest_edge": 64})
    files = ProcessorFiles(eyes, words, CHAT, "SmolVLMProcessor", image_seq_len=4)
    return files, SmolVLMForConditionalGeneration(SmolVLMConfig(**_idefics_sizes(words)))


def _paligemma(text: str = "gemma", layers: int = 2) -> Any:
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    words = tokenizer("<pad>", "<eos>", "<bos>", "<unk>", pad="<pad>", eos="<eos>", bos="<bos>", unk="<unk>")
    eyes = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    eyes.image_seq_length = 4  # (32 / 16)^2
    processor = PaliGemmaProcessor(eyes, words)  # adds a thousand tokens: the vocabulary is sized after it
    config = PaliGemmaConfig(
        vision_config={**VISION, "model_type": "siglip_vision_model", "image_size": 32, "projection_dim": 32},
        text_config={
            **TEXT, "model_type": text, "num_hidden_layers": layers, "vocab_size": len(processor.tokenizer),
            "num_image_tokens": 4,
        },
        projection_dim=32,
        hidden_size=32,
        image_token_index=processor.image_token_id,
        pad_token_id=0, eos_token_id=1, bos_token_id=2,
    )  # fmt: skip
    return processor, PaliGemmaForConditionalGeneration(config)


def _blip2(text_config: dict[str, Any], words: Any) -> Any:
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    processor = Blip2Processor(BlipImageProcessorPil(size={"height": 32, "width": 32}), words, num_query_tokens=4)
    config = Blip2Config(
        vision_config={**VISION, "image_size": 32},
        qformer_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "encoder_hidden_size": 32, "vocab_size": 30,
        },
        text_config={**text_config, "vocab_size": len(processor.tokenizer)},
        num_query_tokens=4,
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    return processor, Blip2ForConditionalGeneration(config)


def _blip2_t5() -> Any:
    text = {"model_type": "t5", "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    words = tokenizer("<pad>", "</s>", "<unk>", pad="<pad>", eos="</s>", unk="<unk>")
    return _blip2({**text, "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}, words)


def _blip2_opt() -> Any:
    text = {
        "model_type": "opt", "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "word_embed_proj_dim": 32, "max_position_embeddings": 2048, "pad_token_id": 0, "eos_token_id": 1,
        "bos_token_id": 1,
    }  # fmt: skip
    words = tokenizer("<pad>", "</s>", "<unk>", pad="<pad>", eos="</s>", bos="</s>")
    return _blip2(text, words)


def _git() -> Any:
    from transformers import BertTokenizerFast, GitConfig, GitForCausalLM, GitProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    letters = [f"{mark}{chr(code)}" for mark in ("", "##") for code in range(33, 127)]
    listed = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, "cells", "what", "red"]
    words = BertTokenizerFast(vocab={word: i for i, word in enumerate(listed)})
    eyes = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    config = GitConfig(
        vision_config={**VISION, "image_size": 32},
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=256, pad_token_id=0, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    return GitProcessor(eyes, words), GitForCausalLM(config)


def _llava() -> Any:
    """The generic path: a family without a row of its own."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    words = tokenizer("<pad>", "<s>", "</s>", "<image>", pad="<pad>", bos="<s>", eos="</s>")
    eyes = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor = LlavaProcessor(
        eyes, words, patch_size=16, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=NO_SYSTEM,
    )  # fmt: skip
    text = LlamaConfig(**TEXT, vocab_size=len(words), pad_token_id=0, bos_token_id=1, eos_token_id=2)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION, image_size=32),
        text_config=text,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    return processor, LlavaForConditionalGeneration(config)


NO_SYSTEM = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "USER: {% for line in message['content'] %}{% if line['type'] == 'image' %}<image>\n{% else %}{{ line['text'] }}"
    "{% endif %}{% endfor %}{% endfor %} ASSISTANT:"
)
BUILDERS = {
    "smolvlm": _smolvlm1,
    "smolvlm2": _smolvlm2,
    "paligemma": _paligemma,
    "paligemma2": lambda: _paligemma("gemma2", 6),  # fewer layers say what they read
    "blip2-t5": _blip2_t5,
    "blip2-opt": _blip2_opt,
    "git": _git,
    "llava": _llava,
    **tinychats.BUILDERS,
}
