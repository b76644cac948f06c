"""The open_clip encoder: against open_clip itself, and what its fingerprint covers. Needs the extra "openclip"."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ragvlm.encoders import load_encoder
from ragvlm.encoders.openclip import OpenClipEncoder
from ragvlm.errors import InputError, RagvlmError
from ragvlm.types import Encoder

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def altered(tiny_folder: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Copies the tiny model with another configuration."""

    def alter(change: Change) -> Path:
        folder = tmp_path / "altered"
        shutil.copytree(tiny_folder, folder)
        path = folder / "open_clip_config.json"
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))
        return folder

    return alter


def load(folder: Path) -> Encoder:
    return load_encoder(f"openclip:local-dir:{folder}", device="cpu")


def test_the_vectors_are_those_of_open_clip(tiny_openclip: Encoder, tiny_folder: Path) -> None:
    import open_clip
    import torch

    picture = Image.effect_noise((50, 30), 90).convert("RGB")
    net, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{tiny_folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny_folder}")
    with torch.inference_mode():
        image = net.eval().encode_image(preprocess(picture)[None], normalize=True).numpy()
        text = net.encode_text(tokenizer(["nuclei"]), normalize=True).numpy()
    np.testing.assert_allclose(tiny_openclip.encode_images([picture]), image, atol=1e-6)
    np.testing.assert_allclose(tiny_openclip.encode_texts(["nuclei"]), text, atol=1e-6)


def test_its_name_gives_the_same_encoder_again(tiny_openclip: Encoder) -> None:
    again = load_encoder(tiny_openclip.name)
    assert (again.name, again.fingerprint) == (tiny_openclip.name, tiny_openclip.fingerprint)
    assert again.shared_space


def test_the_folder_may_move(tiny_openclip: Encoder, altered: Callable[[Change], Path]) -> None:
    assert load(altered(lambda config: None)).fingerprint == tiny_openclip.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["preprocess_cfg"].update(resize_mode="longest"),
        lambda config: config["preprocess_cfg"].update(mean=[0.4, 0.5, 0.5]),
        lambda config: config["model_cfg"]["vision_cfg"].update(pool_type="avg"),
        lambda config: config["model_cfg"].update(quick_gelu=True),
        lambda config: config["model_cfg"]["text_cfg"].update(tokenizer_kwargs={"clean": "whitespace"}),
    ],
    ids=["resize mode", "mean", "pooling", "activation", "tokenizer"],
)
def test_the_fingerprint_covers_the_configuration(
    change: Change, tiny_openclip: Encoder, altered: Callable[[Change], Path]
) -> None:
    assert load(altered(change)).fingerprint != tiny_openclip.fingerprint


def test_the_fingerprint_covers_every_weight(tiny_openclip: Encoder, altered: Callable[[Change], Path]) -> None:
    from safetensors.torch import load_file, save_file

    folder = altered(lambda config: None)
    path = folder / "open_clip_model.safetensors"
    tensors = load_file(path)
    tensors["logit_scale"] += 1e-3
    save_file(tensors, path)
    assert load(folder).fingerprint != tiny_openclip.fingerprint


def test_remote_code_is_refused(altered: Callable[[Change], Path]) -> None:
    folder = altered(lambda c: c["model_cfg"]["text_cfg"].update(tokenizer_kwargs={"trust_remote_code": True}))
    with pytest.raises(RagvlmError, match="brings Python code of its own"):
        load(folder)


def test_pickled_code_is_refused(altered: Callable[[Change], Path]) -> None:
    import torch

    folder = altered(lambda config: None)
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": print}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(RagvlmError, match="can't be loaded"):
        load(folder)


def test_missing_weights_are_one_line(altered: Callable[[Change], Path], capfd: pytest.CaptureFixture[str]) -> None:
    folder = altered(lambda config: None)
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(RagvlmError, match=r"holds no open_clip_model\.safetensors or [^\n]+: give a"):
        load(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("model", ["local-dir:nowhere", "ViT-B-32", "hf-hub:BiomedCLIP", "No-Such-Model/tag"])
def test_names_that_cannot_be_are_refused(model: str) -> None:
    pytest.importorskip("open_clip")
    with pytest.raises(InputError, match=r"open_clip_config\.json|give hf-hub|no such architecture"):
        OpenClipEncoder(model)


@pytest.mark.parametrize("device", ["gpu please", "cuda"])
def test_devices_that_are_not_there_are_refused(device: str, tiny_folder: Path) -> None:
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(InputError, match=r"device '.*': "):
        OpenClipEncoder(f"local-dir:{tiny_folder}", device=device)


def test_without_network_and_cache_the_error_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    code = (
        "from ragvlm.encoders import load_encoder; from ragvlm.errors import RagvlmError\n"
        "try: load_encoder('openclip')\nexcept RagvlmError as error: print(error)"
    )
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    assert "BiomedCLIP" in done.stdout
    assert "is not in the local cache and HF_HUB_OFFLINE is set" in done.stdout
