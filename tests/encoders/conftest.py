"""The encoders that the contract is tried on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ragvlm.encoders import load_encoder
from ragvlm.encoders.embedded import EmbeddedEncoder
from ragvlm.encoders.openclip import OpenClipEncoder
from ragvlm.types import Encoder


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the tests' own: the export runs once a session, and never in the user's cache."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(model_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RAGVLM_CACHE", str(model_cache))
    yield


@pytest.fixture(scope="session")
def embedded(model_cache: Path) -> Iterator[EmbeddedEncoder]:
    """The default encoder, its towers exported."""
    from PIL import Image

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGVLM_CACHE", str(model_cache))
        encoder = EmbeddedEncoder(threads=1)
        encoder.encode_images([Image.new("RGB", (8, 8))])
        encoder.encode_texts(["nuclei"])
        yield encoder


TINY = {
    "model_cfg": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"},
}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of open_clip: real code, random weights."""
    open_clip = pytest.importorskip("open_clip")
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("tiny")
    (folder / "open_clip_config.json").write_text(json.dumps(TINY))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = open_clip.model.CLIP(**TINY["model_cfg"])
    save_file(net.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def tiny_openclip(tiny_folder: Path) -> Encoder:
    """The open_clip encoder on the tiny model."""
    return load_encoder(f"openclip:local-dir:{tiny_folder}", device="cpu")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family -> folder of a tiny checkpoint of transformers."""
    pytest.importorskip("sentencepiece")
    from checkpoints import BUILDERS
    from transformers.utils import logging

    logging.disable_progress_bar()
    root = tmp_path_factory.mktemp("checkpoints")
    return {family: build(root / family) for family, build in BUILDERS.items()}


@pytest.fixture(scope="session")
def tiny_clip(checkpoints: dict[str, Path]) -> Encoder:
    """The transformers encoder on the tiny CLIP."""
    return load_encoder(f"transformers:{checkpoints['clip']}", device="cpu")


@pytest.fixture(scope="session")
def tiny_siglip(checkpoints: dict[str, Path]) -> Encoder:
    """The transformers encoder on the tiny SigLIP."""
    return load_encoder(f"transformers:{checkpoints['siglip']}", device="cpu")


@pytest.fixture(scope="session")
def tiny_vit(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """A tiny ViT beside the embedded text tower."""
    from tinyclassifiers import build

    return load_encoder(f"image:{build('vit', tmp_path_factory.mktemp('vit'))}", device="cpu")


@pytest.fixture(scope="session")
def tiny_resnet(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """A tiny ResNet beside the embedded text tower."""
    from tinyclassifiers import build

    return load_encoder(f"image:{build('resnet', tmp_path_factory.mktemp('resnet'))}", device="cpu")


@pytest.fixture(scope="session")
def tiny_siglip2(checkpoints: dict[str, Path]) -> Encoder:
    """The transformers encoder on the tiny SigLIP 2 of native shape."""
    return load_encoder(f"transformers:{checkpoints['siglip2']}", device="cpu")


@pytest.fixture(scope="session")
def tiny_onnx(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """The transformers encoder on the tiny SigLIP 2 of fixed resolution, run by ONNX Runtime."""
    return load_encoder(f"transformers:{_copy(checkpoints['siglip2-fixed'], tmp_path_factory)}", runtime="onnx")


@pytest.fixture(scope="session")
def tiny_int8(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """The transformers encoder on the tiny CLIP, quantised."""
    return load_encoder(f"transformers:{_copy(checkpoints['clip'], tmp_path_factory)}", precision="int8")


def _copy(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # an export carries its checkpoint's name: other tests of these weights shall not find it in the cache
    return Path(shutil.copytree(folder, tmp_path_factory.mktemp("copy") / f"{folder.name}-onnx"))


@pytest.fixture(scope="session")
def openclips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family -> folder of a tiny checkpoint of open_clip; "bert" is the repository of BiomedCLIP's text tower."""
    pytest.importorskip("open_clip")
    from openclips import BUILDERS

    root = tmp_path_factory.mktemp("openclips")
    return {family: build(root / family) for family, build in BUILDERS.items()} | {"bert": root / "bert"}


@pytest.fixture(scope="session")
def whole_openclips(openclips: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same with BiomedCLIP's text tower beside its weights, as one who works without a network has them."""
    folder = tmp_path_factory.mktemp("whole") / "biomedclip"
    shutil.copytree(openclips["biomedclip"], folder)
    shutil.copytree(openclips["bert"], folder, dirs_exist_ok=True)
    return openclips | {"biomedclip": folder}


@pytest.fixture(scope="session")
def openclip_encoders(whole_openclips: dict[str, Path]) -> dict[str, OpenClipEncoder]:
    """Family -> its encoder."""
    from openclips import BUILDERS, load

    return {family: load(whole_openclips[family]) for family in BUILDERS}


@pytest.fixture
def altered_openclip(whole_openclips: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copies a tiny checkpoint of open_clip, to be changed."""
    return lambda family: Path(shutil.copytree(whole_openclips[family], tmp_path / "altered"))
