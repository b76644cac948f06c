"""The models behind the names: found, fetched from a hub, tried out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import checkpoints
import hubserver
import pytest
from PIL import Image
from test_cli import lines, refuse, run

from ragvlm.catalogue import catalogue, check, named
from ragvlm.errors import InputError
from ragvlm.modelpage import page
from ragvlm.registry import entries

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_page_of_models_is_the_table() -> None:
    assert (DOCS / "models.md").read_text(encoding="utf-8") == page(catalogue())


def test_a_name_is_found_in_every_kind() -> None:
    assert {e.kind for e in named("vit")} == {"encoders", "classifiers"}
    assert [e.kind for e in named("vit", "classifier")] == ["classifiers"]
    assert named("transformers:lab/clip")[0].name == "transformers"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("klip", None, "unknown model 'klip': choose one of embedded"),
        ("embedded", "generator", "unknown generator 'embedded': choose one of consensus"),
        ("clip", "tower", "unknown kind 'tower': choose one of encoder"),
    ],
)
def test_what_is_not_there_is_one_line(name: str, kind: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        named(name, kind)


@pytest.mark.parametrize("name", ["consensus", "nearest"])
def test_a_generator_without_weights_writes_at_once(name: str) -> None:
    (facts,) = check(name)
    assert facts["text"].startswith("A blood smear")


def test_the_default_encoder_is_tried_on_the_given_picture() -> None:
    (facts,) = check("embedded", image=Image.new("RGB", (64, 48), "pink"))
    assert (facts["image_dim"], facts["text_dim"], facts["shared_space"]) == (1664, 384, False)


def test_a_checkpoint_is_tried_from_its_folder(tmp_path: Path) -> None:
    (facts,) = lines(
        run("models", "check", f"transformers:{checkpoints.clip(tmp_path)}", "--dtype", "float32", "--json")
    )
    assert facts["shared_space"] is True
    assert -1 <= facts["cosine"] <= 1
    assert facts["seconds"]["load"] > 0
    assert facts["dtype"] == "float32"  # as --dtype takes it


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hubserver.Hub]:
    folder = checkpoints.clip(tmp_path / "clip")
    with hubserver.serve({"lab/clip": folder}) as server:
        yield server


def test_pull_fetches_once_and_check_then_needs_no_network(hub: hubserver.Hub, tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    (first,) = lines(run("models", "pull", "transformers:lab/clip", "--json", env=env))
    assert (Path(first["folder"]) / "model.safetensors").is_file()
    assert first["bytes"] > 0
    asked = len(hub.requests)
    (second,) = lines(run("models", "pull", "transformers:lab/clip", "--json", env=env))
    assert second == first
    assert len(hub.requests) == asked
    offline = {**env, "HF_HUB_OFFLINE": "1"}
    (facts,) = lines(run("models", "check", "transformers:lab/clip", "--json", env=offline))
    assert facts["image_dim"] == 24


def test_a_checkpoint_is_usable_once_it_is_in_the_cache(tmp_path: Path) -> None:
    def row() -> dict[str, object]:
        return dict(lines(run("models", "show", "clip", "--json", env={"HF_HOME": str(tmp_path)}))[0])

    clip = entries("encoders")["clip"]
    assert (row()["usable"], row()["command"]) == (False, "ragvlm models pull clip")
    name = f"models--{str(clip.hub_id).replace('/', '--')}"
    snapshot = tmp_path / "hub" / name / "snapshots" / str(clip.revision)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    assert not row()["usable"]
    (snapshot / "model.safetensors").touch()
    assert (row()["usable"], row()["command"]) == (True, None)


def test_what_has_nothing_to_fetch_says_why() -> None:
    assert "its weights come with the package" in refuse("models", "pull", "embedded")
    assert "it has no weights to fetch" in refuse("models", "pull", "consensus")
    assert "name a model, as in transformers:ORG/NAME" in refuse("models", "pull", "transformers")
    assert "HF_HUB_OFFLINE" in run("models", "pull", "clip", code=2, env={"HF_HUB_OFFLINE": "1"}).stderr


def test_show_prints_all_facts_of_a_row() -> None:
    (facts,) = lines(run("models", "show", "medsiglip", "--json"))
    assert facts["hub_id"] == "google/medsiglip-448"
    assert facts["gated"] is True
    assert facts["revision"] == entries("encoders")["medsiglip"].revision
    text = " ".join(run("models", "show", "medsiglip").stdout.split())
    assert "google/medsiglip-448" in text
    assert "Health AI Developer Foundations terms" in text
    assert json.loads(run("models", "--json").stdout)


def test_exported_towers_serve_an_index(tmp_path: Path) -> None:
    encoder = f"transformers:{checkpoints.clip(tmp_path / 'clip')}"
    run("corpus", "simulate", tmp_path / "corpus", "--n", 6, "--kind", "dna_nuclei")
    env = {"RAGVLM_CACHE": str(tmp_path / "cache")}
    options = ("--precision", "int8", "--corpus", tmp_path / "corpus", "--most", 3)
    (report,) = lines(run("models", "export", encoder, *options, "--json", env=env))
    assert [tower["tower"] for tower in report["towers"]] == ["image", "text"]
    assert all(0.9 < tower["least_cosine"] <= tower["mean_cosine"] <= 1 for tower in report["towers"])
    option = ("--encoder-option", "precision=int8")
    run("index", tmp_path / "corpus", "--out", tmp_path / "index", "--encoder", encoder, *option, env=env)
    (found,) = lines(run("search", "nuclei", "--index", tmp_path / "index", "-k", 2, "--json", env=env))
    assert len(found["hits"]) == 2
    assert "has no export" in refuse("models", "export", "embedded")
