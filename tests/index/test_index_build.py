"""Building an index: what is encoded, skipped, kept after an interruption and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from tiny import ColourEncoder, build, content, files, make_corpus, of, paint

from ragvlm.corpus import Corpus
from ragvlm.errors import CorpusError, InputError, RagvlmError, StoreError
from ragvlm.index import Index, encode, writer
from ragvlm.types import Record


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return make_corpus(tmp_path / "corpus")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "index"


def test_report(corpus, out):
    calls: list[tuple[int, int]] = []
    report = build(corpus, out, progress=lambda done, total: calls.append((done, total))).report
    assert report.to_dict() | {"seconds": 0, "images_per_second": 0} == {
        "path": str(out),
        "records": 8,
        "added": 8,
        "updated": 0,
        "removed": 0,
        "vanished": 0,
        "unchanged": 0,
        "skipped": [],
        "phi": {"mode": "redact", "records": 0, "found": {}},
        "seconds": 0,
        "images_per_second": 0,
    }
    assert report.images_per_second == pytest.approx(8 / report.seconds)
    assert calls == [(i, 8) for i in range(1, 9)]
    assert str(report).startswith(f"{out}: 8 records (8 added), 0 skipped")


def test_the_default_folder_is_named_after_the_corpus(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert build(corpus, None).path == Path("indexes/colours")


@pytest.mark.parametrize(("batch_size", "segment_rows"), [(1, 1), (3, 4), (16, 2), (5, 512)])
def test_batches_and_segments_do_not_change_the_content(corpus, tmp_path, batch_size, segment_rows):
    one = build(corpus, tmp_path / "one", batch_size=batch_size, segment_rows=segment_rows, merge_rows=1)
    assert [segment.rows for segment in one.manifest.segments][:-1] == [segment_rows] * ((8 - 1) // segment_rows)
    assert content(one) == content(build(corpus, tmp_path / "two"))
    assert [record.id for record in one.records] == [record.id for record in corpus.records]


class Recorder(ColourEncoder):
    """Remembers the sizes of its batches of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def encode_images(self, images):
        self.sizes.append(len(images))
        return super().encode_images(images)


def test_large_pictures_end_a_batch_early(corpus, out, monkeypatch):
    monkeypatch.setattr(encode, "BATCH_BYTES", 3 * 12 * 12 * 4)
    encoder = Recorder()
    assert len(build(corpus, out, encoder, batch_size=8, segment_rows=8)) == 8
    assert encoder.sizes == [3, 3, 2]


def test_a_batch_never_crosses_a_segment(corpus, out):
    encoder = Recorder()
    build(corpus, out, encoder, batch_size=2, segment_rows=3)
    assert encoder.sizes == [2, 1, 2, 1, 2]


def test_broken_pictures_are_skipped_and_named(corpus, out):
    (corpus.root / "p02.png").write_bytes(b"no picture")
    (corpus.root / "p05.png").unlink()
    (corpus.root / "p06.png").write_bytes((corpus.root / "p06.png").read_bytes()[:45])
    records = [*corpus.records, Record(id="blank")]
    corpus = replace(corpus, records=tuple(records))
    index = build(corpus, out)
    assert [item for item, _ in index.report.skipped] == ["p02.png", "p05.png", "p06.png", "blank"]
    assert all(reason and "\n" not in reason and "p0" not in reason for _, reason in index.report.skipped)
    assert [record.id for record in index.records] == ["a00", "a01", "a03", "a04", "a07"]
    assert index.info()["skipped"] == 4
    paint(corpus.root / "p02.png", "blue")
    assert [item for item, _ in build(corpus, out).report.skipped] == ["p05.png", "p06.png", "blank"]


def test_max_pixels(corpus, out):
    paint(corpus.root / "p03.png", "red", size=40)
    index = build(corpus, out, max_pixels=200)
    assert [item for item, _ in index.report.skipped] == ["p03.png"]


@pytest.mark.parametrize("made_before", [False, True])
def test_nothing_to_index_leaves_nothing(corpus, out, made_before):
    if made_before:
        out.mkdir()
    for path in corpus.root.iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(CorpusError, match=r"all 8 records were skipped; the first: p00\.png") as caught:
        build(corpus, out)
    assert "\n" not in str(caught.value)
    assert out.exists() == made_before
    assert not made_before or set(files(out)) <= {".lock"}


