"""BiomedCLIP, QuiltNet, MobileCLIP and SigLIP of open_clip: against open_clip itself, by folder, hub id and tag."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hubserver import COMMIT, Hub, serve
from openclips import BUILDERS, CONFIG
from PIL import Image

from ragvlm.corpus import Corpus
from ragvlm.encoders import load_encoder
from ragvlm.encoders.openclip import OpenClipEncoder
from ragvlm.errors import InputError, RagvlmError
from ragvlm.index import Index
from ragvlm.types import Query

Change = Callable[[dict[str, Any]], object]
CAPTIONS = ["nuclei", "a coffee cup", "Light micrograph of a stained peripheral blood smear, one white cell."]
WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family -> folder; "bert" is the repository that BiomedCLIP's text tower names."""
    pytest.importorskip("open_clip")
    root = tmp_path_factory.mktemp("openclips")
    return {family: build(root / family) for family, build in BUILDERS.items()} | {"bert": root / "bert"}


@pytest.fixture(autouse=True)
def hub(models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the models as lab/FAMILY, an empty cache, and a client that looks there."""
    from huggingface_hub import constants

    with serve({f"lab/{family}": folder for family, folder in models.items()}) as server:
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server


@pytest.fixture(scope="session")
def whole(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The models with BiomedCLIP's text tower beside its weights, as one who works without a network has them."""
    folder = tmp_path_factory.mktemp("whole") / "biomedclip"
    shutil.copytree(models["biomedclip"], folder)
    shutil.copytree(models["bert"], folder, dirs_exist_ok=True)
    return models | {"biomedclip": folder}


@pytest.fixture(scope="session")
def encoders(whole: dict[str, Path]) -> dict[str, OpenClipEncoder]:
    return {family: load(whole[family]) for family in BUILDERS}


@pytest.fixture
def altered(whole: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copies a model."""
    return lambda family: Path(shutil.copytree(whole[family], tmp_path / "altered"))


def load(model: Path | str, **options: Any) -> OpenClipEncoder:
    name = f"local-dir:{model}" if isinstance(model, Path) else model
    found = load_encoder("openclip", model=name, device="cpu", **options)
    assert isinstance(found, OpenClipEncoder)
    return found


def edit(path: Path, change: Change) -> None:
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


def noise(size: tuple[int, int]) -> Image.Image:
    return Image.effect_noise(size, 90).convert("RGB")


@pytest.mark.parametrize("family", BUILDERS)
def test_vectors_and_probabilities_are_those_of_open_clip(
    family: str, encoders: dict[str, OpenClipEncoder], altered: Callable[[str], Path]
) -> None:
    import open_clip
    import torch

    encoder, folder = encoders[family], altered(family)
    for name in ("hf_model_name", "hf_tokenizer_name"):  # open_clip itself would ask the hub
        edit(
            folder / CONFIG,
            lambda t, name=name: name in (c := t["model_cfg"]["text_cfg"]) and c.update({name: str(folder)}),
        )
    net, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(CAPTIONS)
    pictures = [noise((90, 50)), noise((30, 200)), Image.new("RGB", (40, 40), "red")]
    pixels = torch.stack([preprocess(picture) for picture in pictures])
    with torch.inference_mode():
        images, texts = net.eval().encode_image(pixels, normalize=True), net.encode_text(tokens, normalize=True)
        logits = net.get_logits(pixels, tokens)[0]
    found = encoder.encode_images(pictures), encoder.encode_texts(CAPTIONS)
    np.testing.assert_allclose(found[0], images.numpy(), atol=1e-5)
    np.testing.assert_allclose(found[1], texts.numpy(), atol=1e-5)
    wanted = logits.sigmoid() if family == "siglip" else logits.softmax(dim=-1)
    np.testing.assert_allclose(encoder.similarity_to_probabilities(found[0] @ found[1].T), wanted.numpy(), atol=1e-5)
    assert encoder.probability_rule == ("sigmoid" if family == "siglip" else "softmax")
    assert encoder.logit_bias == (-2 if family == "siglip" else None)
    assert encoder.logit_scale == pytest.approx(np.exp(1.5))


@pytest.mark.parametrize("family", ["biomedclip", "quiltnet", "siglip"])
def test_folder_and_hub_give_one_encoder_and_the_cache_needs_no_network(
    family: str, encoders: dict[str, OpenClipEncoder], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    encoder = load(f"hf-hub:lab/{family}@{COMMIT}")
    assert encoder.name == f"openclip:hf-hub:lab/{family}@{COMMIT}"
    assert encoder.fingerprint == encoders[family].fingerprint
    asked = len(hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    again = load_encoder("quiltnet", model=f"hf-hub:lab/{family}", revision=COMMIT)  # a row takes another checkpoint
    assert (again.name, again.fingerprint) == (encoder.name, encoder.fingerprint)
    assert len(hub.requests) == asked


def test_only_one_of_two_forms_of_the_weights_is_downloaded(models: dict[str, Path], hub: Hub, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    both = tmp_path / "both"
    shutil.copytree(models["siglip"], both)
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
    encoders: dict[str, OpenClipEncoder], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    tower = f"lab/bert@{COMMIT}"
    folders = OpenClipEncoder.fetch("hf-hub:lab/biomedclip", text_tower=tower)
    assert all((folder / name).is_file() for folder, name in zip(folders, (WEIGHTS, "tokenizer.json"), strict=True))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    encoder = load("hf-hub:lab/biomedclip", text_tower=tower)
    assert encoder.fingerprint == encoders["biomedclip"].fingerprint


def test_a_text_tower_that_cannot_be_had_is_one_line(
    models: dict[str, Path], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    del hub.repos["lab/bert"]
    with pytest.raises(RagvlmError, match="takes its text tower from another repository: lab/bert is not on the hub"):
        load(models["biomedclip"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RagvlmError, match=r"another repository: lab/bert is not in the local cache and HF_HUB_OFFLINE"):
        load(models["biomedclip"])


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


def _weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    tensors["visual.head.proj.weight"][0, 0] += 1e-3
    save_file(tensors, folder / WEIGHTS)


def _word(folder: Path) -> None:
    edit(folder / "tokenizer.json", lambda t: t["model"]["vocab"].update(nucleus=9999))


CHANGES: dict[str, Callable[[Path], object]] = {
    "weight": _weights,
    "mean": lambda folder: edit(folder / CONFIG, lambda t: t["preprocess_cfg"].update(mean=[0, 0, 0])),
    "word": _word,
    "pooling": lambda folder: edit(
        folder / CONFIG, lambda t: t["model_cfg"]["text_cfg"].update(hf_pooler_type="mean_pooler")
    ),
    "tower's activation": lambda folder: edit(folder / "config.json", lambda t: t.update(hidden_act="relu")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_fingerprint_covers(
    name: str, encoders: dict[str, OpenClipEncoder], altered: Callable[[str], Path]
) -> None:
    folder = altered("biomedclip")
    CHANGES[name](folder)
    assert load(folder).fingerprint != encoders["biomedclip"].fingerprint


def test_the_folder_may_move_and_the_text_tower_may_lie_elsewhere(
    models: dict[str, Path], encoders: dict[str, OpenClipEncoder], altered: Callable[[str], Path]
) -> None:
    elsewhere = load(models["biomedclip"], text_tower=str(models["bert"]))
    assert load(altered("biomedclip")).fingerprint == encoders["biomedclip"].fingerprint == elsewhere.fingerprint


@pytest.mark.parametrize("family", ["biomedclip", "mobileclip"])
def test_the_number_type_counts_and_hardly_turns_the_vectors(
    family: str, encoders: dict[str, OpenClipEncoder], whole: dict[str, Path]
) -> None:
    full, half = encoders[family], load(whole[family], dtype="bfloat16")
    assert full.fingerprint != half.fingerprint
    assert half.options["dtype"] == "bfloat16"
    pictures = [noise((90, 50))]
    assert half.encode_images(pictures) @ full.encode_images(pictures).T == pytest.approx(1, abs=0.01)
    assert half.encode_texts(CAPTIONS)[2] @ full.encode_texts(CAPTIONS)[2] == pytest.approx(1, abs=0.01)
    assert half.logit_scale == full.logit_scale


def test_a_tokenizers_own_code_runs_only_when_it_is_trusted_and_counts(
    encoders: dict[str, OpenClipEncoder],
    altered: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder, plain = altered("siglip"), encoders["siglip"]
    edit(folder / CONFIG, lambda t: t["model_cfg"]["text_cfg"]["tokenizer_kwargs"].update(trust_remote_code=True))
    edit(folder / "tokenizer_config.json", lambda t: t.update(auto_map={"AutoTokenizer": [None, "own.Own"]}))
    code = "from transformers import PreTrainedTokenizerFast\n\nclass Own(PreTrainedTokenizerFast):\n    pass\n"
    (folder / "own.py").write_text(code)
    with pytest.raises(RagvlmError, match=r"asks for remote code.+give trust_remote_code=True"):
        load(folder)
    trusted = load(folder, trust_remote_code=True)
    assert type(trusted._tokenizer.tokenizer).__name__ == "Own"
    assert (trusted.encode_texts(CAPTIONS) == plain.encode_texts(CAPTIONS)).all()
    (folder / "own.py").write_text(code + "\n")
    assert load(folder, trust_remote_code=True).fingerprint != trusted.fingerprint


@pytest.fixture
def tag(models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An architecture and a tag of open_clip's own lists, whose weights lie in a repository."""
    from open_clip import factory, pretrained

    config = json.loads((models["quiltnet"] / CONFIG).read_text())["model_cfg"]
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny-ViT", config)
    facts = {"hf_hub": "lab/quiltnet/", "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2), "quick_gelu": True}
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-ViT", {"lab1m": facts})
    return "tiny-ViT/lab1m"


def test_a_tag_brings_its_weights_preprocessing_and_activation(tag: str, altered: Callable[[str], Path]) -> None:
    encoder = load(tag)
    folder = altered("quiltnet")
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


@pytest.fixture(scope="module")
def smears(shared_data: Path) -> Corpus:
    corpus = Corpus.load(shared_data / "blood-cells")
    return Corpus.from_records(corpus.records[:6], root=corpus.root, name="smears")


@pytest.mark.parametrize("family", BUILDERS)
def test_it_indexes_and_retrieves_across_the_modalities(
    family: str, smears: Corpus, encoders: dict[str, OpenClipEncoder], tmp_path: Path
) -> None:
    encoder = encoders[family]
    built = Index.build(smears, tmp_path / "index", encoder=encoder, hash_subject=False, calibrate=False)
    index = Index.open(built.path)  # it finds the encoder by its name
    assert index.encoder.name == encoder.name
    record = smears.records[3]
    path, caption = str(smears.image_path(record)), str(record.caption)
    assert index.search(path, k=3)[0].record.id == record.id
    assert index.search(caption, k=3)[0].score == pytest.approx(1, abs=2e-3)  # half precision on disk
    both = Query("both", Image.open(path).convert("RGB"), caption)
    assert index.search(both, k=3, mode="fused")[0].record.id == record.id
    pictures = encoder.encode_images([Image.open(str(smears.image_path(r))).convert("RGB") for r in smears.records])
    captions = encoder.encode_texts([str(r.caption) for r in smears.records])
    for mode, query, scores in (("image", caption, pictures @ captions[3]), ("text", path, captions @ pictures[3])):
        found = [hit.score for hit in index.search(query, k=6, mode=mode, duplicates="off")]
        assert found == pytest.approx(sorted(scores, reverse=True), abs=2e-3)
