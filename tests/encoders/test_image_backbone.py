"""Image backbones of transformers beside the embedded text tower: against transformers itself, on tiny checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hubserver import COMMIT, the_only_hub
from PIL import Image
from tinyclassifiers import build, edit

from ragvlm.corpus import Corpus
from ragvlm.encoders import load_encoder
from ragvlm.encoders.embedded import EmbeddedEncoder
from ragvlm.encoders.image_backbone import ImageBackboneEncoder
from ragvlm.errors import EncoderMismatchError, InputError, RagvlmError
from ragvlm.index import Index
from ragvlm.registry import entries
from ragvlm.types import Query

PICTURES = [Image.effect_noise((50, 30), 90).convert("RGB"), Image.new("RGB", (40, 40), "red")]
FAMILIES = ("vit", "deit", "resnet", "dinov2", "swin", "convnext", "vit_msn", "ijepa")
PREFIX = {"vit": 1, "deit": 2, "dinov2": 1, "vit_msn": 1}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds a family's checkpoint once."""
    root = tmp_path_factory.mktemp("backbones")
    return lambda family: root / family if (root / family).is_dir() else build(family, root / family)


@pytest.fixture
def altered(backbones: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a family's checkpoint to be changed."""
    return lambda family: shutil.copytree(backbones(family), tmp_path / family)


def load(folder: Path, **options: Any) -> ImageBackboneEncoder:
    found = load_encoder(f"image:{folder}", **options)
    assert isinstance(found, ImageBackboneEncoder)
    return found


def outputs(folder: Path) -> Any:
    """What transformers' own base model makes of the pictures."""
    import torch
    from transformers import AutoImageProcessor, AutoModel

    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=PICTURES, return_tensors="pt")
    with torch.inference_mode():
        return AutoModel.from_pretrained(folder).eval()(**pixels)


def unit(vectors: Any) -> np.ndarray[Any, Any]:
    matrix = vectors.numpy().reshape(len(PICTURES), -1)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_vectors_are_the_pooled_output_of_transformers(family: str, backbones: Callable[[str], Path]) -> None:
    encoder, wanted = load(backbones(family)), outputs(backbones(family))
    pooling = {"vit": "cls", "deit": "cls", "vit_msn": "cls", "ijepa": "mean"}.get(family, "pooler")
    assert encoder.pooling == pooling
    vectors = {
        "cls": lambda: wanted.last_hidden_state[:, 0],
        "mean": lambda: wanted.last_hidden_state.mean(1),
        "pooler": lambda: wanted.pooler_output,
    }[pooling]()
    np.testing.assert_allclose(encoder.encode_images(PICTURES), unit(vectors), atol=1e-5)
    assert encoder.image_dim == vectors.shape[1]
    assert not encoder.shared_space


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_a_classification_head_reads_these_vectors(family: str, backbones: Callable[[str], Path]) -> None:
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    net = AutoModelForImageClassification.from_pretrained(backbones(family)).eval()
    pixels = AutoImageProcessor.from_pretrained(backbones(family), backend="pil")(images=PICTURES, return_tensors="pt")
    seen: list[Any] = []
    net.classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        net(**pixels)
    np.testing.assert_allclose(load(backbones(family)).encode_images(PICTURES), unit(seen[0]), atol=1e-5)


@pytest.mark.parametrize("family", ["vit", "deit", "resnet", "dinov2"])
def test_the_mean_leaves_out_what_is_no_patch(family: str, backbones: Callable[[str], Path]) -> None:
    hidden = outputs(backbones(family)).last_hidden_state
    wanted = hidden.mean((2, 3)) if hidden.dim() == 4 else hidden[:, PREFIX[family] :].mean(1)
    found = load(backbones(family), pooling="mean").encode_images(PICTURES)
    np.testing.assert_allclose(found, unit(wanted), atol=1e-5)


def test_words_go_through_the_embedded_text_tower(embedded: EmbeddedEncoder, backbones: Callable[[str], Path]) -> None:
    encoder, texts = load(backbones("resnet")), ["nuclei", "a coffee cup on a table"]
    np.testing.assert_array_equal(encoder.encode_texts(texts), embedded.encode_texts(texts))
    assert encoder.text_dim == 384


