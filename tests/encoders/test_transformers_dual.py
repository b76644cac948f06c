"""CLIP, SigLIP and SigLIP 2 of transformers: against transformers itself, on tiny checkpoints of the true classes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import BUILDERS
from PIL import Image

from ragvlm.corpus import Corpus
from ragvlm.encoders import load_encoder
from ragvlm.encoders.transformers_dual import TransformersEncoder
from ragvlm.errors import EncoderMismatchError, RagvlmError
from ragvlm.index import Index
from ragvlm.types import Float32, Query

Change = Callable[[Path], object]
CAPTIONS = ["nuclei", "a coffee cup", "Light micrograph of a stained peripheral blood smear, one white cell."]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE=1, which the client reads once, when it is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(params=list(BUILDERS))
def folder(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> Path:
    """A checkpoint of each family in turn."""
    return checkpoints[request.param]


@pytest.fixture
def altered(checkpoints: dict[str, Path], tmp_path: Path) -> Callable[[str, Change], Path]:
    """Copies a checkpoint and changes the copy."""

    def alter(family: str, change: Change) -> Path:
        copy = tmp_path / family
        shutil.copytree(checkpoints[family], copy)
        change(copy)
        return copy

    return alter


def load(folder: Path, **options: Any) -> TransformersEncoder:
    found = load_encoder(f"transformers:{folder}", **options)
    assert isinstance(found, TransformersEncoder)
    return found


def edit(name: str, change: Callable[[dict[str, Any]], object]) -> Change:
    """A change of the JSON file ``name``."""

    def apply(folder: Path) -> None:
        table = json.loads((folder / name).read_text())
        change(table)
        (folder / name).write_text(json.dumps(table))

    return apply


def nudge(folder: Path) -> None:
    """Change one weight a little."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["logit_scale"] += 1e-3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def noise(size: tuple[int, int]) -> Image.Image:
    return Image.effect_noise(size, 90).convert("RGB")


def reference(folder: Path, pictures: list[Image.Image], texts: list[str]) -> Any:
    """What transformers' own forward pass makes of them, by the padding that each family was trained with."""
    import torch
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    net = AutoModel.from_pretrained(folder).eval()
    padding = (
        {"padding": "max_length", "max_length": 64, "truncation": True}
        if "siglip" in folder.name
        else {"padding": True}
    )
    tokens = AutoTokenizer.from_pretrained(folder)(texts, return_tensors="pt", **padding)
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=pictures, return_tensors="pt")
    with torch.inference_mode():
        return net(**tokens, **pixels)


def test_the_vectors_are_those_of_transformers(folder: Path) -> None:
    pictures, encoder = [noise((50, 30)), noise((30, 90)), Image.new("RGB", (40, 40), "red")], load(folder)
    wanted = reference(folder, pictures, CAPTIONS)
    np.testing.assert_allclose(encoder.encode_images(pictures), wanted.image_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(CAPTIONS), wanted.text_embeds.numpy(), atol=1e-5)


def test_the_probabilities_are_those_of_the_models_own_logits(folder: Path) -> None:
    pictures, encoder = [noise((50, 30)), Image.new("RGB", (40, 40), "red")], load(folder)
    logits = reference(folder, pictures, CAPTIONS).logits_per_image
    sigmoid = "siglip" in folder.name
    wanted = (logits.sigmoid() if sigmoid else logits.softmax(dim=-1)).numpy()
    scores = encoder.encode_images(pictures) @ encoder.encode_texts(CAPTIONS).T
    found = encoder.similarity_to_probabilities(scores)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert found.dtype == np.float32
    assert encoder.probability_rule == ("sigmoid" if sigmoid else "softmax")
    assert encoder.logit_scale == pytest.approx(np.exp(1.5))
    assert encoder.logit_bias == (-2.0 if sigmoid else None)


@pytest.mark.parametrize("scores", [np.full((2, 3), 1e6), np.full((2, 3), -1e6), np.zeros((0, 3))])
def test_probabilities_stay_finite(scores: Float32, folder: Path) -> None:
    found = load(folder).similarity_to_probabilities(scores)
    assert found.shape == scores.shape
    assert np.all((found >= 0) & (found <= 1))


def test_its_name_gives_the_same_encoder_again_and_the_folder_may_move(folder: Path, tmp_path: Path) -> None:
    encoder = load(folder)
    again = load_encoder(encoder.name)
    assert (again.name, again.fingerprint) == (f"transformers:{folder}", encoder.fingerprint)
    shutil.copytree(folder, tmp_path / "moved")
    moved = load_encoder(f"clip:{tmp_path / 'moved'}")  # a named row takes another checkpoint by its folder
    assert moved.fingerprint == encoder.fingerprint
    assert load_encoder("transformers", model=f"local-dir:{folder}").name == encoder.name


