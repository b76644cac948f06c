"""Whatever is changed on disk is found, said in words, and mended where it is made from something else."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import ColourEncoder, build, content, files, make_corpus, of

from ragvlm.errors import StoreError
from ragvlm.index import Index
from ragvlm.index.finish import clean
from ragvlm.index.lock import writing
from ragvlm.index.manifest import NAME, read_manifest
from ragvlm.index.verify import repair, verify
from ragvlm.stores import load_store


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Eight records in three segments, one of them vanished."""
    root = tmp_path_factory.mktemp("sound")
    corpus = make_corpus(root / "corpus")
    build(corpus, root / "index")
    return build(of(corpus.root, corpus.records[1:]), root / "index")


@pytest.fixture
def copy(sound: Index, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound.path, tmp_path / "copy"))


def flip(path: Path, position: int, bit: int) -> bytes:
    data = path.read_bytes()
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    path.write_bytes(changed)
    return data


def test_a_sound_index(sound):
    before = files(sound.path)
    calls: list[tuple[int, int]] = []
    report = verify(sound.path, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (sum(item.bytes for item in sound.manifest.files),) * 2
    assert (report.sound, report.records, report.files, report.leftovers) == (True, 8, 8, ())
    assert str(report) == f"{sound.path}: 8 records in 8 files: sound"
    assert files(sound.path) == before


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_every_flipped_bit_is_found(sound, data):
    manifest = sound.manifest
    name = data.draw(st.sampled_from([NAME, *(item.file for item in manifest.files)]))
    path = sound.path / name
    position, bit = data.draw(st.integers(0, path.stat().st_size - 1)), data.draw(st.integers(0, 7))
    was = flip(path, position, bit)
    try:
        found = verify(sound.path).findings
        assert [finding.file for finding in found] == [name]
    finally:
        path.write_bytes(was)


def test_every_byte_of_a_segment_counts(sound, copy):
    segment = sound.manifest.segments[2]
    path = copy / segment.file
    rng = random.Random(7)
    for position in range(0, segment.bytes, 7):
        was = flip(path, position, rng.randrange(8))
        assert [finding.file for finding in verify(copy).findings] == [segment.file]
        path.write_bytes(was)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("harm", [Path.unlink, cut, zero])
@pytest.mark.parametrize("kind", ["image", "text"])
def test_stores_are_repaired(sound, copy, harm, kind):
    item = sound.manifest.derived_of(kind)
    harm(copy / item.file)
    (finding,) = verify(copy).findings
    assert (finding.file, finding.derived) == (item.file, True)
    assert f"ragvlm verify {copy} --repair" in finding.remedy
    report = repair(copy)
    assert (report.sound, report.repaired) == (True, (item.file,))
    assert content(Index.open(copy)) == content(sound)
    assert read_manifest(copy).segments == sound.manifest.segments
    assert Index.open(copy).vanished == {"a00"}


def test_a_store_of_other_vectors_is_found(sound, copy):
    """Its checksum is that of the manifest: only the segments know better."""
    manifest = read_manifest(copy)
    item = manifest.derived_of("image")
    vectors = Index.open(copy).image_embeddings(range(8))
    store = load_store("faiss")(4)
    store.add(np.roll(vectors, 1, axis=0))
    store.save(copy / item.file)
    from ragvlm.paths import sha256_file

    wrong = replace(item, bytes=(copy / item.file).stat().st_size, sha256=sha256_file(copy / item.file))
    manifest.committed(copy, derived=tuple(wrong if other == item else other for other in manifest.derived))
    (finding,) = verify(copy).findings
    assert finding.problem == "holds other vectors than the segments"
    assert repair(copy).sound
    assert content(Index.open(copy)) == content(sound)


def test_a_segment_is_mended_by_indexing_again(sound, copy, tmp_path):
    segment = sound.manifest.segments[1]
    flip(copy / segment.file, segment.bytes // 2, 3)
    report = repair(copy)
    assert not report.sound
    (finding,) = report.findings
    assert (finding.file, finding.problem, finding.derived) == (segment.file, "differs from its checksum", False)
    assert f"encode its 3 records again .*{sound.manifest.corpus_root} --out {copy} --rehash".split(" .*")[0] in str(
        finding
    )
    assert str(report).splitlines()[-1] == f"{copy}: 8 records in 8 files: 1 damaged"
    corpus = of(Path(sound.manifest.corpus_root), make_corpus(tmp_path / "same").records)
    encoder = ColourEncoder()
    build(corpus, copy, encoder, rehash=True)
    assert encoder.images == 3
    assert verify(copy).sound


def test_damaged_segments_are_not_made_the_source_of_stores(sound, copy):
    flip(copy / sound.manifest.segments[0].file, 200, 1)
    (copy / sound.manifest.derived_of("text").file).unlink()
    report = repair(copy)
    assert [finding.remedy == "mend the segments first" for finding in report.findings] == [False, True]
    assert not list(copy.glob("text-*"))


def test_a_lost_list_of_marks(sound, copy):
    item = sound.manifest.vanished
    cut(copy / item.file)
    assert len(Index.open(copy).records) == 8  # it keeps nobody from searching
    (finding,) = verify(copy).findings
    assert "marks again" in finding.remedy
    assert repair(copy).repaired == (item.file,)
    assert Index.open(copy).vanished == frozenset()


def test_a_half_copied_folder(sound, copy):
    (copy / NAME).unlink()
    (finding,) = verify(copy).findings
    assert finding.file == NAME
    assert "is not an index (no manifest.json)" in finding.problem
    assert repair(copy).findings
    shutil.copy(sound.path / NAME, copy / NAME)
    shutil.rmtree(copy / "segments")
    assert [finding.problem for finding in verify(copy).findings[:3]] == ["is missing"] * 3


def test_only_the_manifest(sound, tmp_path):
    shutil.copy(sound.path / NAME, tmp_path)
    assert len(verify(tmp_path).findings) == 7
    with pytest.raises(StoreError, match=r"000001\.parquet is missing; copy the index again or restore it with"):
        Index.open(tmp_path)


def test_no_index_at_all(tmp_path):
    for call in (verify, repair):
        with pytest.raises(StoreError, match="is not an index"):
            call(tmp_path)
    assert files(tmp_path) == {}


def test_counts_that_are_not_those_of_the_segments(copy):
    from dataclasses import replace

    manifest = read_manifest(copy)
    manifest.committed(copy, counts=replace(manifest.counts, licences={"": 8}))
    (finding,) = verify(copy).findings
    assert "counts 8 records" in finding.problem


def test_leftovers_are_named_and_removed(copy):
    (copy / "segments/000042.parquet").write_text("left")
    report = verify(copy)
    assert (report.sound, report.leftovers) == (True, ("segments/000042.parquet",))
    assert repair(copy).leftovers == ()
    assert not (copy / "segments/000042.parquet").exists()


def test_verify_beside_a_writer(sound, copy, monkeypatch):
    """What was replaced while it was looked at is no damage."""
    from ragvlm.index import verify as module

    real, calls = module.damage, []

    def slow(*args, **options):
        if not calls:
            calls.append(1)
            manifest = read_manifest(copy)
            clean(copy, manifest.committed(copy, derived=()))
        return real(*args, **options)

    monkeypatch.setattr(module, "damage", slow)
    report = verify(copy)
    assert [finding.file for finding in report.findings] == ["rows file", "image file", "text file"]


def test_repair_needs_the_lock(copy):
    with writing(copy), pytest.raises(StoreError, match="is writing it"):
        repair(copy)
