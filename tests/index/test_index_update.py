"""Bringing an index up to date: only what changed is encoded; what left the corpus is marked, or pruned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny import ColourEncoder, build, content, files, make_corpus, of, on_disk, paint

from ragvlm.corpus import Corpus
from ragvlm.errors import CorpusError, InputError, StoreError
from ragvlm.index import Index


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return make_corpus(tmp_path / "corpus")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "index"


def test_unchanged_encodes_nothing_and_writes_nothing(corpus, out):
    build(corpus, out)
    before = files(out)
    encoder = ColourEncoder()
    index = build(corpus, out, encoder)
    assert (encoder.images, encoder.texts) == (0, 0)
    assert files(out) == before
    assert (index.report.unchanged, index.report.added, index.report.images_per_second) == (8, 0, 0)


def test_unchanged_decodes_nothing(corpus, out, monkeypatch):
    build(corpus, out)
    monkeypatch.setattr("ragvlm.index.prepare.open_image", lambda *_, **__: pytest.fail("decoded"))
    assert build(corpus, out).report.unchanged == 8


def test_a_changed_caption_supersedes(corpus, out):
    first = build(corpus, out)
    records = list(corpus.records)
    records[1] = replace(records[1], caption="a blue square after all")
    encoder = ColourEncoder()
    index = build(of(corpus.root, records), out, encoder)
    assert (index.report.updated, index.report.unchanged, encoder.images) == (1, 7, 1)
    assert len(index) == len(index.records) == 8
    assert next(r for r in index.records if r.id == "a01").caption == "a blue square after all"
    assert content(index) == content(build(of(corpus.root, records), out.with_name("fresh")))
    assert on_disk(index) == [f"a{i:02d}" for i in range(8)]
    assert index.fingerprint != first.fingerprint


@pytest.mark.parametrize("field", ["subject_id", "study_id", "modality", "source", "licence"])
def test_every_field_counts(corpus, out, field):
    build(corpus, out)
    records = [replace(corpus.records[0], **{field: "other"}), *corpus.records[1:]]
    index = build(of(corpus.root, records), out)
    assert index.report.updated == 1
    assert getattr(next(r for r in index.records if r.id == "a00"), field) == "other"


def test_a_changed_picture_supersedes(corpus, out):
    build(corpus, out)
    paint(corpus.root / "p01.png", "blue")
    index = build(make_again(corpus), out)
    assert (index.report.updated, index.report.unchanged) == (1, 7)
    row = next(i for i, r in enumerate(index.records) if r.id == "a01")
    assert index.image_embeddings([row])[0].argmax() == 2


def make_again(corpus: Corpus) -> Corpus:
    return of(corpus.root, corpus.records)


def test_what_left_the_corpus_is_kept_and_marked(corpus, out):
    first = build(corpus, out)
    rest = of(corpus.root, [r for r in corpus.records if r.id not in ("a00", "a04", "a05")])
    encoder = ColourEncoder()
    index = build(rest, out, encoder)
    report = index.report
    assert (report.records, report.vanished, report.removed, report.unchanged, encoder.images) == (8, 3, 0, 5, 0)
    assert "8 records (3 vanished, 5 unchanged)" in str(report)
    assert index.vanished == Index.open(out).vanished == {"a00", "a04", "a05"}
    assert Index.open(out).info()["vanished"] == 3
    assert content(index) == content(first)
    assert [hit.record.id for hit in index.search("red", k=2)] == ["a00", "a04"]
    before = files(out)
    again = build(rest, out)
    assert (again.report.vanished, files(out)) == (3, before)
    back = build(corpus, out)
    assert (back.report.vanished, back.report.unchanged, back.vanished) == (0, 8, frozenset())
    assert not list(out.glob("vanished-*"))


def test_what_vanished_and_came_back_otherwise_is_updated(corpus, out):
    build(corpus, out)
    build(of(corpus.root, corpus.records[1:]), out)
    index = build(of(corpus.root, [replace(corpus.records[0], caption="grey"), *corpus.records[1:]]), out)
    assert (index.report.updated, index.report.vanished, len(index)) == (1, 0, 8)
    assert next(r for r in index.records if r.id == "a00").caption == "grey"


def test_prune_takes_what_left_the_corpus_off_the_disk(corpus, out):
    build(corpus, out)
    rest = of(corpus.root, [r for r in corpus.records if r.id not in ("a00", "a04", "a05")])
    build(rest, out)
    encoder = ColourEncoder()
    index = build(rest, out, encoder, prune=True)
    assert (index.report.removed, index.report.unchanged, encoder.images) == (3, 5, 0)
    assert on_disk(index) == ["a01", "a02", "a03", "a06", "a07"]
    assert content(index) == content(build(rest, out.with_name("fresh")))
    assert index.manifest.counts.licences == {"": 2, "CC0-1.0": 3}
    assert build(of(corpus.root, corpus.records[2:4:2]), out, prune=True).info()["licences"] == {"": 1}
    build(rest, out)
    back = build(corpus, out)
    assert (back.report.added, back.report.unchanged) == (3, 5)
    assert content(back) == content(build(corpus, out.with_name("whole")))


@pytest.mark.parametrize(("merge_rows", "rows"), [(1, [1] * 8), (3, [2, 2, 2, 2]), (4, [4, 4]), (99, [8])])
def test_many_small_updates_leave_few_segments(corpus, out, merge_rows, rows):
    for n in range(1, 9):
        index = build(of(corpus.root, corpus.records[:n]), out, merge_rows=merge_rows)
    assert [segment.rows for segment in index.manifest.segments] == rows
    assert content(index) == content(build(corpus, out.with_name("fresh")))
    assert len(list((out / "segments").iterdir())) == len(rows)
    assert len(list(out.glob("*.faiss"))) == 2
    assert index.manifest.next_segment > 8  # no number is used twice


def test_a_small_update_does_not_rewrite_a_large_segment(corpus, out):
    build(of(corpus.root, corpus.records[:6]), out, segment_rows=6, merge_rows=99)
    large = files(out)["segments/000001.parquet"]
    index = build(corpus, out, merge_rows=99)
    assert [segment.rows for segment in index.manifest.segments] == [6, 2]
    assert files(out)["segments/000001.parquet"] == large


def test_damage_is_not_laundered_by_merging(corpus, out):
    index = build(corpus, out, merge_rows=1)
    path = out / index.manifest.segments[0].file
    pq.write_table(pq.read_table(path), path, compression="none")  # other bytes that parquet reads without complaint
    manifest = index.manifest
    entry = replace(manifest.segments[0], bytes=path.stat().st_size)
    manifest.committed(out, segments=(entry, *manifest.segments[1:]))
    before = {name: kept for name, kept in files(out).items() if name.startswith("segments/")}
    with pytest.raises(StoreError, match=r"000001\.parquet differs from its checksum; see what .*ragvlm verify"):
        build(of(corpus.root, corpus.records[1:2]), out, prune=True)
    assert before.items() <= files(out).items()


def test_a_picture_that_broke_later_stays_as_it_was(corpus, out):
    first = build(corpus, out)
    (corpus.root / "p02.png").write_bytes(b"no picture")
    index = build(make_again(corpus), out, prune=True)
    assert (index.report.removed, index.report.vanished, len(index.report.skipped)) == (0, 0, 1)
    assert content(index) == content(first)


def test_nothing_left_to_index_keeps_what_was(corpus, out):
    build(corpus, out)
    before = files(out)
    for path in corpus.root.iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(CorpusError, match="nothing of corpus"):
        build(make_again(corpus), out)
    assert files(out) == before


def test_another_corpus(corpus, out, tmp_path):
    build(corpus, out)
    before = files(out)
    for other in (make_corpus(tmp_path / "other", 3), replace(corpus, name="else", fingerprint="0")):
        with pytest.raises(InputError, match="choose another --out"):
            build(other, out)
    assert files(out) == before


def test_a_moved_corpus_goes_on(corpus, out, tmp_path):
    build(corpus, out)
    moved = of(corpus.root.rename(tmp_path / "elsewhere"), corpus.records)
    index = build(moved, out)
    assert index.report.unchanged == 8
    assert Index.open(out).image_path(index.records[0]) == tmp_path / "elsewhere" / "p00.png"


def test_half_copied_index_is_restored_by_building_again(corpus, out):
    whole = build(corpus, out)
    (out / "segments/000002.parquet").unlink()
    encoder = ColourEncoder()
    index = build(corpus, out, encoder)
    assert (index.report.added, index.report.unchanged, encoder.images) == (3, 5, 3)
    assert content(index) == content(build(corpus, out.with_name("fresh")))
    assert len(whole) == len(Index.open(out).records)


def test_another_store_is_derived_again(corpus, out):
    build(corpus, out)
    encoder = ColourEncoder()
    index = build(corpus, out, encoder, store="numpy")
    assert encoder.images == 0
    assert index.image_store.name == "numpy"
    assert sorted(p.suffix for p in out.glob("[it]*-*")) == [".npy", ".npy"]


def test_calibration_sees_the_whole_index_and_is_kept(corpus, out):
    seen: list[tuple[int, int, bool]] = []

    def calibrate(index: Index) -> dict[str, Any]:
        seen.append((len(index.records), len(index.image_store), Index.open(out).manifest.complete))
        return {"scores": [np.float32(0.5), float("nan")], "n": len(index)}

    build(corpus, out, calibrate=calibrate)
    assert seen == [(8, 8, False)]
    assert Index.open(out).manifest.calibration == {"n": 8, "scores": [0.5, None]}
    assert Index.open(out).manifest.complete
    build(corpus, out, calibrate=calibrate)
    assert len(seen) == 1
    build(of(corpus.root, corpus.records[:7]), out, calibrate=calibrate)
    assert len(seen) == 1  # a mark changes nothing that is measured
    build(of(corpus.root, corpus.records[:7]), out, calibrate=calibrate, prune=True)
    assert seen[1:] == [(7, 7, False)]


def test_a_calibration_that_could_not_be_read_again_is_refused(corpus, out):
    with pytest.raises(InputError, match="calibrate: 'nonconformity' in the calibration is not a list of numbers"):
        build(corpus, out, calibrate=lambda index: {"nonconformity": [float("nan")]})


def test_readers_beside_a_writer_see_one_generation(corpus, out):
    build(corpus, out)
    early, lazy = Index.open(out), Index.open(out)
    assert len(early.image_store) == 8
    rest = of(corpus.root, [replace(r, caption="grey") for r in corpus.records[:5]])
    build(rest, out, prune=True)
    # what was read stays whole although its files are gone; what wasn't is read from the new state alone
    assert early.image_store.search(early.image_embeddings([7]), 8)[1].shape == (1, 8)
    assert early.records[7].caption == "a grey square number 7"
    assert len(lazy.records) == len(lazy.image_store) == len(lazy) == 5
    assert {record.caption for record in lazy.records} == {"grey"}
    assert lazy.fingerprint == Index.open(out).fingerprint


def test_a_reader_of_the_old_state_does_not_repair_the_new_one(corpus, out):
    build(of(corpus.root, corpus.records[:6]), out)
    lazy = Index.open(out)
    build(corpus, out)  # adds a segment: those of the old state are still there, its store files aren't
    before = files(out)
    assert len(lazy.image_store) == len(lazy.records) == 6
    assert files(out) == before


def test_half_copied_while_an_update_was_under_way(corpus, out):
    build(corpus, out)
    records = [replace(record, caption="grey") for record in corpus.records[:3]] + list(corpus.records[3:])

    class Dying(ColourEncoder):
        def encode_images(self, images):
            if self.images >= 3:
                raise KeyboardInterrupt
            return super().encode_images(images)

    records[7] = replace(records[7], caption="grey")
    with pytest.raises(KeyboardInterrupt):
        build(of(corpus.root, records), out, Dying())
    # three rows are superseded; now as many live ones are lost, and gone from the corpus too
    (out / "segments/000002.parquet").unlink()
    rest = of(corpus.root, [*records[:3], corpus.records[6], corpus.records[7]])
    encoder = ColourEncoder()
    index = build(rest, out, encoder, prune=True)
    assert encoder.images == 0
    assert content(index) == content(build(rest, out.with_name("fresh")))
    assert on_disk(index) == sorted(record.id for record in rest)
