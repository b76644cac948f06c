"""BiomedCLIP, QuiltNet, MobileCLIP and SigLIP of open_clip: against open_clip itself, from a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from openclips import BUILDERS, CONFIG, WEIGHTS, edit, load, noise
from PIL import Image

from ragvlm.corpus import Corpus
from ragvlm.encoders.openclip import OpenClipEncoder
from ragvlm.errors import RagvlmError
from ragvlm.index import Index
from ragvlm.types import Query

CAPTIONS = ["nuclei", "a coffee cup", "Light micrograph of a stained peripheral blood smear, one white cell."]


@pytest.mark.parametrize("family", BUILDERS)
def test_vectors_and_probabilities_are_those_of_open_clip(
    family: str, openclip_encoders: dict[str, OpenClipEncoder], altered_openclip: Callable[[str], Path]
) -> None:
    import open_clip
    import torch

    encoder, folder = openclip_encoders[family], altered_openclip(family)
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
    name: str, openclip_encoders: dict[str, OpenClipEncoder], altered_openclip: Callable[[str], Path]
) -> None:
    folder = altered_openclip("biomedclip")
    CHANGES[name](folder)
    assert load(folder).fingerprint != openclip_encoders["biomedclip"].fingerprint


def test_the_folder_may_move_and_the_text_tower_may_lie_elsewhere(
    openclips: dict[str, Path], openclip_encoders: dict[str, OpenClipEncoder], altered_openclip: Callable[[str], Path]
) -> None:
    elsewhere = load(openclips["biomedclip"], text_tower=str(openclips["bert"]))
    assert (
        load(altered_openclip("biomedclip")).fingerprint
        == openclip_encoders["biomedclip"].fingerprint
        == elsewhere.fingerprint
    )


@pytest.mark.parametrize("family", ["biomedclip", "mobileclip"])
def test_the_number_type_counts_and_hardly_turns_the_vectors(
    family: str, openclip_encoders: dict[str, OpenClipEncoder], whole_openclips: dict[str, Path]
) -> None:
    full, half = openclip_encoders[family], load(whole_openclips[family], dtype="bfloat16")
    assert full.fingerprint != half.fingerprint
    assert half.options["dtype"] == "bfloat16"
    pictures = [noise((90, 50))]
    assert half.encode_images(pictures) @ full.encode_images(pictures).T == pytest.approx(1, abs=0.01)
    assert half.encode_texts(CAPTIONS)[2] @ full.encode_texts(CAPTIONS)[2] == pytest.approx(1, abs=0.01)
    assert half.logit_scale == full.logit_scale


def test_a_tokenizers_own_code_runs_only_when_it_is_trusted_and_counts(
    openclip_encoders: dict[str, OpenClipEncoder],
    altered_openclip: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder, plain = altered_openclip("siglip"), openclip_encoders["siglip"]
    edit(folder / CONFIG, lambda t: t["model_cfg"]["text_cfg"]["tokenizer_kwargs"].update(trust_remote_code=True))
    edit(folder / "tokenizer_config.json", lambda t: t.update(auto_map={"AutoTokenizer": [None, "own.Own"]}))
    code = "from transformers import PreTrainedTokenizerFast\n\nclass Own(PreTrainedTokenizerFast):\n    pass\n"
    (folder / "own.py").write_text(code)
    with pytest.raises(RagvlmError, match=r"brings Python code of its own.+give trust_remote_code=True"):
        load(folder)
    trusted = load(folder, trust_remote_code=True)
    assert type(trusted._tokenizer.tokenizer).__name__ == "Own"
    assert (trusted.encode_texts(CAPTIONS) == plain.encode_texts(CAPTIONS)).all()
    (folder / "own.py").write_text(code + "\n")
    assert load(folder, trust_remote_code=True).fingerprint != trusted.fingerprint


@pytest.fixture(scope="module")
def smears(shared_data: Path) -> Corpus:
    corpus = Corpus.load(shared_data / "blood-cells")
    return Corpus.from_records(corpus.records[:6], root=corpus.root, name="smears")


@pytest.mark.parametrize("family", BUILDERS)
def test_it_indexes_and_retrieves_across_the_modalities(
    family: str, smears: Corpus, openclip_encoders: dict[str, OpenClipEncoder], tmp_path: Path
) -> None:
    encoder = openclip_encoders[family]
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
