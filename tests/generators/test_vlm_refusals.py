"""Vision-language models: what is refused, in one line with the next step."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from texts import context_of
from vlmtools import load, prompt_of

from ragvlm.encoders import torch_tools
from ragvlm.errors import InputError, MissingExtraError, RagvlmError
from ragvlm.prompt import build_prompt
from ragvlm.types import Query

pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("offline")


def test_too_little_memory_is_told_before_loading(
    folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_tools, "free_memory", lambda device: 1000)
    with pytest.raises(RagvlmError, match=r"needs .* GB on cpu, which has 0.0 GB free"):
        load(folders("llava"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"neighbour_images": -1}, "neighbour_images is -1"),
        ({"device": "gpu please"}, "device 'gpu please'"),
        ({"dtype": "int3"}, "dtype 'int3'"),
        ({"neighbour_images": 1}, "reads one picture at a time"),
    ],
)
def test_bad_options(options: dict[str, Any], expected: str, folders: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match=expected):
        load(folders("git"), **options)


def test_bad_prompts(folders: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match="'query' has no picture"):
        load(folders("git")).generate([build_prompt(replace(context_of("One."), query=Query("query", text="cells")))])
    with pytest.raises(InputError, match=r"holds 4096 tokens, .*fewer references"):
        load(folders("llava"), max_new_tokens=4000).generate([prompt_of()])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model_type": "bert"}, "is a 'bert' model, not one that reads pictures"),
        ({"model_type": "moondream1"}, "has no model 'moondream1': upgrade"),
        (
            {"model_type": "moondream1", "auto_map": {"AutoModelForImageTextToText": "code.Model"}},
            "brings Python code of its own.*trust_remote_code",
        ),
    ],
)
def test_models_of_another_kind_are_refused(
    changes: dict[str, Any], expected: str, altered: Callable[..., Path]
) -> None:
    with pytest.raises(InputError, match=expected):
        load(altered(**changes))


def test_incomplete_checkpoints_are_one_line(altered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = altered()
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "mlp" in name)
    save_file({n: t for n, t in weights.items() if n != name}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RagvlmError, match=r"its weights lack [^\n]+: give a complete checkpoint$"):
        load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(RagvlmError, match=r"holds no model.safetensors and no pytorch_model.bin"):
        load(folder)
    torch.save(weights, folder / "pytorch_model.bin")
    assert load(folder)  # plain tensors
    shutil.copy(folder / "config.json", folder / "model.safetensors")
    with pytest.raises(RagvlmError, match=r"can't be loaded \([^\n]+\): give a complete checkpoint$"):
        load(folder)


def test_without_a_chat_template_a_new_family_is_refused(altered: Callable[..., Path]) -> None:
    folder = altered()
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="'llava' model without a chat template"):
        load(folder)


def test_a_missing_package_gives_the_command(folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.smolvlm import processing_smolvlm

    folder = folders("smolvlm2")
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    with pytest.raises(MissingExtraError, match=r'num2words.*pip install "ragvlm\[vlm\]"'):
        load(folder)
