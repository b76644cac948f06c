"""Deleting leaves no trace of a record on disk; compacting changes files, not content."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import ColourEncoder, build, content, files, make_corpus, of, on_disk

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError, StoreError
from ragvlm.index import Index, scan
from ragvlm.index.lock import writing
from ragvlm.index.manifest import read_manifest
from ragvlm.index.scan import Scan, Seen
from ragvlm.index.upkeep import compact_index


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return make_corpus(tmp_path / "corpus")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "index"


def traces(out: Path, *names: str) -> list[str]:
    """The files that hold one of ``names`` in their bytes; parquet pages are looked at decompressed."""
    import pyarrow.parquet as pq

    found = []
    for name, data in files(out).items():
        text = repr(pq.read_table(out / name).to_pydict()) if name.endswith(".parquet") else data.decode("latin-1")
        text = re.sub(r'"[0-9a-f]{16,}"', "", text) if name == "manifest.json" else text  # a checksum may hold anything
        found += [name for n in names if n in text]
    return found


@pytest.mark.parametrize("store", ["numpy", "faiss", "faiss-hnsw"])
def test_deleted_records_leave_all_files(corpus, out, store):
    (corpus.root / "p07.png").write_bytes(b"no picture")
    build(of(corpus.root, corpus.records), out, store=store)
    index = build(of(corpus.root, [r for r in corpus.records if r.id != "a01"]), out, store=store)
    assert (index.vanished, index.manifest.skipped) == ({"a01"}, 1)
    Scan({"p05.png": Seen(1, 2, 3, "x")}).write(out)
    was = {row[0]: row for row in content(index)}
    report = index.delete(["a01", "a05"])
    assert not (out / scan.NAME).exists()
    assert (report.deleted, report.records, report.bytes < report.bytes_before) == (2, 5, True)
    assert not traces(out, "a01", "a05", "p01", "p05", "number 5")
    for found in (index, Index.open(out, encoder=ColourEncoder())):
        assert content(found) == [row for name, row in sorted(was.items()) if name not in ("a01", "a05")]
        assert [hit.record.id for hit in found.search("green", k=10)].count("a01") == 0
        assert (found.vanished, len(found), found.manifest.complete) == (frozenset(), 5, True)
        found.verify()
    assert sorted(on_disk(index)) == ["a00", "a02", "a03", "a04", "a06"]
    encoder = ColourEncoder()
    again = build(of(corpus.root, corpus.records), out, encoder, store=store)
    assert (again.report.added, encoder.images) == (2, 2)  # the corpus still has them


@pytest.mark.parametrize("how", ["delete", "prune"])
def test_no_store_keeps_a_dead_vector(corpus, out, how):
    index = build(corpus, out, store="faiss-hnsw")
    if how == "delete":
        index.delete("a03")
    else:
        index = build(
            of(corpus.root, [r for r in corpus.records if r.id != "a03"]), out, store="faiss-hnsw", prune=True
        )
    assert (index.image_store.slots, index.text_store.slots) == (7, 7)  # type: ignore[union-attr]


def test_a_deleted_record_leaves_the_list_of_skipped(corpus, out):
    build(corpus, out)
    for name in ("p02.png", "p03.png"):
        (corpus.root / name).write_bytes(b"no picture")
    index = build(of(corpus.root, corpus.records), out)
    index.delete("a02")
    assert not traces(out, "p02.png")
    assert [json.loads(line)["item"] for line in (out / "skipped.jsonl").read_text().splitlines()] == ["p03.png"]
    assert Index.open(out).info()["skipped"] == 1


def test_an_unknown_id_deletes_nothing(corpus, out):
    index = build(corpus, out)
    before = files(out)
    with pytest.raises(InputError, match=r"has no record 'x' \(and 1 more of those given\): nothing was deleted"):
        index.delete(["a01", "y", "x"])
    with pytest.raises(InputError, match="at least one"):
        index.delete([])
    assert files(out) == before


def test_the_last_record_can_be_deleted(corpus, out):
    index = build(corpus, out)
    index.delete([record.id for record in corpus.records])
    opened = Index.open(out)
    assert (len(opened), list(opened.records)) == (0, [])
    with pytest.raises(InputError, match="has no captions"):
        opened.search("red", k=3)
    assert (opened.info()["records"], opened.image_store) == (0, None)
    opened.verify()
    assert not list((out / "segments").iterdir())
    assert build(corpus, out).report.added == 8


def test_untouched_segments_stay_as_they_are(corpus, out):
    index = build(corpus, out)
    before = files(out)
    index.delete("a04")
    assert files(out)["segments/000001.parquet"] == before["segments/000001.parquet"]
    assert "segments/000002.parquet" not in files(out)


def test_what_was_measured_is_measured_anew(corpus, out):
    seen: list[int] = []

    def calibrate(index: Index) -> dict[str, Any]:
        seen.append(len(index.records))
        return {"n": len(index), "stores": len(index.image_store)}

    index = build(corpus, out, calibrate=calibrate)
    index.delete("a03", calibrate=calibrate)
    assert seen == [8, 7]
    assert Index.open(out).manifest.calibration == {"n": 7, "stores": 7}
    index.delete("a04", calibrate=False)
    assert Index.open(out).manifest.calibration == {"n": 7, "stores": 7}


def test_what_can_not_be_measured_does_not_keep_a_record(corpus, out, caplog):
    index = build(corpus, out, calibrate=lambda index: {"n": 8})

    def fail(index: Index) -> dict[str, Any]:
        raise InputError("no such encoder")

    with caplog.at_level(logging.WARNING, "ragvlm"):
        assert index.delete("a03", calibrate=fail).deleted == 1
    assert "deleted, but abstention is not calibrated anew: no such encoder" in caplog.text
    assert not traces(out, "a03")
    assert len(Index.open(out)) == 7


def test_deleting_waits_for_its_turn(corpus, out):
    index = build(corpus, out)
    with writing(out), pytest.raises(StoreError, match="is writing it"):
        index.delete("a01")
    assert len(Index.open(out)) == 8


def test_readers_beside_a_deletion(corpus, out):
    build(corpus, out)
    early, lazy = Index.open(out), Index.open(out)
    assert len(early.records) == 8
    Index.open(out, encoder=ColourEncoder()).delete(["a00", "a01"])
    assert len(early.image_embeddings(range(8))) == 8
    assert [record.id for record in lazy.records] == ["a02", "a03", "a04", "a05", "a06", "a07"]


@pytest.mark.parametrize(("rows", "segments"), [(1, [1] * 8), (4, [4, 4]), (7, [7, 1]), (16_384, [8])])
def test_compacting(corpus, out, rows, segments):
    index = build(corpus, out, segment_rows=1, merge_rows=1)
    stores = [item.sha256 for item in index.manifest.derived]
    was = content(index)
    report = compact_index(out, rows=rows)
    manifest = read_manifest(out)
    assert [segment.rows for segment in manifest.segments] == segments
    assert (report.segments, report.records, report.deleted) == (len(segments), 8, 0)
    assert [item.sha256 for item in manifest.derived] == stores  # the rows are in the same order
    assert content(Index.open(out)) == was
    Index.open(out).verify()
    before = files(out)
    compact_index(out, rows=rows)
    assert files(out) == before
    assert build(corpus, out, merge_rows=1).report.unchanged == 8


def test_compacting_removes_what_a_killed_run_left(corpus, out):
    build(corpus, out)
    for name in ("segments/000077.parquet", "image-000099.faiss", ".manifest.json.x.tmp", "vanished-000003.jsonl"):
        (out / name).write_text("left")
    report = compact_index(out)
    assert report.bytes_before > report.bytes
    assert not [name for name, data in files(out).items() if data == b"left"]


def test_compacting_an_interrupted_build_keeps_it_unfinished(corpus, out):
    class Dying(ColourEncoder):
        def encode_images(self, images):
            if self.images >= 6:
                raise KeyboardInterrupt
            return super().encode_images(images)

    with pytest.raises(KeyboardInterrupt):
        build(corpus, out, Dying())
    compact_index(out)
    assert (len(Index.open(out).records), read_manifest(out).complete) == (6, False)
    encoder = ColourEncoder()
    assert content(build(corpus, out, encoder)) == content(build(corpus, out.with_name("fresh")))
    assert encoder.images == 2


@pytest.mark.parametrize("rows", [0, -1])
def test_rows_below_one(corpus, out, rows):
    build(corpus, out)
    with pytest.raises(InputError, match=f"rows is {rows}"):
        compact_index(out, rows=rows)


def test_no_index_gets_no_lock(tmp_path):
    with pytest.raises(StoreError, match="is not an index"):
        compact_index(tmp_path)
    assert files(tmp_path) == {}


def test_superseded_rows_leave_with_their_update(corpus, out):
    build(corpus, out)
    records = [replace(corpus.records[0], caption="grey"), *corpus.records[1:]]
    build(of(corpus.root, records), out)
    assert not traces(out, "a red square number 0")
