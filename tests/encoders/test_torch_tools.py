"""Devices, number types and memory that runs out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ragvlm.encoders import load_encoder, torch_tools
from ragvlm.encoders.torch_tools import check_memory, choose_device, choose_dtype, free_memory, memory_errors
from ragvlm.errors import InputError, RagvlmError

CPU = torch.device("cpu")


def test_auto_is_the_best_device_and_full_precision_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == CPU
    assert choose_dtype("auto", CPU) is torch.float32
    with pytest.raises(InputError, match="torch finds no MPS here"):
        choose_device("mps")


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_auto_takes_bfloat16_where_the_gpu_computes_with_it(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_dtype("auto", choose_device("auto")) is dtype


def test_more_memory_than_there_is_is_refused_beforehand() -> None:
    free = free_memory(CPU)
    if free is None:
        pytest.skip("this system doesn't say how much memory is free")
    check_memory("little", 1000, CPU)
    with pytest.raises(RagvlmError, match=r"^much needs [\d.]+ GB on cpu, which has [\d.]+ GB free: free some"):
        check_memory("much", free * 10, CPU)


def test_other_errors_of_torch_pass() -> None:
    with pytest.raises(RuntimeError, match="size"), memory_errors("x", CPU):
        torch.ones(2) + torch.ones(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu please"}, r"device 'gpu please': give auto, cpu"),
        ({"device": "cuda:99"}, r"device 'cuda:99': torch finds no such CUDA device"),
        ({"dtype": "int4"}, r"dtype 'int4': give one of auto, float32"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: dict[str, Any], message: str, checkpoints: dict[str, Path]
) -> None:
    with pytest.raises(InputError, match=message):
        load_encoder(f"transformers:{checkpoints['clip']}", **options)


def test_memory_that_runs_out_is_one_line(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder: Any = load_encoder(f"transformers:{checkpoints['clip']}")
    # the allocator's own error
    monkeypatch.setattr(encoder._towers.net, "get_image_features", lambda **_: torch.empty(1 << 60))
    with pytest.raises(RagvlmError, match=r"^not enough memory on cpu for 1 pictures: give a smaller batch_size"):
        encoder.encode_images([Image.new("RGB", (9, 5))])
    monkeypatch.setattr(torch_tools, "free_memory", lambda device: 1000)
    with pytest.raises(RagvlmError, match=r"needs 0\.0 GB on cpu, which has 0\.0 GB free: free some"):
        load_encoder(encoder.name)
