"""Checkpoints by hub id: from an HTTP server on this machine, from the cache, and what is said without either."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import pickled
from hubserver import COMMIT, Hub, serve

from ragvlm.encoders import load_encoder
from ragvlm.encoders.hub import file_digests, split_revision
from ragvlm.encoders.openclip import OpenClipEncoder
from ragvlm.errors import InputError, RagvlmError
from ragvlm.registry import entries

CODE = '''
from transformers import CLIPModel

class Turned(CLIPModel):
    """The text vector turned round, so that one sees whose code ran."""
    def get_text_features(self, *args, **kwargs):
        return -super().get_text_features(*args, **kwargs).pooler_output
'''


@pytest.fixture
def hub(checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the tiny CLIP as lab/clip, an empty cache, and a client that looks there."""
    from huggingface_hub import constants

    with serve({"lab/clip": checkpoints["clip"]}) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_a_hub_id_is_downloaded_once_and_then_needs_no_network(
    hub: Hub, checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["lab/clip"] = tmp_path / "clip"
    shutil.copytree(checkpoints["clip"], tmp_path / "clip")
    (tmp_path / "clip" / "README.md").touch()  # a repository holds more than is wanted
    encoder = load_encoder(f"transformers:lab/clip@{COMMIT}")
    assert not any("README" in path for path in hub.requests)
    assert encoder.name == f"transformers:lab/clip@{COMMIT}"
    assert encoder.fingerprint == load_encoder(f"transformers:{checkpoints['clip']}").fingerprint
    asked = len(hub.requests)
    assert load_encoder(encoder.name).fingerprint == encoder.fingerprint
    offline(monkeypatch)
    assert load_encoder("transformers:lab/clip", revision=COMMIT).fingerprint == encoder.fingerprint
    assert len(hub.requests) == asked


def test_what_a_cache_lacks_is_fetched(hub: Hub, tmp_path: Path) -> None:
    encoder = load_encoder("transformers:lab/clip")
    (weights,) = tmp_path.glob("cache/models--lab--clip/snapshots/*/model.safetensors")
    weights.unlink()
    assert load_encoder("transformers:lab/clip").fingerprint == encoder.fingerprint


def test_what_another_tool_left_out_is_fetched(hub: Hub, checkpoints: dict[str, Path]) -> None:
    from huggingface_hub import hf_hub_download

    hf_hub_download("lab/clip", "config.json", endpoint=hub.url)
    encoder = load_encoder("transformers:lab/clip")
    assert encoder.fingerprint == load_encoder(f"transformers:{checkpoints['clip']}").fingerprint


def test_a_gated_model_says_how_to_get_access(hub: Hub) -> None:
    hub.gated.add("lab/clip")
    with pytest.raises(
        RagvlmError,
        match=r"^lab/clip is gated: accept the terms at https://huggingface\.co/lab/clip, then run `hf auth",
    ):
        load_encoder("transformers:lab/clip")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("lab/none", "^lab/none is not on the hub, or is private: check the name"),
        ("lab/clip@v9", "^lab/clip has no revision 'v9': give a branch, a tag or a commit"),
    ],
)
def test_unknown_names_and_revisions_are_said_so(model: str, message: str, hub: Hub) -> None:
    with pytest.raises(RagvlmError, match=message):
        load_encoder(f"transformers:{model}")


def test_offline_without_a_cached_model_nothing_is_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch)
    with pytest.raises(
        RagvlmError, match=r"^google/medsiglip-448@\w+ is not in the local cache and HF_HUB_OFFLINE is set"
    ):
        load_encoder("medsiglip")
    assert not hub.requests


@pytest.mark.parametrize(
    "name", ["transformers:lab/clip", f"transformers:lab/clip@{COMMIT}", "openclip:hf-hub:lab/clip"]
)
def test_without_network_one_request_fails_and_none_is_repeated(
    name: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> tuple[int, dict[str, str], bytes]:
        return 503, {}, b""

    monkeypatch.setattr(hub, "answer", refuse)
    model = name.partition(":")[2]
    with pytest.raises(RagvlmError, match=r"can't be fetched \(.*503.*\): check the name and the network"):
        OpenClipEncoder(model) if name.startswith("openclip") else load_encoder(name)
    assert len([path for path in hub.requests if "/lab/clip" in path]) == 1


def test_a_state_dict_is_read_where_there_are_no_safetensors(
    hub: Hub, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    old = pickled(Path(shutil.copytree(checkpoints["clip"], tmp_path / "old")))
    hub.repos["lab/old"] = old
    first = load_encoder(f"transformers:{checkpoints['clip']}")
    for model in ("lab/old", str(old)):
        encoder = load_encoder(f"transformers:{model}")
        assert encoder.encode_texts(["a cell"]) == pytest.approx(first.encode_texts(["a cell"]), abs=1e-6)
        assert encoder.fingerprint != first.fingerprint  # other bytes


def test_a_pickle_that_would_run_something_is_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    import torch

    old = pickled(Path(shutil.copytree(checkpoints["clip"], tmp_path / "old")))
    torch.save({"logit_scale": print}, old / "pytorch_model.bin")
    with pytest.raises(RagvlmError, match=r"can't be loaded \(.*[Ww]eights"):
        load_encoder(f"transformers:{old}")


def test_a_repository_without_weights_is_named(hub: Hub, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    bare = Path(shutil.copytree(checkpoints["clip"], tmp_path / "bare"))
    (bare / "model.safetensors").unlink()
    hub.repos["lab/bare"] = bare
    for model in ("lab/bare", str(bare)):
        with pytest.raises(RagvlmError, match=r"holds no model\.safetensors and no pytorch_model\.bin: give"):
            load_encoder(f"transformers:{model}")


def test_remote_code_runs_only_when_it_is_trusted_and_counts(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder = tmp_path / "turned"
    shutil.copytree(checkpoints["clip"], folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "modeling_turned.Turned"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_turned.py").write_text(CODE)
    with pytest.raises(RagvlmError, match=r"brings Python code of its own.+give trust_remote_code=True"):
        load_encoder(f"transformers:{folder}")
    turned = load_encoder(f"transformers:{folder}", trust_remote_code=True)
    plain = load_encoder(f"transformers:{checkpoints['clip']}")
    assert turned.encode_texts(["nuclei"]) == pytest.approx(-plain.encode_texts(["nuclei"]), abs=1e-6)
    before = file_digests(folder, code=True)
    (folder / "modeling_turned.py").write_text(CODE + "\n")
    assert file_digests(folder, code=True) != before


@pytest.mark.parametrize("model", ["", "clip", "local-dir:nowhere", "/no/such/folder", "a/b/c", "../x/y z"])
def test_names_that_cannot_be_are_refused(model: str) -> None:
    with pytest.raises(InputError, match=r"is neither a folder nor a hub id: give FOLDER|stands for no checkpoint"):
        load_encoder("transformers", model=model)


def test_a_given_revision_wins() -> None:
    assert split_revision("a/b@old", "new") == ("a/b", "new")
    assert split_revision("a/b@old", None) == ("a/b", "old")
    assert split_revision("a/b", None) == ("a/b", None)


@pytest.mark.parametrize("name", ["clip", "pubmedclip", "medsiglip", "clipmd", "plip"])
def test_the_named_rows_name_their_checkpoint(name: str) -> None:
    entry = entries("encoders")[name]
    repo, revision = split_revision(str(entry.model), None)
    assert repo == entry.hub_id
    assert revision is None or len(revision) == 40
