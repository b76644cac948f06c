"""An unchanged file is not read again, and no change that a user would make goes unseen."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tiny import ColourEncoder, build, make_corpus, of, paint

from ragvlm.corpus import Corpus
from ragvlm.errors import StoreError
from ragvlm.index import Index, scan

pytestmark = pytest.mark.skipif(not scan.TRUSTED, reason="every file is read there")


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    # pictures older than the coarsest clock's tick
    monkeypatch.setattr(scan, "SETTLED", 50_000_000)
    made = make_corpus(tmp_path / "corpus")
    time.sleep(0.06)
    return made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read for their checksum."""
    names: list[str] = []
    real = scan.sha256_file
    monkeypatch.setattr(scan, "sha256_file", lambda path: (names.append(path.name), real(path))[1])
    return names


def again(corpus: Corpus) -> Corpus:
    return of(corpus.root, corpus.records)


def test_unchanged_files_are_not_read(corpus, tmp_path, read):
    build(corpus, tmp_path / "i")
    assert sorted(read) == [f"p0{i}.png" for i in range(8)]
    read.clear()
    assert build(again(corpus), tmp_path / "i").report.unchanged == 8
    assert read == []
    assert build(again(corpus), tmp_path / "i", rehash=True).report.unchanged == 8
    assert len(read) == 8


@pytest.mark.skipif(sys.platform != "linux", reason="names must be UTF-8 there")
def test_no_name_is_kept_and_none_is_too_strange(corpus, tmp_path):
    strange = os.fsdecode(b"p\xff.png")
    shutil.copy(corpus.root / "p00.png", corpus.root / strange)
    time.sleep(0.06)
    records = [*corpus.records, replace(corpus.records[0], id="strange", image=strange)]
    assert len(build(of(corpus.root, records), tmp_path / "i").report.skipped) == 1
    kept = pq.read_table(tmp_path / "i" / scan.NAME)["path"].to_pylist()
    assert len(kept) == 9
    assert not any("png" in name for name in kept)


def test_a_file_that_was_touched_just_now_is_read_again(corpus, tmp_path, read, monkeypatch):
    paint(corpus.root / "p03.png", "grey")
    now = (corpus.root / "p03.png").stat().st_ctime_ns + scan.SETTLED // 2
    monkeypatch.setattr(scan.time, "time_ns", lambda: now)  # however long the machine takes
    build(again(corpus), tmp_path / "i")
    read.clear()
    build(again(corpus), tmp_path / "i")
    assert read == ["p03.png"]


def overwrite(path: Path) -> None:
    """Another picture of as many bytes, with the old time of modification put back."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1  # in the checksum of the last chunk: no decoder looks at it
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def swap(path: Path) -> None:
    """Another file of as many bytes and the same time of modification moved into its place."""
    other = path.with_name("other")
    shutil.copy2(path, other)
    overwrite(other)
    other.replace(path)


def edit_in_place(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as stream:
        stream.seek(-20, os.SEEK_END)
        stream.write(b"!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [overwrite, swap, edit_in_place])
def test_a_change_that_leaves_size_and_time_is_seen(corpus, tmp_path, read, change):
    build(corpus, tmp_path / "i")
    before = (corpus.root / "p02.png").stat()
    change(corpus.root / "p02.png")
    after = (corpus.root / "p02.png").stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    read.clear()
    index = build(again(corpus), tmp_path / "i")
    assert read[:1] == ["p02.png"]
    assert index.report.updated + len(index.report.skipped) == 1


@pytest.mark.parametrize("damage", ["absent", "garbage", "one byte"])
def test_without_its_notes_everything_is_read(corpus, tmp_path, read, damage):
    build(corpus, tmp_path / "i")
    notes = tmp_path / "i" / scan.NAME
    content = bytearray(notes.read_bytes())
    content[len(content) // 4] ^= 4
    notes.unlink() if damage == "absent" else notes.write_bytes(b"PAR1" if damage == "garbage" else content)
    read.clear()
    encoder = ColourEncoder()
    assert build(again(corpus), tmp_path / "i", encoder).report.unchanged == 8
    assert (len(read), encoder.images) == (8, 0)


@pytest.mark.parametrize("column", ["id", "image_embedding"])
def test_rehash_finds_a_segment_that_decayed(corpus, tmp_path, column):
    index = build(corpus, tmp_path / "i")
    path = index.path / index.manifest.segments[1].file
    group = pq.ParquetFile(path).metadata.row_group(0)
    chunk = next(
        chunk for i in range(group.num_columns) if (chunk := group.column(i)).path_in_schema.startswith(column)
    )
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size - 3] ^= 1
    path.write_bytes(content)
    if column == "id":
        with pytest.raises(StoreError, match=r"000002\.parquet can't be read .*: ragvlm verify"):
            build(again(corpus), tmp_path / "i")
    else:  # its size is as it was, and nobody looked at its vectors
        assert build(again(corpus), tmp_path / "i").report.unchanged == 8
    encoder = ColourEncoder()
    assert build(again(corpus), tmp_path / "i", encoder, rehash=True).report.added == encoder.images == 3
    Index.open(tmp_path / "i").verify()