def _nudge(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors[min(tensors)] += 1e-3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_the_fingerprint_covers_weights_preprocessing_pooling_and_number_type(
    family: str, backbones: Callable[[str], Path], altered: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load(backbones(family), batch_size=3, threads=1).fingerprint
    assert plain == load(backbones(family)).fingerprint
    assert plain != load(backbones(family), pooling="mean").fingerprint
    assert plain != load(backbones(family), dtype="bfloat16").fingerprint
    folder = altered(family)
    edit(folder, "preprocessor_config.json", image_mean=[0.4, 0.5, 0.5])
    changed = load(folder).fingerprint
    _nudge(folder)
    assert len({plain, changed, load(folder).fingerprint}) == 3


def test_the_fingerprint_covers_the_text_tower(
    backbones: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ragvlm.encoders import image_backbone
    from ragvlm.encoders.embedded import TextTower

    plain = load(backbones("vit")).fingerprint
    monkeypatch.setattr(image_backbone, "TextTower", lambda: TextTower(max_tokens=100))
    assert load(backbones("vit")).fingerprint != plain


@pytest.fixture
def smears(shared_data: Path) -> Corpus:
    corpus = Corpus.load(shared_data / "blood-cells")
    return Corpus.from_records(corpus.records[:8], root=corpus.root, name="smears")


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_an_index_searches_describes_and_opens_again(
    family: str, backbones: Callable[[str], Path], smears: Corpus, tmp_path: Path
) -> None:
    from ragvlm.describe import Describer

    built = Index.build(smears, tmp_path / "index", encoder=load(backbones(family), pooling="mean"), hash_subject=False)
    index = Index.open(built.path)  # finds the encoder and its pooling by itself
    record = smears.records[3]
    path, caption = str(smears.image_path(record)), str(record.caption)
    assert index.search(path, k=3)[0].record.id == record.id
    assert index.search(caption, k=3)[0].score == pytest.approx(1, abs=2e-3)
    both = Query("both", Image.open(path).convert("RGB"), caption)
    assert index.search(both, k=3, mode="fused")[0].record.id == record.id
    with pytest.raises(InputError, match="can't compare words with pictures"):
        index.search(caption, mode="image")
    found = Describer(index, k=3, alpha=0)(path)
    assert found.text
    assert all(item.record_ids for item in found.evidence)
    with pytest.raises(EncoderMismatchError, match="image:"):
        Index.open(built.path, encoder=load(backbones(family), pooling="auto"))


def test_the_named_rows_and_a_hub_id_load_by_one_path(
    backbones: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {str(entries("encoders")[family].hub_id): family for family in ("vit", "resnet")}
    repos = {repo: backbones(family) for repo, family in rows.items()}
    with the_only_hub(repos, tmp_path / "cache", monkeypatch) as hub:
        for repo, family in rows.items():
            encoder = load_encoder(family, revision=COMMIT)
            assert encoder.name == f"image:{repo}@{COMMIT}"
            assert encoder.fingerprint == load(repos[repo]).fingerprint
            asked = len(hub.requests)
            assert load_encoder(encoder.name).fingerprint == encoder.fingerprint
            assert len(hub.requests) == asked  # it is in the cache


def _without_weight(folder: Path, part: str) -> Path:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors[next(name for name in sorted(tensors) if part in name)]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_what_cannot_be_is_one_line(
    backbones: Callable[[str], Path], altered: Callable[[str], Path], tmp_path: Path, checkpoints: dict[str, Path]
) -> None:
    bert = altered("deit")
    edit(bert, "config.json", model_type="bert")
    broken = _without_weight(altered("vit"), "layernorm")
    (altered("swin") / "preprocessor_config.json").unlink()
    for folder, options, message in (
        (backbones("vit"), {"pooling": "max"}, "pooling 'max': give one of auto, pooler, cls, mean"),
        (
            backbones("vit"),
            {"pooling": "pooler"},
            r"2 weights are missing, the first is 'pooler\.dense\..+pooling auto",
        ),
        (backbones("resnet"), {"pooling": "cls"}, "it has no class token: give pooling auto"),
        (backbones("vit_msn"), {"pooling": "pooler"}, "it has no pooled output: give pooling auto"),
        (broken, {}, r"1 weights are missing, the first is '.*layernorm.+: give a complete checkpoint$"),
        (bert, {}, "'bert' model, not one that reads pictures alone"),
        (checkpoints["clip"], {}, "'clip' model, not one that reads pictures alone.+transformers:MODEL"),
        (tmp_path / "swin", {}, r"holds no preprocessor_config\.json"),
    ):
        with pytest.raises(RagvlmError, match=message) as caught:
            load(folder, **options)
        assert "\n" not in str(caught.value)


def test_a_model_that_masks_at_random_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RagvlmError, match="another vector each time"):
        load(build("vit_mae", tmp_path / "mae"))


def test_python_code_of_a_checkpoint_needs_trust(altered: Callable[[str], Path]) -> None:
    folder = edit(altered("vit"), "config.json", auto_map={"AutoModel": "modeling_x.X"})
    with pytest.raises(RagvlmError, match=r"brings Python code of its own.+trust_remote_code=True"):
        load(folder)
    assert json.loads((folder / "config.json").read_text())["auto_map"]
