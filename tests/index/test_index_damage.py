"""An index that was damaged: what can be made again is, the rest is named in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny import build, make_corpus

from ragvlm.errors import StoreError
from ragvlm.index import Index, derived
from ragvlm.index.manifest import NAME, read_manifest, seal


@pytest.fixture
def built(tmp_path: Path) -> Index:
    """Eight records in segments of three rows."""
    return build(make_corpus(tmp_path / "corpus"), tmp_path / "index", segment_rows=3)


def edit_manifest(index: Index, change: object) -> None:
    path = index.path / "manifest.json"
    table = json.loads(path.read_text())
    change(table)  # type: ignore[operator]
    path.write_bytes(seal(table))


@pytest.mark.parametrize("store", ["numpy", "faiss"])
@pytest.mark.parametrize("damage", ["absent", "short", "garbage", "other rows"])
def test_store_files_are_made_again(tmp_path, store, damage):
    built = build(make_corpus(tmp_path / "c"), tmp_path / "i", store=store)
    wanted = built.image_store.search(built.image_embeddings([0, 5]), 8)
    path = built.path / built.manifest.derived_of("image").file
    if damage == "absent":
        path.unlink()
    elif damage == "other rows":
        edit_manifest(built, lambda t: t["derived"][0].update(rows=7))
    else:
        path.write_bytes(path.read_bytes()[:-5] if damage == "short" else b"\0" * path.stat().st_size)
    opened = Index.open(built.path)
    scores, positions = opened.image_store.search(opened.image_embeddings([0, 5]), 8)
    assert positions.tolist() == wanted[1].tolist()
    assert scores.tolist() == wanted[0].tolist()
    again = Index.open(built.path)
    again.verify()
    assert sorted(p.name for p in built.path.glob("image-*")) == [again.manifest.derived_of("image").file]
    assert again.fingerprint == built.fingerprint


def test_a_folder_that_cannot_be_written_is_served_from_memory(built, monkeypatch):
    (built.path / built.manifest.derived_of("text").file).unlink()
    before = (built.path / "manifest.json").read_bytes()

    def refuse(path: Path) -> None:
        raise StoreError("read-only")

    monkeypatch.setattr(derived, "atomic_path", refuse)
    assert len(Index.open(built.path).text_store) == 8
    assert (built.path / "manifest.json").read_bytes() == before
    assert not list(built.path.glob("text-*"))


def flip(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def test_every_byte_of_the_manifest_counts(built):
    content = (built.path / NAME).read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        (built.path / NAME).write_bytes(changed)
        with pytest.raises(StoreError, match=r"is damaged|has format version"):
            read_manifest(built.path)
    (built.path / NAME).write_bytes(content[:-1])
    with pytest.raises(StoreError, match="is damaged"):
        read_manifest(built.path)


def delete_segment(index: Index) -> None:
    (index.path / "segments/000002.parquet").unlink()


def cut_segment(index: Index) -> None:
    path = index.path / "segments/000002.parquet"
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda i: shutil.rmtree(i.path), "is not an index.*build one with: ragvlm index CORPUS --out"),
        (lambda i: (i.path / "manifest.json").unlink(), "is not an index"),
        (lambda i: (i.path / "manifest.json").write_text('{"format_version": 1,'), "is damaged"),
        (lambda i: (i.path / "manifest.json").write_bytes(b"\xff\xfe"), "is damaged"),
        (lambda i: (i.path / "manifest.json").write_text("[]"), "format version None"),
        (lambda i: edit_manifest(i, lambda t: t.update(format_version=3)), "format version 3.*reads 2.*another --out"),
        (lambda i: (i.path / "manifest.json").write_text('{\n "format_version": 1\n}\n'), "format version 1, this"),
        (lambda i: flip(i.path / NAME, b'"store": "a', b'"store": "b'), r"manifest\.json is damaged .*its checksum"),
        (lambda i: flip(i.path / NAME, b'"generation": ', b'"generation":  '), "differs from its checksum"),
        (lambda i: flip(i.path / NAME, b'_version": 2', b'_version": 3'), "differs from its checksum"),
        (lambda i: edit_manifest(i, lambda t: t.update(calibration={"nonconformity": [0.1, "x"]})), "list of numbers"),
        (lambda i: edit_manifest(i, lambda t: t.update(calibration={"evidence": {"threshold": "x"}})), "no threshold"),
        (lambda i: edit_manifest(i, lambda t: t.update(calibration={"evidence": 3})), "no threshold"),
        (lambda i: edit_manifest(i, lambda t: t.update(calibration={"image_similarity": {"sd": 1}})), "mean and sd"),
        (lambda i: edit_manifest(i, lambda t: t.update(calibration={"text_similarity": [1]})), "mean and sd"),
        (lambda i: edit_manifest(i, lambda t: t.pop("encoder")), "is damaged .*encoder"),
        (lambda i: edit_manifest(i, lambda t: t.update(generation="x")), "'generation' is not of type int"),
        (lambda i: edit_manifest(i, lambda t: t["counts"].update(colour=1)), "is damaged"),
        (lambda i: edit_manifest(i, lambda t: t["segments"][0].update(file="../x.parquet")), "unexpected file name"),
        (lambda i: edit_manifest(i, lambda t: t["segments"][0].update(rows=-1)), "'rows' is -1"),
        (lambda i: edit_manifest(i, lambda t: t["counts"].update(records="8")), "'records' is not of type int"),
        (delete_segment, "segments/000002.parquet is missing; .*ragvlm index"),
        (cut_segment, "segments/000002.parquet has 100 bytes instead of"),
    ],
)
def test_damage_is_named_in_one_line(built, damage, message):
    damage(built)
    with pytest.raises(StoreError, match=message) as caught:
        Index.open(built.path)
    assert "\n" not in str(caught.value)
    assert str(built.path) in str(caught.value)


def test_a_segment_with_other_bytes(built):
    path = built.path / "segments/000001.parquet"
    content = bytearray(path.read_bytes())
    content[8:200] = bytes(192)
    path.write_bytes(content)
    index = Index.open(built.path)  # sizes are as they were
    with pytest.raises(StoreError, match=r"000001\.parquet differs from its checksum"):
        index.verify()
    with pytest.raises(StoreError, match=r"000001\.parquet can't be read"):
        _ = index.records[0]


def test_open_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is not an index"):
        Index.open(tmp_path / "file")
