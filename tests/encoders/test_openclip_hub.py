"""open_clip's models by hub id and by tag: from an HTTP server on this machine, from the cache, without either."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hubserver import COMMIT, Hub, serve
from openclips import CONFIG, WEIGHTS, edit, load, noise

from ragvlm.encoders import load_encoder
from ragvlm.encoders.openclip import OpenClipEncoder
from ragvlm.errors import InputError, RagvlmError


@pytest.fixture(autouse=True)
def hub(openclips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the models as lab/FAMILY, an empty cache, and a client that looks there."""
    from huggingface_hub import constants

    with serve({f"lab/{family}": folder for family, folder in openclips.items()}) as server:
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server


@pytest.mark.parametrize("family", ["biomedclip", "quiltnet", "siglip"])
def test_folder_and_hub_give_one_encoder_and_the_cache_needs_no_network(
    family: str, openclip_encoders: dict[str, OpenClipEncoder], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    encoder = load(f"hf-hub:lab/{family}@{COMMIT}")
    assert encoder.name == f"openclip:hf-hub:lab/{family}@{COMMIT}"
    assert encoder.fingerprint == openclip_encoders[family].fingerprint
    asked = len(hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    again = load_encoder("quiltnet", model=f"hf-hub:lab/{family}", revision=COMMIT)  # a row takes another checkpoint
    assert (again.name, again.fingerprint) == (encoder.name, encoder.fingerprint)
    assert len(hub.requests) == asked


def test_only_one_of_two_forms_of_the_weights_is_downloaded(
    openclips: dict[str, Path], hub: Hub, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    both = tmp_path / "both"
    shutil.copytree(openclips["siglip"], both)
    torch.save(load_file(both / WEIGHTS), both / "open_clip_pytorch_model.bin")
    hub.repos["lab/both"] = both
    encoder = load("hf-hub:lab/both")
    assert not any(path.endswith(".bin") for path in hub.requests)
    (both / WEIGHTS).unlink()
    assert load(both).fingerprint == encoder.fingerprint  # the same tensors, from the pickled state dict


def test_a_text_tower_is_pinned(hub: Hub) -> None:
    encoder = load("hf-hub:lab/biomedclip", text_tower=f"lab/bert@{COMMIT}")
    assert encoder.options == {"dtype": "float32", "text_tower": f"lab/bert@{COMMIT}"}
    assert any(f"/lab/bert/resolve/{COMMIT}/tokenizer.json" in path for path in hub.requests)


def test_fetching_brings_all_that_loading_needs(
    openclip_encoders: dict[str, OpenClipEncoder], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    tower = f"lab/bert@{COMMIT}"
    folders = OpenClipEncoder.fetch("hf-hub:lab/biomedclip", text_tower=tower)
    assert all((folder / name).is_file() for folder, name in zip(folders, (WEIGHTS, "tokenizer.json"), strict=True))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    encoder = load("hf-hub:lab/biomedclip", text_tower=tower)
    assert encoder.fingerprint == openclip_encoders["biomedclip"].fingerprint


def test_a_text_tower_that_cannot_be_had_is_one_line(
    openclips: dict[str, Path], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    del hub.repos["lab/bert"]
    with pytest.raises(RagvlmError, match="takes its text tower from another repository: lab/bert is not on the hub"):
        load(openclips["biomedclip"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RagvlmError, match=r"another repository: lab/bert is not in the local cache and HF_HUB_OFFLINE"):
        load(openclips["biomedclip"])


def test_a_gated_model_says_how_to_get_access(hub: Hub) -> None:
    hub.gated.add("lab/quiltnet")
    with pytest.raises(RagvlmError, match=r"^lab/quiltnet is gated: accept the terms at https://huggingface\.co/lab/"):
        load("hf-hub:lab/quiltnet")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("hf-hub:lab/none", "^lab/none is not on the hub, or is private"),
        ("hf-hub:lab/siglip@v9", "^lab/siglip has no revision 'v9'"),
        ("hf-hub:lab/bert", "^lab/bert holds no open_clip_config.json: it is no checkpoint of open_clip"),
    ],
)
def test_what_the_hub_does_not_have_is_said_so(model: str, message: str) -> None:
    with pytest.raises(RagvlmError, match=message):
        load(model)


@pytest.fixture
def tag(openclips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An architecture and a tag of open_clip's own lists, whose weights lie in a repository."""
    from open_clip import factory, pretrained

    config = json.loads((openclips["quiltnet"] / CONFIG).read_text())["model_cfg"]
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny-ViT", config)
    facts = {"hf_hub": "lab/quiltnet/", "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2), "quick_gelu": True}
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-ViT", {"lab1m": facts})
    return "tiny-ViT/lab1m"


def test_a_tag_brings_its_weights_preprocessing_and_activation(
    tag: str, altered_openclip: Callable[[str], Path]
) -> None:
    encoder = load(tag)
    folder = altered_openclip("quiltnet")
    edit(folder / CONFIG, lambda t: t["model_cfg"].update(quick_gelu=True))
    edit(folder / CONFIG, lambda t: t.update(preprocess_cfg={"mean": [0.5] * 3, "std": [0.2] * 3}))
    same, pictures = load(folder), [noise((90, 50))]
    assert encoder.fingerprint == same.fingerprint
    assert (encoder.encode_images(pictures) == same.encode_images(pictures)).all()
    assert load_encoder(encoder.name).fingerprint == encoder.fingerprint


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("tiny-ViT/none", "no such tag for tiny-ViT; it knows lab1m"),
        ("ViT/lab1m", "no such architecture"),
        ("tiny-ViT/lab1m@v1", "a tag has no revisions"),
    ],
)
def test_tags_that_cannot_be_are_refused(tag: str, model: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(model)
