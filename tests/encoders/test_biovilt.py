"""BioViL-T: against its authors' package, on a checkpoint of its true classes with random weights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from biovilts import IMAGE_WEIGHTS, biovilt
from hubserver import COMMIT, Hub, serve
from PIL import Image

from ragvlm.corpus import Corpus
from ragvlm.encoders import load_encoder
from ragvlm.encoders.biovilt import BioViLTEncoder
from ragvlm.errors import InputError, RagvlmError
from ragvlm.index import Index
from ragvlm.types import Query

TEXTS = ["Light micrograph of blood.", "no white cell", "a coffee cup!", "..."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("health_multimodal")
    return biovilt(tmp_path_factory.mktemp("biovilt"))


@pytest.fixture(scope="module")
def encoder(folder: Path) -> BioViLTEncoder:
    return load(folder)


@pytest.fixture
def altered(folder: Path, tmp_path: Path) -> Path:
    """A copy whose files may be replaced: links, since one of them is large."""
    copy = tmp_path / "altered"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).symlink_to(path)
    return copy


def load(model: Path | str, **options: Any) -> BioViLTEncoder:
    found = load_encoder("biovil-t", model=str(model), device="cpu", **options)
    assert isinstance(found, BioViLTEncoder)
    return found


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def edit(path: Path, **changes: Any) -> None:
    replace(path, json.dumps(json.loads(path.read_text()) | changes).encode())


def test_the_vectors_are_those_of_its_authors_package(encoder: BioViLTEncoder, folder: Path, tmp_path: Path) -> None:
    import torch
    from health_multimodal.image.data.transforms import create_chest_xray_transform_for_inference
    from health_multimodal.image.inference_engine import ImageInferenceEngine
    from health_multimodal.text.model import CXRBertModel, CXRBertTokenizer

    transform = create_chest_xray_transform_for_inference(resize=512, center_crop_size=448)
    engine = ImageInferenceEngine(encoder._pictures, transform)
    pictures = [Image.effect_noise((600, 500), 40), Image.effect_noise((90, 120), 90).convert("RGB")]
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    images = [engine.get_projected_global_embedding(tmp_path / f"{i}.png").numpy() for i in range(2)]
    found = encoder.encode_images([picture.convert("RGB") for picture in pictures])
    np.testing.assert_allclose(found, images, atol=1e-5)
    # its text engine calls a method of the tokenizer that transformers 5 hasn't, so its two steps are repeated here
    text, tokenizer = CXRBertModel.from_pretrained(folder).eval(), CXRBertTokenizer.from_pretrained(folder)
    tokens = tokenizer([t.rstrip("!?.") for t in TEXTS[:3]], padding="longest", return_tensors="pt")
    with torch.inference_mode():
        wanted = text.get_projected_text_embeddings(tokens.input_ids, tokens.attention_mask).numpy()
    np.testing.assert_allclose(encoder.encode_texts(TEXTS[:3]), wanted, atol=1e-5)


def test_it_gives_unit_rows_for_whatever_comes(encoder: BioViLTEncoder) -> None:
    plain = [Image.new("RGB", (1, 1), "white"), Image.new("RGB", (40, 30), "gray")]
    for vectors in (encoder.encode_images(plain), encoder.encode_texts([*TEXTS, "cell " * 600])):
        assert (vectors.dtype, vectors.shape[1]) == (np.float32, 128)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    one, many = encoder.encode_texts(TEXTS[:1]), encoder.encode_texts(TEXTS)
    np.testing.assert_allclose(one[0], many[0], atol=1e-5)
    cosines = many @ many.T
    assert (cosines[~np.eye(len(TEXTS), dtype=bool)] < 0.9999).all()


def test_its_probabilities_are_a_softmax_of_its_cosines(encoder: BioViLTEncoder) -> None:
    cosines = np.array([[0.5, 0.1]], dtype=np.float32)
    assert encoder.similarity_to_probabilities(cosines)[0, 0] == pytest.approx(1 / (1 + np.exp(-0.4)))
    assert (encoder.logit_scale, encoder.logit_bias, encoder.probability_rule) == (1.0, None, "softmax")
    with pytest.raises(InputError, match="logit_scale is 0: give a number above 0"):
        BioViLTEncoder("a/b", logit_scale=0)


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the model as lab/biovilt, an empty cache, and a client that looks there."""
    from huggingface_hub import constants

    with serve({"lab/biovilt": folder}) as server:
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server


