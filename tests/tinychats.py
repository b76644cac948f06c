"""Tiny checkpoints of chat models that came later: Gemma 3 (MedGemma is one), Qwen2.5-VL and Qwen3-VL."""

from __future__ import annotations

from typing import Any

from tinyparts import TEXT, VISION, ProcessorFiles, tokenizer

# system words go into the user's turn, as these models were trained
GEMMA_CHAT = (
    "<bos>{% if messages[0]['role'] == 'system' %}{% set lead = messages[0]['content'][0]['text'] + '\n\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set lead = '' %}{% set turns = messages %}{% endif %}"
    "{% for turn in turns %}<start_of_turn>{{ turn['role'] }}\n{{ lead if loop.first else '' }}"
    "{% for part in turn['content'] %}{{ '<start_of_image>' if part['type'] == 'image' else part['text'] }}{% endfor %}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
QWEN_CHAT = (
    "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n{% for part in turn['content'] %}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' if part['type'] == 'image' else part['text'] }}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip


def _gemma3() -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    pictures = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    special = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", *pictures.values())
    words = tokenizer(*special, pad="<pad>", eos="<eos>", bos="<bos>", unk="<unk>")
    words._set_model_specific_special_tokens(special_tokens=pictures)
    eyes = Gemma3ImageProcessorPil(size={"height": 64, "width": 64}, image_seq_length=4)
    processor = Gemma3Processor(eyes, words, chat_template=GEMMA_CHAT, image_seq_length=4)
    config = Gemma3Config(
        text_config={
            **TEXT, "num_hidden_layers": 6, "vocab_size": len(words), "sliding_window": 32,
            "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
        },
        vision_config={**VISION, "model_type": "siglip_vision_model", "image_size": 64},
        mm_tokens_per_image=4,
        boi_token_index=words.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=words.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=words.convert_tokens_to_ids("<image_soft_token>"),
        eos_token_id=1,
    )  # fmt: skip
    return processor, Gemma3ForConditionalGeneration(config)


def _qwen_words() -> Any:
    return tokenizer(*QWEN_TOKENS, pad="<|endoftext|>", eos="<|im_end|>")


def _qwen_eyes(patch: int) -> Any:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(patch_size=patch, size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64})


def _qwen_ids(words: Any) -> dict[str, Any]:
    named = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
    named |= {"vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>"}
    return {f"{name}_token_id": words.convert_tokens_to_ids(token) for name, token in named.items()}


def _qwen25() -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    words, sizes = _qwen_words(), {name: size for name, size in TEXT.items() if name != "head_dim"}
    config = Qwen2_5_VLConfig(
        text_config={
            **sizes, "vocab_size": len(words), "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
            "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0,
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 8,
            "out_hidden_size": 32, "window_size": 32, "fullatt_block_indexes": [1],
        },
        **_qwen_ids(words),
    )  # fmt: skip
    files = ProcessorFiles(_qwen_eyes(8), words, QWEN_CHAT, "Qwen2_5_VLProcessor")
    return files, Qwen2_5_VLForConditionalGeneration(config)


def _qwen3() -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    words = _qwen_words()
    config = Qwen3VLConfig(
        text_config={
            **TEXT, "vocab_size": len(words), "eos_token_id": 2, "pad_token_id": 0,
            "rope_scaling": {"rope_type": "default", "mrope_section": [2, 3, 3], "mrope_interleaved": True},
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 8,
            "out_hidden_size": 32, "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
        },
        **_qwen_ids(words),
    )  # fmt: skip
    files = ProcessorFiles(_qwen_eyes(8), words, QWEN_CHAT, "Qwen3VLProcessor")
    return files, Qwen3VLForConditionalGeneration(config)


BUILDERS = {"medgemma": _gemma3, "qwen2.5-vl": _qwen25, "qwen3-vl": _qwen3}