def test_a_folder_with_something_else(corpus, out):
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"not an index \(it holds 'thesis.txt'\)"):
        build(corpus, out)
    assert files(out) == {"thesis.txt": b"mine"}
    with pytest.raises(InputError, match="is a file"):
        build(corpus, out / "thesis.txt")


def test_absolute_pictures_are_kept_relative_to_the_root(corpus, out, tmp_path):
    paint(tmp_path / "far.png", "red")
    records = [
        Record(id="near", image=str(corpus.root / "p00.png")),
        Record(id="far", image=str(tmp_path / "far.png")),
    ]
    index = build(of(corpus.root, records), out)
    assert [record.image for record in index.records] == ["p00.png", (tmp_path / "far.png").as_posix()]
    assert all(index.image_path(record).is_file() for record in index.records)


def test_a_damaged_manifest_is_never_overwritten(corpus, out):
    build(corpus, out)
    (out / "manifest.json").write_text("{")
    before = files(out)
    with pytest.raises(StoreError, match="is damaged"):
        build(corpus, out)
    assert files(out) == before


def test_one_writer_at_a_time(corpus, out):
    build(corpus, out)
    with FileLock(out / ".lock"), pytest.raises(StoreError, match="another process is writing it") as caught:
        build(corpus, out)
    assert "\n" not in str(caught.value)
    assert build(corpus, out).report.unchanged == 8


def test_a_writer_that_comes_second_does_not_remove_the_first_ones_folder(corpus, out):
    out.mkdir()
    with FileLock(out / ".lock"), pytest.raises(StoreError):
        build(corpus, out)
    assert out.is_dir()


@pytest.mark.parametrize("option", ["batch_size", "segment_rows"])
def test_sizes_below_one(corpus, out, option):
    with pytest.raises(InputError, match=f"{option} is 0"):
        build(corpus, out, **{option: 0})


def test_an_unknown_store(corpus, out):
    with pytest.raises(InputError, match="unknown store 'abacus': choose one of numpy, faiss"):
        build(corpus, out, store="abacus")
    assert not out.exists()


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (lambda n: np.full((n, 4), np.nan), "NaN or of length 0"),
        (lambda n: np.zeros((n, 4)), "NaN or of length 0"),
        (lambda n: np.ones((n, 5)), r"shape \(2, 5\), not \(2, 4\)"),
    ],
)
def test_an_encoder_that_breaks_its_promise(corpus, out, vectors, message):
    encoder = ColourEncoder()
    encoder.encode_images = lambda images: vectors(len(images))
    with pytest.raises(StoreError, match=message):
        build(corpus, out, encoder)
    assert not out.exists()


def test_an_encoder_that_does_not_normalise(corpus, out):
    encoder = ColourEncoder()
    encode = encoder.encode_images
    encoder.encode_images = lambda images: 7 * encode(images)
    assert content(build(corpus, out, encoder)) == content(build(corpus, out.with_name("fresh")))


@pytest.mark.parametrize("after", [0, 2, 5])
def test_ctrl_c_keeps_what_is_committed(corpus, out, after):
    class Impatient(ColourEncoder):
        def encode_images(self, images):
            if self.images >= after:
                raise KeyboardInterrupt
            return super().encode_images(images)

    with pytest.raises(KeyboardInterrupt, match="of 8 records are committed; run the same command again"):
        build(corpus, out, Impatient(), batch_size=1)
    assert out.exists() == (after >= 3)
    if after >= 3:
        opened = Index.open(out)
        assert (len(opened.records), opened.manifest.complete, opened.info()["complete"]) == (3, False, False)
        assert len(opened.image_store) == 3
        assert json.loads((out / "manifest.json").read_text())["derived"] == []
    encoder = ColourEncoder()
    index = build(corpus, out, encoder)
    assert encoder.images == (5 if after >= 3 else 8)
    assert index.fingerprint == build(corpus, out.with_name("fresh")).fingerprint


def test_a_full_disk_keeps_what_is_committed(corpus, out, monkeypatch):
    real, calls = writer.write_segment, []

    def failing(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise StoreError("No space left on device")
        return real(*args)

    monkeypatch.setattr(writer, "write_segment", failing)
    with pytest.raises(RagvlmError, match="No space left"):
        build(corpus, out)
    assert len(Index.open(out).records) == 3
    assert build(corpus, out).report.added == 5