def test_a_hub_id_is_downloaded_once_without_its_code_and_the_number_type_counts(
    hub: Hub, encoder: BioViLTEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    first = load(f"lab/biovilt@{COMMIT}")
    assert (first.name, first.fingerprint) == (f"biovil-t:lab/biovilt@{COMMIT}", encoder.fingerprint)
    assert not any(path.endswith(".py") for path in hub.requests)
    asked = len(hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    half = load(first.model, revision=COMMIT, dtype="bfloat16")
    assert len(hub.requests) == asked
    assert half.options == {"dtype": "bfloat16"}
    assert half.fingerprint != encoder.fingerprint
    assert (half.encode_texts(TEXTS) * encoder.encode_texts(TEXTS)).sum(axis=1) == pytest.approx(1, abs=0.01)


def test_a_gated_and_an_unreachable_model_are_one_line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add("lab/biovilt")
    with pytest.raises(RagvlmError, match=r"^lab/biovilt is gated: accept the terms at"):
        load("lab/biovilt")
    monkeypatch.setattr(hub, "answer", lambda path: (503, {}, b""))
    with pytest.raises(RagvlmError, match=r"^lab/biovilt is not in the local cache and can't be fetched \(.*503"):
        load("lab/biovilt")


def _nudge(copy: Path) -> None:
    import torch

    state = torch.load(copy / IMAGE_WEIGHTS, weights_only=True)
    state["projector.model.3.bias"][0] += 1e-3
    (copy / IMAGE_WEIGHTS).unlink()
    torch.save(state, copy / IMAGE_WEIGHTS)


CHANGES: dict[str, Callable[[Path], object]] = {
    "picture tower": _nudge,
    "word": lambda copy: replace(copy / "vocab.txt", (copy / "vocab.txt").read_bytes() + b"\neffusion"),
    "activation": lambda copy: edit(copy / "config.json", hidden_act="relu"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_fingerprint_covers(name: str, altered: Path, encoder: BioViLTEncoder) -> None:
    CHANGES[name](altered)
    assert load(altered).fingerprint != encoder.fingerprint


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def _pickle(copy: Path) -> None:
    import torch

    (copy / IMAGE_WEIGHTS).unlink()
    torch.save({"weights": Harmful()}, copy / IMAGE_WEIGHTS)


ERRORS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no picture tower": (lambda copy: (copy / IMAGE_WEIGHTS).unlink(), rf"holds no {IMAGE_WEIGHTS}: give a complete"),
    "no text tower": (lambda copy: (copy / "model.safetensors").unlink(), r"holds no model\.safetensors"),
    "a pickle that runs something": (_pickle, r"can't be loaded \(Weights only load failed"),
    "half a tower": (lambda copy: replace(copy / IMAGE_WEIGHTS, b"PK"), r"can't be loaded \("),
    "another width": (lambda copy: edit(copy / "config.json", projection_size=64), r"can't be loaded"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_loaded_is_one_line(
    name: str, altered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change, message = ERRORS[name]
    change(altered)
    with pytest.raises(RagvlmError, match=message) as caught:
        load(altered)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_it_indexes_and_retrieves_across_the_modalities(
    encoder: BioViLTEncoder, shared_data: Path, tmp_path: Path
) -> None:
    found = Corpus.load(shared_data / "blood-cells")
    corpus = Corpus.from_records(found.records[:3], root=found.root, name="smears")
    built = Index.build(corpus, tmp_path / "index", encoder=encoder, hash_subject=False, calibrate=False)
    index = Index.open(built.path)  # it finds the encoder by its name
    assert index.encoder.name == encoder.name
    record = corpus.records[2]
    path, caption = str(corpus.image_path(record)), str(record.caption)
    both = Query("both", Image.open(path).convert("RGB"), caption)
    assert index.search(path, k=3)[0].record.id == record.id
    assert index.search(both, k=3, mode="fused")[0].record.id == record.id
    pictures = encoder.encode_images([Image.open(str(corpus.image_path(r))).convert("RGB") for r in corpus.records])
    captions = encoder.encode_texts([str(r.caption) for r in corpus.records])
    for mode, query, scores in (("image", caption, pictures @ captions[2]), ("text", path, captions @ pictures[2])):
        hits = [hit.score for hit in index.search(query, k=3, mode=mode, duplicates="off")]
        assert hits == pytest.approx(sorted(scores, reverse=True), abs=2e-3)
