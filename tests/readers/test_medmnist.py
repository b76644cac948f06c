"""MedMNIST's .npz files: labels by name, pixels unchanged, nothing unpickled, nothing unbounded."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from publicsets import medmnist

from ragvlm.corpus import Corpus
from ragvlm.errors import CorpusError, RagvlmError
from ragvlm.images import open_image
from ragvlm.readers import find_reader


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RAGVLM_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["retinamnist.npz", "RetinaMNIST_64.npz"])
def test_grades_keep_their_numbers(tmp_path, name):
    path = medmnist(tmp_path / name)
    assert find_reader(path).name == "medmnist"
    records = list(Corpus.load(path))
    assert [r.id for r in records[:2]] == ["train/000000", "train/000001"]
    assert [r.labels["label"] for r in records] == [str(n % 5) for n in range(12)]
    assert [r.extra["split"] for r in records] == ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    assert records[0].licence == "CC-BY-4.0"


@pytest.mark.parametrize("colour", [True, False])
def test_pixels_come_back_as_they_were(tmp_path, colour):
    path = medmnist(tmp_path / "bloodmnist.npz", classes=8, colour=colour)
    corpus = Corpus.load(path)
    with np.load(path, allow_pickle=False) as arrays:
        wanted = arrays["test_images"]
    for record, pixels in zip(corpus.records[-4:], wanted, strict=True):
        shown = np.asarray(open_image(corpus.image_path(record)))
        assert (shown == (pixels if colour else pixels[..., None])).all()


def test_names_of_labels(tmp_path):
    records = list(Corpus.load(medmnist(tmp_path / "pneumoniamnist.npz", classes=2, colour=False)))
    assert [r.labels["label"] for r in records[:3]] == ["normal", "pneumonia", "normal"]
    unknown = list(Corpus.load(medmnist(tmp_path / "mine.npz", classes=2)))
    assert [r.labels["label"] for r in unknown[:3]] == [0, 1, 0]


def test_several_labels(tmp_path):
    record = Corpus.load(medmnist(tmp_path / "chestmnist.npz", labels=14, colour=False)).records[1]
    assert len(record.labels) == 14
    assert [name for name, there in record.labels.items() if there] == ["cardiomegaly"]


def test_twice_gives_the_same_fingerprint(tmp_path):
    path = medmnist(tmp_path / "retinamnist.npz")
    assert Corpus.load(path).fingerprint == Corpus.load(path).fingerprint


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


IMAGES, LABELS = np.zeros((2, 4, 4), np.uint8), np.zeros((2, 1), np.uint8)
BROKEN = {
    "objects": ({"train_images": np.array([[{}]], object), "train_labels": LABELS}, r"train_images: is object"),
    "volumes": ({"train_images": np.zeros((2, 4, 4, 4), np.uint8), "train_labels": LABELS}, r"volumes: only the 2D"),
    "floats": ({"train_images": IMAGES.astype(float), "train_labels": LABELS}, r"it must hold whole numbers"),
    "deep": ({"train_images": IMAGES.astype(np.uint16), "train_labels": LABELS}, r"is uint16 of shape"),
    "flat": ({"train_images": IMAGES[0, 0], "train_labels": LABELS}, r"it must be uint8 \(n, height, width\)"),
    "wide": ({"train_images": np.zeros((1, 1, 4096), np.uint8), "train_labels": LABELS[:1]}, r"sides up to 2048"),
    "empty side": ({"train_images": np.zeros((2, 0, 4), np.uint8), "train_labels": LABELS}, r"it must be uint8"),
    "columns": ({"train_images": np.asfortranarray(IMAGES), "train_labels": LABELS}, r"row by row"),
    "fewer labels": ({"train_images": IMAGES, "train_labels": LABELS[:1]}, r"_labels: has the shape \(1, 1\), but"),
    "a label too high": ({"train_images": IMAGES, "train_labels": LABELS + 5}, r"row 1: is 5; .* labels 0 to 4$"),
    "other arrays": ({"x": IMAGES}, r"holds no train_images, val_images or test_images"),
    "no labels": ({"train_images": IMAGES}, r"is not an \.npz file that can be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_one_line(tmp_path, name):
    arrays, message = BROKEN[name]
    with pytest.raises(CorpusError, match=message) as caught:
        Corpus.load(save(tmp_path / "retinamnist.npz", **arrays))
    assert "\n" not in str(caught.value)


def test_an_array_that_ends_early(tmp_path):
    path = tmp_path / "x.npz"
    stream = io.BytesIO()
    np.save(stream, np.zeros((5, 28, 28), np.uint8))
    labels = io.BytesIO()
    np.save(labels, np.zeros((5, 1), np.uint8))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test_images.npy", stream.getvalue()[:-1])
        archive.writestr("test_labels.npy", labels.getvalue())
    with pytest.raises(CorpusError, match=r"test_images: ends after row 4 of 5: get the file again"):
        Corpus.load(path)


def test_a_header_that_promises_more_than_memory_holds(tmp_path):
    path = tmp_path / "x.npz"
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (9000000, 2000, 2000), }\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    labels = data.replace(b"(9000000, 2000, 2000)", b"(9000000, 1, 1)      ")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_images.npy", data)
        archive.writestr("train_labels.npy", labels)
    with pytest.raises(CorpusError, match=r"ends after row 0 of 9000000"):
        Corpus.load(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_an_error_or_the_same_records(tmp_path, data):
    whole = medmnist(tmp_path / "retinamnist.npz", n=(2, 1, 1)).read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "damaged" / "retinamnist.npz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(damaged if data.draw(st.booleans()) else whole[:place])
    try:
        assert len(Corpus.load(path)) <= 4
    except RagvlmError as error:
        assert "\n" not in str(error)
