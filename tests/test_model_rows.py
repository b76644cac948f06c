"""Every row of the table that names a checkpoint: loaded by its name from a folder, put to real pictures, reloaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import biovilts
import checkpoints
import numpy as np
import openclips
import pytest
import tinyclassifiers
import tinymoondream
import tinyvilt
import tinyvlm

import ragvlm as rv
from ragvlm.catalogue import catalogue
from ragvlm.classifiers import load_classifier
from ragvlm.images import open_image

# name of the row -> what saves a checkpoint of its architecture, tiny and random, to a folder
ENCODERS: dict[str, Callable[[Path], Path]] = {
    "biomedclip": openclips.biomedclip,
    "quiltnet": openclips.quiltnet,
    "mobileclip": openclips.mobileclip,
    "biovil-t": biovilts.biovilt,
    "clip": checkpoints.clip,
    "pubmedclip": lambda folder: checkpoints.pickled(checkpoints.clip(folder)),  # as its repository
    "clipmd": checkpoints.clip,
    "plip": lambda folder: checkpoints.pickled(checkpoints.clip(folder)),
    "medsiglip": checkpoints.siglip,
    "vit": partial(tinyclassifiers.build, "vit"),
    "resnet": partial(tinyclassifiers.build, "resnet"),
}
GENERATORS: dict[str, Callable[[Path], Path]] = {
    "smolvlm": partial(tinyvlm.build, "smolvlm"),
    "smolvlm2": partial(tinyvlm.build, "smolvlm2"),
    "medgemma": partial(tinyvlm.build, "medgemma"),
    "qwen-vl": partial(tinyvlm.build, "qwen2.5-vl"),
    "llava": partial(tinyvlm.build, "llava"),
    "paligemma": partial(tinyvlm.build, "paligemma"),
    "paligemma2": partial(tinyvlm.build, "paligemma2"),
    "blip2": partial(tinyvlm.build, "blip2-t5"),
    "git": partial(tinyvlm.build, "git"),
    "moondream": tinymoondream.build,
    "vilt": lambda folder: checkpoints.pickled(tinyvilt.build(folder)),
}
CLASSIFIERS: dict[str, Callable[[Path], Path]] = {
    "vit": partial(tinyclassifiers.build, "vit"),
    "resnet": partial(tinyclassifiers.build, "resnet"),
}
OPTIONS: dict[str, dict[str, Any]] = {"moondream": {"trust_remote_code": True}, "vilt": {}}


def named(kind: str) -> list[str]:
    return [entry.name for entry in catalogue() if entry.kind == kind and entry.hub_id]


def test_every_row_with_a_checkpoint_is_here() -> None:
    assert sorted(ENCODERS) == sorted(named("encoders"))
    assert sorted(GENERATORS) == sorted(named("generators"))
    assert sorted(CLASSIFIERS) == sorted(named("classifiers"))


@pytest.fixture(scope="module")
def smears(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> rv.Corpus:
    """Five real blood smears with their captions, where they lie."""
    source = shared_data / "blood-cells"
    rows = [json.loads(line) for line in (source / "metadata.jsonl").read_text(encoding="utf-8").splitlines()[:5]]
    table = tmp_path_factory.mktemp("smears") / "smears.jsonl"
    key = next(name for name in ("file_name", "image") if name in rows[0])
    told = [{"image": str(source / row[key]), "caption": row["caption"]} for row in rows]
    table.write_text("\n".join(json.dumps(row) for row in told), encoding="utf-8")
    return rv.Corpus.load(table)


@pytest.fixture(scope="module")
def index(smears: rv.Corpus, tmp_path_factory: pytest.TempPathFactory) -> rv.Index:
    return rv.Index.build(smears, tmp_path_factory.mktemp("index") / "index")


def picture(smears: rv.Corpus) -> str:
    return str(smears.records[0].image)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_an_encoder_indexes_retrieves_and_is_reloaded(
    name: str, smears: rv.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    options = {"text_tower": str(tmp_path / "bert")} if name == "biomedclip" else {}
    encoder = rv.load_encoder(name, model=str(ENCODERS[name](tmp_path / "model")), **options)
    built = rv.Index.build(smears, tmp_path / "index", encoder=encoder)
    hits = built.search(picture(smears), k=3)
    assert hits[0].record.id == smears.records[0].id
    assert hits[0].score == pytest.approx(1, abs=1e-3)
    opened = rv.Index.open(tmp_path / "index")  # loads the encoder anew, by the name that the index keeps
    for query in (picture(smears), "many red cells"):
        found = [(hit.record.id, pytest.approx(hit.score, abs=1e-4)) for hit in built.search(query, k=3)]
        assert [(hit.record.id, hit.score) for hit in opened.search(query, k=3)] == found
    if encoder.shared_space:  # pictures found by words and captions by a picture, directly
        assert np.isfinite(encoder.encode_texts(["red"]) @ encoder.encode_images([open_image(picture(smears))]).T).all()
        assert len(opened.search(picture(smears), k=3, mode="text")) == 3
        assert len(opened.search("red", k=3, mode="image")) == 3
    assert len(opened.search(picture(smears), k=3, mode="fused")) == 3


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_a_generator_describes_and_is_reloaded(
    name: str, smears: rv.Corpus, index: rv.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = GENERATORS[name](tmp_path / "model")
    options: dict[str, Any] = {"model": str(folder), **OPTIONS.get(name, {"max_new_tokens": 8})}
    told = []
    for _ in range(2):
        describe = rv.Describer(index, name, k=2, alpha=0, keep_unsupported=True, generator_options=options)
        found = describe(picture(smears), question="what red cells" if name == "vilt" else None)
        assert found.text or found.reason
        assert found.provenance["generator"].endswith(str(folder))
        told.append((found.text, found.reason))
    assert told[0] == told[1]


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_a_classifier_classifies_and_is_reloaded(name: str, smears: rv.Corpus, tmp_path: Path) -> None:
    folder = CLASSIFIERS[name](tmp_path / "model")
    rows = [load_classifier(name, model=str(folder)).classify([open_image(picture(smears))]) for _ in range(2)]
    assert rows[0].sum() == pytest.approx(1, abs=1e-5)
    assert np.array_equal(*rows)


def test_what_was_run_is_said_of_every_row() -> None:
    assert {entry.name for entry in catalogue() if entry.hub_id and entry.run != "tiny"} == {"moondream"}
