"""Weights in 8 and 4 bits by bitsandbytes, on the CPU, with tiny checkpoints; and what is refused."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from vlmtools import TOKENS, load, new_tokens, prompt_of

import ragvlm as rv
from ragvlm.encoders import torch_tools
from ragvlm.errors import InputError, MissingExtraError, RagvlmError
from ragvlm.generators import quantize

pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("offline")
FAMILIES = ["blip2-t5", "git", "medgemma", "smolvlm"]
needs = pytest.mark.skipif(not importlib.util.find_spec("bitsandbytes"), reason="bitsandbytes is not installed")


@needs
@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_and_text_are_those_of_transformers(
    family: str, kind: str, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from bitsandbytes.nn import modules
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    monkeypatch.setattr(modules, "has_avx512bf16", lambda: False)  # bitsandbytes itself fails on tiny layers with it
    generator = load(folders(family), quantize=kind)
    given, tokens = new_tokens(generator, prompt_of())
    inputs = load(folders(family)).dialect.inputs([prompt_of()])
    assert all(torch.equal(given[name], inputs[name]) for name in inputs)
    asked = (
        {"load_in_8bit": True}
        if kind == "int8"
        else {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.float32}
    )
    net = AutoModelForImageTextToText.from_pretrained(
        folders(family), quantization_config=BitsAndBytesConfig(**asked), device_map={"": "cpu"}, dtype="float32"
    )
    row = net.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)[0].tolist()
    assert row[-len(tokens) :] == tokens
    packed = {parameter.dtype for parameter in generator.net.parameters()}
    assert packed == {torch.float32, torch.int8 if kind == "int8" else torch.uint8}


@needs
@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_it_describes_a_real_picture(
    kind: str, folders: Callable[[str], Path], blood: rv.Index, shared_data: Path
) -> None:
    picture = shared_data / "blood-cells" / "images" / "BloodImage_00020.jpg"
    options = {"max_new_tokens": TOKENS, "quantize": kind, "device": "cpu"}
    describer = rv.Describer(
        blood, f"vlm:{folders('smolvlm')}", 2, alpha=0, keep_unsupported=True, generator_options=options
    )
    assert describer(picture).text == describer(picture).text
    assert describer.generator.net.is_quantized  # type: ignore[attr-defined]


@needs
@pytest.mark.parametrize("family", FAMILIES)
def test_what_memory_is_asked_for_is_a_close_lower_bound(family: str, folders: Callable[[str], Path]) -> None:
    import torch

    folder = folders(family)
    plain, eight, four = (quantize.bytes_needed(folder, torch.float32, kind) for kind in quantize.KINDS)
    assert four < eight < plain
    assert plain == sum(tensor.numel() * 4 for tensor in load_file(folder / "model.safetensors").values())
    assert quantize.bytes_needed(folder, torch.bfloat16, "none") == plain // 2
    for kind, needed in (("int8", eight), ("int4", four)):
        # scales are not in its footprint, and of tiny models much is embeddings, of which some have two copies
        assert 0.6 < needed / load(folder, quantize=kind).net.get_memory_footprint() < 1.03


@needs
def test_a_model_that_is_too_large_may_fit_in_few_bits(
    folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    folder = folders("medgemma")
    plain, _, four = (quantize.bytes_needed(folder, torch.float32, kind) for kind in quantize.KINDS)
    monkeypatch.setattr(torch_tools, "free_memory", lambda device: (plain + four) // 2)
    with pytest.raises(RagvlmError, match=r"needs .* GB on cpu"):
        load(folder)
    assert load(folder, quantize="int4").generate([prompt_of()])


@needs
def test_layers_that_do_not_fill_the_blocks_go_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from bitsandbytes.nn import Linear4bit, modules

    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)
    sizes = [(128, 64), (4304, 64), (128, 48)]
    layers = torch.nn.ModuleList([Linear4bit(*size, quant_type="nf4") for size in sizes])
    quantize.settle(layers)
    assert [layer.support_avx512bf16_for_cpu for layer in layers] == [True, False, False]
    with torch.inference_mode():
        for layer, (width, _) in list(zip(layers.eval(), sizes, strict=True))[1:]:
            exact = layer.weight.data.T
            found = layer.to("cpu")(torch.ones(3, width))
            torch.testing.assert_close(found[0], exact.sum(dim=0) + layer.bias, atol=0.6, rtol=0.1)


@needs
def test_nothing_is_printed(folders: Callable[[str], Path]) -> None:
    code = (
        "from vlmtools import load, prompt_of\n"
        f"for kind in ('int8', 'int4'): load({str(folders('smolvlm'))!r}, quantize=kind).generate([prompt_of()])"
    )
    path = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    setup = f"import sys; sys.path[:0] = {path}\n{code}"
    done = subprocess.run([sys.executable, "-c", setup], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_unknown_kind_is_refused(folders: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match="quantize 'int3': give one of none, int8, int4"):
        load(folders("git"), quantize="int3")


@pytest.mark.parametrize("absent", ["bitsandbytes", "accelerate"])
def test_a_missing_package_gives_the_command(
    absent: str, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend(monkeypatch, absent=absent)
    with pytest.raises(MissingExtraError, match=rf'{absent}.*pip install "ragvlm\[quantized\]"'):
        load(folders("git"), quantize="int8")


@needs
def test_what_bitsandbytes_cannot_do_is_one_line(
    folders: Callable[[str], Path], altered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import bitsandbytes

    with pytest.raises(InputError, match="is quantized already: give quantize=none"):
        load(altered(quantization_config={"quant_method": "bitsandbytes"}), quantize="int4")
    monkeypatch.setattr(bitsandbytes, "supported_torch_devices", {"cuda"})
    with pytest.raises(InputError, match=r"quantize=int4: bitsandbytes knows cuda, not cpu: give quantize=none$"):
        load(folders("git"), quantize="int4")
    _pretend(monkeypatch, present="kernels")
    with pytest.raises(InputError, match=r"fetches compiled code from the hub .* trust_remote_code=true$"):
        load(folders("git"), quantize="int4")


def _pretend(monkeypatch: pytest.MonkeyPatch, absent: str = "", present: str = "") -> None:
    real = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return None if name == absent else real("json" if name == present else name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)
