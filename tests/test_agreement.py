"""What a precision changes for retrieval: worked by hand, and from the command line on simulated micrographs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragvlm.agreement import Agreement, _shares, compare_precisions
from ragvlm.corpus import Corpus
from ragvlm.encoders import load_encoder
from ragvlm.encoders.quantise import micrographs
from ragvlm.errors import CorpusError, EncoderMismatchError, InputError
from ragvlm.index import Index
from ragvlm.statistics import Interval
from ragvlm.types import Record


def circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_shares_by_hand():
    a, b = circle(0, 10, 25, 60), circle(0, 10, 50, 59)  # the third has gone over to the fourth
    overlap, first, order = _shares(a, b, list("wxyz"), 2)
    # nearest two in a and b: of 0: 10, 25 in both; of 10: 0, 25 and 0, 50, the same rows; of 25: 10, 0 and 59, 10
    assert overlap.tolist() == [1, 1, 0.5, 1]
    assert first.tolist() == [1, 1, 0, 1]
    assert order[0] == pytest.approx(1)
    assert order[2] == pytest.approx(-0.5)  # ranks 10, 0, 60 against 59, 10, 0: 1, 2, 3 become 2, 3, 1


def test_the_own_subject_is_no_neighbour():
    a = circle(0, 1, 30, 60)
    overlap, _, _ = _shares(a, a, ["s", "s", "t", "u"], 2)
    assert overlap.tolist() == [1, 1, 1, 1]
    assert np.isnan(_shares(a, a, ["s", "s", "s", "u"], 2)[0]).tolist() == [True, True, True, False]


def agreement(low: float, speed: float) -> Agreement:
    some = Interval(0.95, low, 0.97, 9, 9)
    return Agreement("e", "int8", 9, 0, 5, some, some, some, (0.99, 0.98), speed)


def test_it_is_recommended_only_where_it_pays():
    assert agreement(0.93, 1.9).recommended
    assert "worth it" in agreement(0.93, 1.9).advice
    assert "others too often" in agreement(0.8, 1.9).advice
    assert "gains too little" in agreement(0.93, 1.1).advice
    assert not agreement(float("nan"), 1.9).recommended


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("micrographs")
    records = []
    for i, picture in enumerate(micrographs(14)):
        picture.save(root / f"{i}.png")
        records.append(Record(str(i), image=f"{i}.png", caption=f"micrograph {i}"))
    (root / "broken.png").write_bytes(b"no picture")
    return Corpus.from_records([*records, Record("broken", image="broken.png")], root=root, name="micrographs")


def test_int8_finds_nearly_the_same(corpus):
    found = compare_precisions("embedded", "int8", corpus, k=3)
    assert (found.pictures, found.skipped) == (14, 1)
    assert found.cosine[1] > 0.98
    assert found.overlap.value > 0.8
    assert found.overlap.low <= found.overlap.value <= found.overlap.high
    assert found.order.value > 0.95
    assert json.loads(json.dumps(found.to_dict()))["overlap"]["n"] == 14


def test_int8_is_another_encoder(corpus, tmp_path):
    exact, other = load_encoder("embedded"), load_encoder("embedded", precision="int8")
    assert exact.fingerprint != other.fingerprint
    assert other.options == {"precision": "int8"}  # type: ignore[attr-defined]
    index = Index.build(corpus, tmp_path / "index", encoder=other, calibrate=False)
    assert Index.open(index.path).search(corpus.root / "3.png")[0].record.id == "3"
    with pytest.raises(EncoderMismatchError):
        Index.open(index.path, encoder=exact)
    with pytest.raises(EncoderMismatchError):
        Index.build(corpus, tmp_path / "index", encoder=exact)
    texts = ["a cell", "many cells"]
    np.testing.assert_array_equal(exact.encode_texts(texts), other.encode_texts(texts))


def test_int8_vectors_do_not_depend_on_the_batch():
    encoder = load_encoder("embedded", precision="int8")
    pictures = list(micrographs(5))
    together = encoder.encode_images(pictures)
    apart = np.concatenate([encoder.encode_images([picture]) for picture in pictures])
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_what_cannot_be_compared(corpus, tmp_path):
    with pytest.raises(InputError, match="one precision alone"):
        compare_precisions("biomedclip", "int8", corpus)
    with pytest.raises(InputError, match="precision 'int4'"):
        load_encoder("embedded", precision="int4")
    with pytest.raises(CorpusError, match="14 pictures can be read, 22 are needed"):
        compare_precisions("embedded", "int8", corpus, k=20)
    with pytest.raises(InputError, match="k is 0"):
        compare_precisions("embedded", "int8", corpus, k=0)


def ragvlm(*words: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, "-m", "ragvlm", *words], capture_output=True, text=True, env=environment, check=False
    )


def test_the_command(corpus, tmp_path):
    found = ragvlm(
        "models", "check", "embedded", "--precision", "int8", "--corpus", str(corpus.root), "-k", "3", "--json"
    )
    assert found.returncode == 0, found.stderr
    facts = json.loads(found.stdout)
    assert facts["precision"] == "int8"
    assert facts["k"] == 3
    assert set(facts["cosine"]) == {"mean", "least"}
    alone = ragvlm("models", "check", "embedded", "--corpus", str(corpus.root))
    assert (alone.returncode, alone.stderr.strip()) == (
        2,
        "ragvlm: --corpus compares a precision with fp32: give --precision int8 too",
    )


def test_calibration_pictures_are_the_same_every_time():
    first, second = (list(micrographs(3)) for _ in range(2))
    assert [a.tobytes() for a in first] == [b.tobytes() for b in second]
    assert all(isinstance(picture, Image.Image) and picture.size == (320, 320) for picture in first)