def test_loading_is_silent(folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    encoder = load(folder)
    encoder.encode_images([noise((9, 5))])
    encoder.encode_texts(["nuclei " * 200])
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


CHANGES = {
    "weight": ("clip", nudge),
    "mean": ("clip", edit("preprocessor_config.json", lambda t: t.update(image_mean=[0.4, 0.5, 0.5]))),
    "crop": ("clip", edit("preprocessor_config.json", lambda t: t.update(do_center_crop=False))),
    "resampling": ("siglip", edit("preprocessor_config.json", lambda t: t.update(resample=2))),
    "patches": ("siglip2", edit("preprocessor_config.json", lambda t: t.update(max_num_patches=9))),
    "merge": ("clip", edit("tokenizer.json", lambda t: t["model"]["merges"].pop())),
    "case": ("siglip", edit("tokenizer_config.json", lambda t: t.update(do_lower_case=False))),
    "pooled token": ("clip", edit("config.json", lambda t: t["text_config"].update(eos_token_id=2))),
    "activation": ("siglip2", edit("config.json", lambda t: t["vision_config"].update(hidden_act="relu"))),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_the_fingerprint_covers(
    name: str, altered: Callable[[str, Change], Path], checkpoints: dict[str, Path]
) -> None:
    family, change = CHANGES[name]
    assert load(altered(family, change)).fingerprint != load(checkpoints[family]).fingerprint


def test_the_fingerprint_covers_the_sentencepiece_model(
    altered: Callable[[str, Change], Path], checkpoints: dict[str, Path]
) -> None:
    def retrain(folder: Path) -> None:
        from transformers.convert_slow_tokenizer import import_protobuf

        model = import_protobuf().ModelProto.FromString((folder / "spiece.model").read_bytes())
        model.pieces[-1].score += 1.0
        (folder / "spiece.model").write_bytes(model.SerializeToString())

    assert load(altered("siglip", retrain)).fingerprint != load(checkpoints["siglip"]).fingerprint


def test_the_fingerprint_covers_the_number_type_and_not_the_batch(folder: Path) -> None:
    full = load(folder, batch_size=3, device="cpu", dtype="float32")
    half = load(folder, dtype="bfloat16")
    assert full.fingerprint == load(folder).fingerprint != half.fingerprint
    pictures = [noise((50, 30))]
    assert half.encode_images(pictures) @ full.encode_images(pictures).T == pytest.approx(1, abs=0.01)
    assert half.encode_texts(CAPTIONS).dtype == np.float32


@pytest.fixture
def smears(shared_data: Path) -> Corpus:
    corpus = Corpus.load(shared_data / "blood-cells")
    return Corpus.from_records(corpus.records[:8], root=corpus.root, name="smears")


def test_it_indexes_and_retrieves_across_the_modalities(folder: Path, smears: Corpus, tmp_path: Path) -> None:
    encoder = load(folder)
    built = Index.build(smears, tmp_path / "index", encoder=encoder, hash_subject=False, calibrate=False)
    index = Index.open(built.path)  # it finds the encoder by its name
    assert index.encoder.name == encoder.name
    record = smears.records[3]
    path, caption = str(smears.image_path(record)), str(record.caption)
    hits = index.search(path, k=8)
    # random weights may see smears alike to within the half precision on disk
    assert record.id in {hit.record.id for hit in hits if hit.score > hits[0].score - 2e-3}
    assert index.search(caption, k=3)[0].score == pytest.approx(1, abs=2e-3)  # half precision on disk
    both = Query("both", Image.open(path).convert("RGB"), caption)
    assert record.id in {hit.record.id for hit in index.search(both, k=3, mode="fused")}
    pictures = [Image.open(str(smears.image_path(r))).convert("RGB") for r in smears.records]
    for mode, query, scores in (
        ("image", caption, encoder.encode_images(pictures) @ encoder.encode_texts([caption])[0]),
        (
            "text",
            path,
            encoder.encode_texts([str(r.caption) for r in smears.records]) @ encoder.encode_images(pictures[3:4])[0],
        ),
    ):
        found = [hit.score for hit in index.search(query, k=8, mode=mode, duplicates="off")]
        assert found == pytest.approx(sorted(scores, reverse=True), abs=2e-3)


def test_an_index_of_another_checkpoint_is_refused(
    smears: Corpus, altered: Callable[[str, Change], Path], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "index"
    Index.build(smears, out, encoder=load(checkpoints["clip"]), hash_subject=False, calibrate=False)
    with pytest.raises(EncoderMismatchError, match="clip"):
        Index.open(out, encoder=load(altered("clip", nudge)))


def _remove(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def _shorten(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _forget(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


ERRORS = {
    "no config": (_remove("config.json"), r"holds no config\.json: give a complete checkpoint"),
    "no weights": (_remove("model.safetensors"), r"holds no model\.safetensors and no pytorch_model\.bin: give"),
    "no preprocessing": (_remove("preprocessor_config.json"), r"holds no preprocessor_config\.json"),
    "no tokenizer": (_remove("tokenizer.json"), r"holds no tokenizer\.json"),
    "half a config": (lambda f: (f / "config.json").write_text("{"), r"config\.json can't be read \("),
    "half the weights": (_shorten, r"can't be loaded \(.+\): give a complete checkpoint"),
    "a weight less": (_forget, r"can't be loaded: 1 weights are missing, the first is 'visual_projection\.weight'"),
    "another width": (edit("config.json", lambda t: t.update(projection_dim=25)), r"can't be loaded \("),
    "a text model": (edit("config.json", lambda t: t.update(model_type="bert")), "'bert' model, not a dual encoder"),
    "half a CLIP": (edit("config.json", lambda t: t.update(model_type="clip_vision_model")), "not a dual encoder"),
    "an unknown model": (edit("config.json", lambda t: t.update(model_type="x")), r"can't be loaded \("),
    "remote code": (
        edit("config.json", lambda t: t.update(auto_map={"AutoModel": "modeling_tiny.Tiny"})),
        r"brings Python code of its own.+trust_remote_code=True",
    ),
}


@pytest.mark.parametrize("name", list(ERRORS))
def test_what_cannot_be_loaded_is_one_line(
    name: str, altered: Callable[[str, Change], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    change, message = ERRORS[name]
    with pytest.raises(RagvlmError, match=message) as caught:
        load(altered("clip", change))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
