"""The pipeline of a build: bounded memory, order, overlap, and the guard against duplicates of shrunk JPEGs."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import ColourEncoder, build, make_corpus

from ragvlm.corpus import Corpus
from ragvlm.duplicates import duplicates_of
from ragvlm.evaluation.leakage import find_leaks
from ragvlm.images import open_image
from ragvlm.index import prepare
from ragvlm.index.budget import Budget
from ragvlm.index.encode import RowEncoder
from ragvlm.index.prepare import Prepared, Preparer
from ragvlm.index.segments import Row
from ragvlm.types import Query, Record


class Shrinking(ColourEncoder):
    """Wants pictures of 8 pixels, and takes them as arrays that other threads make."""

    input_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def image_input(self, image):
        self.seen.append(image.size)
        return np.asarray(image.resize((8, 8)))

    def encode_inputs(self, inputs):
        return self.encode_images(inputs)


def test_an_encoder_gets_what_it_made_of_the_pictures(tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    plain, through = build(corpus, tmp_path / "a"), build(corpus, tmp_path / "b", Shrinking())
    np.testing.assert_allclose(plain.image_embeddings(range(8)), through.image_embeddings(range(8)), atol=2e-3)
    assert list(plain.content_hashes) == list(through.content_hashes)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 120), max_size=40), st.integers(1, 4), st.integers(0, 3))
def test_a_budget_is_kept_and_nobody_waits_for_ever(sizes, workers, ahead):
    budget, most, lock = Budget(100), 0, threading.Lock()

    def work(turn: int) -> int:
        nonlocal most
        kept = sizes[turn] // 2
        if turn % 5 != 3:  # some turns need nothing
            budget.take(turn, sizes[turn])
            with lock:
                most = max(most, budget.used)
        else:
            kept = 0
        budget.keep(turn, kept)
        return kept

    with ThreadPoolExecutor(workers) as pool:
        pending = []
        for turn in range(len(sizes)):
            pending.append(pool.submit(work, turn))
            if len(pending) > ahead:
                budget.give(pending.pop(0).result(timeout=10))
        for future in pending:
            budget.give(future.result(timeout=10))
    assert budget.used == 0
    assert most <= max([100, *sizes])


def test_a_closed_budget_lets_everybody_go():
    budget = Budget(10)
    budget.take(0, 10)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(budget.take, 1, 10)
        assert not waiting.done()
        budget.close()
        waiting.result(timeout=10)


def test_pixels_decoded_ahead_are_bounded(tmp_path, monkeypatch):
    corpus = make_corpus(tmp_path / "corpus", n=12)  # of 12 x 12 pixels, 4 bytes each to keep
    monkeypatch.setattr(prepare, "AHEAD_BYTES", 3 * 8 * 144)
    decoded: list[str] = []
    real = open_image
    monkeypatch.setattr(prepare, "open_image", lambda path, **o: (real(path, **o), decoded.append(path))[0])
    stream = Preparer(corpus, {}).stream(corpus.records)
    next(stream)
    time.sleep(0.3)
    assert len(decoded) <= 1 + 6  # the one that was taken, and 6 that fill the bytes with 4 for each pixel
    assert sum(isinstance(outcome, Prepared) for outcome in stream) == 11
    assert len(decoded) == 12


def test_what_waits_is_what_the_tower_takes(tmp_path):
    corpus, encoder = make_corpus(tmp_path / "corpus"), Shrinking()
    outcomes = list(Preparer(corpus, {}, encoder=encoder).stream(corpus.records))
    assert {outcome.bytes for outcome in outcomes if isinstance(outcome, Prepared)} == {8 * 8 * 3}


class Gate(ColourEncoder):
    """Its first batch waits until ``opened`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    def encode_images(self, images):
        assert self.opened.wait(timeout=20)
        return super().encode_images(images)


def test_pictures_are_prepared_while_a_batch_is_encoded():
    encoder = Gate()
    asked = 0

    def prepared():
        nonlocal asked
        for n in range(8):
            asked = n + 1
            if asked == 5:  # two batches are with the encoder now
                encoder.opened.set()
            yield Prepared(Row(Record(str(n)), "hash"), (Image.new("RGB", (4, 4), (n * 20, 0, 0)),))

    rows = list(RowEncoder(encoder, 2, 8).rows(prepared()))
    assert [row.record.id for row in rows] == [str(n) for n in range(8)]
    assert asked == 8


def test_what_the_encoder_raises_ends_the_build(tmp_path):
    class Failing(ColourEncoder):
        def encode_images(self, images):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        build(make_corpus(tmp_path / "corpus"), tmp_path / "index", Failing())
    assert not (tmp_path / "index").exists()


@pytest.fixture
def jpegs(tmp_path: Path) -> Corpus:
    """Two large JPEGs of different pictures, one of them twice, and a small one."""
    rng = np.random.default_rng(0)
    root = tmp_path / "corpus"
    root.mkdir()
    for name, size in (("a", (160, 120)), ("b", (160, 120)), ("small", (30, 20))):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(root / f"{name}.jpg", quality=90)
    (root / "again.jpg").write_bytes((root / "a.jpg").read_bytes())
    names = ("a", "b", "small", "again")
    records = tuple(Record(name, image=f"{name}.jpg", caption=f"a {name} square") for name in names)
    return Corpus.from_records(records, root=root, name="jpegs")


def test_duplicates_of_shrunk_jpegs_are_exact(jpegs, tmp_path):
    encoder = Shrinking()
    index = build(jpegs, tmp_path / "index", encoder)
    assert sorted(encoder.seen) == [(30, 20), (40, 30), (40, 30), (40, 30)]
    assert [digest[64:] for digest in index.content_hashes] == ["/4", "/4", "", "/4"]
    assert index.exact_duplicates() == [("a", "again")]
    copy = tmp_path / "copy.png"
    Image.open(jpegs.root / "a.jpg").save(copy)
    for source in (copy, jpegs.root / "a.jpg", np.asarray(Image.open(copy))):
        marks = {hit.record.id: hit.duplicate for hit in index.search(source, k=4)}
        assert marks == {"a": "exact", "b": None, "small": None, "again": "exact"}
    leaks = find_leaks([Query("q", image=open_image(copy))], index).leaks
    assert {(leak.reference_id, leak.kind) for leak in leaks} == {("a", "exact"), ("again", "exact")}


def test_without_its_file_a_copy_is_near(jpegs, tmp_path):
    index = build(jpegs, tmp_path / "index", Shrinking())
    picture = open_image(jpegs.root / "a.jpg")
    (jpegs.root / "a.jpg").unlink()
    vector = index.encoder.encode_images([picture])[0]
    assert duplicates_of(index, Query("q", image=picture), vector) == {0: "near", 3: "exact"}


def test_a_blank_field_is_found_whose_perceptual_hash_is_noise(tmp_path):
    noise = np.random.default_rng(0).normal(120, 1, (900, 1200, 3)).clip(0, 255).astype(np.uint8)
    root = tmp_path / "corpus"
    root.mkdir()
    Image.fromarray(noise).save(root / "blank.jpg", quality=90)
    corpus = Corpus.from_records([Record("blank", image="blank.jpg", caption="grey")], root=root, name="blanks")
    index = build(corpus, tmp_path / "index", Shrinking())
    assert index.search(open_image(root / "blank.jpg"))[0].duplicate == "exact"
