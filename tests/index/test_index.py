"""Opening and reading an index: what is there and what is found."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tiny import ColourEncoder, build, make_corpus, of, paint

from ragvlm.errors import EncoderMismatchError, InputError
from ragvlm.images import perceptual_hash, pixel_hash
from ragvlm.index import Index
from ragvlm.pseudonym import Pseudonymizer
from ragvlm.types import Record


@pytest.fixture
def built(tmp_path: Path) -> Index:
    """Eight records in segments of three rows."""
    return build(make_corpus(tmp_path / "corpus"), tmp_path / "index", segment_rows=3)


def test_records_come_back_as_they_went_in(built, tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    opened = Index.open(built.path)
    assert list(opened.records) == list(corpus.records)
    assert opened.records[-1] == corpus.records[-1]
    assert opened.records[2:4] == list(corpus.records[2:4])
    assert len(opened) == len(opened.records) == 8
    assert opened.image_path(opened.records[0]) == tmp_path / "corpus" / "p00.png"


@pytest.mark.parametrize("store", ["numpy", "faiss"])
def test_the_nearest_picture_has_the_colour(tmp_path, store):
    index = build(make_corpus(tmp_path / "c"), tmp_path / "i", store=store)
    vectors = index.encoder.encode_images([Image.new("RGB", (3, 3), (0, 0, 249))])
    scores, positions = index.image_store.search(vectors, 3)
    found = [index.records[index.image_rows[p]].labels["colour"] for p in positions[0]]
    assert found[:2] == ["blue", "blue"]
    assert found[2] != "blue"
    assert scores[0, 1] > 0.99 > scores[0, 2]
    scores, positions = index.text_store.search(index.encoder.encode_texts(["green"]), 2)
    assert [index.records[index.text_rows[p]].id for p in positions[0]] == ["a01", "a05"]


def test_embeddings_are_those_of_the_encoder(built):
    index = Index.open(built.path)
    picture = Image.open(index.image_path(index.records[3]))
    wanted = ColourEncoder().encode_images([picture])
    assert index.image_embeddings([3]) == pytest.approx(wanted, abs=1e-3)  # half precision on disk
    assert np.linalg.norm(index.image_embeddings(range(8)), axis=1) == pytest.approx(np.ones(8), abs=1e-6)
    assert index.content_hashes[3] == pixel_hash(picture)
    assert index.rows.phash[3] == perceptual_hash(picture)


def test_rows_without_picture_or_caption(tmp_path):
    paint(tmp_path / "c/p.png", "red")
    records = [
        Record(id="words", caption="only green words"),
        Record(id="picture", image="p.png", caption="  "),
        Record(id="both", image="p.png", caption="red"),
    ]
    built = build(of(tmp_path / "c", records), tmp_path / "i")
    index = Index.open(built.path)
    assert index.image_rows.tolist() == [1, 2]
    assert index.text_rows.tolist() == [0, 2]
    assert np.isnan(index.image_embeddings([0])).all()
    assert np.isnan(index.text_embeddings([2, 1, 0])).all(axis=1).tolist() == [False, True, False]
    assert (index.content_hashes[0], index.rows.phash[0]) == (None, 0)
    assert index.records[1].caption is None
    assert (index.manifest.counts.pictures, index.manifest.counts.captions) == (2, 2)


def test_captions_alone(tmp_path):
    built = build(
        of(tmp_path, [Record(id="a", caption="red"), Record(id="b", caption="blue")]),
        tmp_path / "i",
        encoder=ColourEncoder(),
    )
    index = Index.open(built.path)
    assert index.image_store is None
    assert len(index.image_rows) == 0
    assert np.isnan(index.image_embeddings([0, 1])).all()
    assert len(index.text_store) == 2


def test_info(built):
    facts = Index.open(built.path).info()
    json.dumps(facts)
    assert facts["records"] == facts["pictures"] == facts["captions"] == 8
    assert (facts["segments"], facts["complete"], facts["skipped"]) == (3, True, 0)
    assert (facts["encoder"], facts["store"], facts["corpus"]) == ("colour", "auto", "colours")
    assert facts["sources"] == {"brush": 8}
    assert facts["licences"] == {"": 4, "CC0-1.0": 4}
    assert facts["bytes"] == sum(p.stat().st_size for p in built.path.rglob("*") if p.is_file())
    assert facts["fingerprint"] == built.fingerprint


def test_labels_and_extra_of_any_type(tmp_path):
    extra = {"list": [1, "é"], "nan": float("nan"), "array": np.arange(3), "path": Path("x")}
    record = Record(id="a", caption="red", labels={"n": 3, "ok": True, "f": 0.5}, extra=extra)
    index = build(of(tmp_path, [replace(record, extra={})]), tmp_path / "i")
    assert index.records[0].labels == {"n": 3, "ok": True, "f": 0.5}
    from ragvlm.index.segments import to_json

    assert json.loads(to_json(extra)) == {"list": [1, "é"], "nan": None, "array": [0, 1, 2], "path": "x"}


def test_opening_loads_neither_encoder_nor_heavy_packages(built):
    code = (
        "import sys; from ragvlm.index import Index; i = Index.open(sys.argv[1]); len(i); i.fingerprint; "
        "print([m for m in ('torch', 'transformers', 'onnxruntime', 'pandas', 'faiss', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(built.path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_another_store_than_the_manifests(built):
    before = sorted(built.path.rglob("*"))
    index = Index.open(built.path, store="numpy")
    assert index.image_store.name == "numpy"
    assert sorted(built.path.rglob("*")) == before


def test_another_encoder(built):
    other = ColourEncoder(version="2")
    for act in (
        lambda: Index.open(built.path, encoder=other),
        lambda: build(make_corpus(built.path.parent / "corpus"), built.path, encoder=other),
    ):
        with pytest.raises(EncoderMismatchError) as caught:
            act()
        for name in (built.manifest.encoder_fingerprint[:12], other.fingerprint[:12], "'colour'"):
            assert name in str(caught.value)


def test_the_encoder_is_loaded_by_name_and_compared(built, monkeypatch):
    import ragvlm.encoders

    given = []
    monkeypatch.setattr(ragvlm.encoders, "load_encoder", lambda name: given.append(name) or ColourEncoder(version="3"))
    index = Index.open(built.path)
    assert not given
    with pytest.raises(EncoderMismatchError):
        _ = index.encoder
    assert given == ["colour"]


def test_an_opened_index_has_no_report(built):
    with pytest.raises(InputError, match="opened, not built"):
        _ = Index.open(built.path).report


def test_subjects_are_hashed_with_the_key(tmp_path, monkeypatch):
    import ragvlm.pseudonym

    key = Pseudonymizer(b"0" * 32)
    build(make_corpus(tmp_path / "c"), tmp_path / "i", hash_subject=key)
    index = Index.open(tmp_path / "i")
    assert index.records[0].subject_id == index.records[1].subject_id == key("s0")
    assert index.records[0].study_id == key("t1")
    assert index.manifest.subject_key == key.fingerprint
    stored = pq.read_table(index.path / "segments/000001.parquet").to_pylist()
    assert not {"s0", "s1", "t1"} & {value for row in stored for value in row.values() if isinstance(value, str)}
    monkeypatch.setattr(ragvlm.pseudonym, "pseudonymizer", lambda: key)
    assert index.pseudonym("s0") == key("s0")
    monkeypatch.setattr(ragvlm.pseudonym, "pseudonymizer", lambda: Pseudonymizer(b"1" * 32))
    with pytest.raises(InputError, match="RAGVLM_SUBJECT_KEY"):
        index.pseudonym("s0")


def test_plain_subjects_need_no_key(built):
    assert built.pseudonym("s0") == "s0"


def test_segments_can_be_read_by_pandas_and_datasets(built, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.concat([pandas.read_parquet(p) for p in sorted((built.path / "segments").iterdir())])
    assert frame["id"].tolist() == [record.id for record in built.records]
    vectors = np.stack(frame["image_embedding"].tolist())
    assert vectors.dtype == np.float16
    assert vectors.astype(np.float32) == pytest.approx(built.image_embeddings(range(8)), abs=1e-3)
    assert [int(digits, 16) for digits in frame["phash"]] == built.rows.phash.tolist()
    assert json.loads(frame["labels"].iloc[0]) == {"colour": "red", "number": 0}
    datasets = pytest.importorskip("datasets")
    files = [str(p) for p in sorted((built.path / "segments").iterdir())]
    table = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert table[7]["id"] == "a07"
    assert len(table[7]["text_embedding"]) == 4


def test_an_index_can_be_moved(built, tmp_path):
    moved = shutil.move(built.path, tmp_path / "moved")
    index = Index.open(moved)
    assert len(index.image_store) == 8
    assert index.fingerprint == built.fingerprint
