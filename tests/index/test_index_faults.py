"""A full disk, a folder that can't be written, readers beside a writer: the old state or the new one, and one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("no such limits there", allow_module_level=True)

from killing import SETTINGS, Child, corpora, operate
from tiny import ColourEncoder, build, content, files, make_corpus, of

from ragvlm.errors import RagvlmError, StoreError
from ragvlm.index import Index
from ragvlm.index.verify import repair, verify

OPERATIONS = ("index", "update", "delete", "compact")
BEFORE = {"index": None, "update": "all", "delete": "all", "compact": "split"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpora, and the indexes that the operations begin with."""
    root = tmp_path_factory.mktemp("stage")
    made = corpora(root / "corpus")
    build(made["all"], root / "all", **SETTINGS)
    build(made["all"], root / "split", **SETTINGS | {"merge_rows": 1})
    return root


class Disk:
    """A file system in memory, of a size that can be changed."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        self._mount("-t", "tmpfs", "-o", "size=4k", "tmpfs")

    def _mount(self, *args: str) -> None:
        done = subprocess.run(["mount", *args, str(self.place)], capture_output=True)
        if done.returncode:
            pytest.skip("mounting a file system in memory needs root")

    def set(self, options: str) -> None:
        self._mount("-o", f"remount,{options}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    subprocess.run(["umount", made.place], check=True)


def as_before(stage: Path, name: str, out: Path) -> None:
    """What a failed operation left: nothing, or an index in a state that was committed."""
    before = BEFORE[name]
    if before is None and not out.exists():
        return
    report = verify(out)
    assert report.sound
    assert report.leftovers == ()
    if name == "index":  # as far as it came
        assert 0 < len(Index.open(out).records) <= 12
    elif name != "update":
        assert content(Index.open(out)) == content(Index.open(stage / str(before)))


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_full_disk(stage, disk, tmp_path, name):
    operate(name, stage / "corpus", whole := fresh(stage, name, tmp_path / "whole"))
    refused = 0
    for pages in range(1, 12, 2):
        disk.set("size=64m")
        out = fresh(stage, name, disk.place / "index")
        used = shutil.disk_usage(disk.place).used
        disk.set(f"size={used + pages * 4096}")
        try:
            operate(name, stage / "corpus", out)
        except RagvlmError as error:
            refused += 1
            assert "No space left on device" in str(error)
            assert "\n" not in str(error)
            as_before(stage, name, out)
        disk.set("size=64m")
        operate(name, stage / "corpus", out)
        assert content(Index.open(out)) == content(Index.open(whole))
        shutil.rmtree(out)
    assert refused >= 2


def fresh(stage: Path, name: str, out: Path) -> Path:
    if (before := BEFORE[name]) is not None:
        shutil.copytree(stage / before, out)
    return out


@pytest.mark.parametrize("limit", [0, 600, 1900, 4000, 5500])
@pytest.mark.parametrize("name", OPERATIONS)
def test_files_that_may_not_grow(stage, tmp_path, name, limit):
    out = fresh(stage, name, tmp_path / "index")
    said = Child(operate, name, stage / "corpus", out, limit=limit).end()
    assert said is not None
    if said:
        assert "File too large" in said
        assert "\n" not in said
        as_before(stage, name, out)
    else:
        assert limit > 5000
    operate(name, stage / "corpus", out)
    assert verify(out).sound


@pytest.fixture
def read_only(stage: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An index in a folder that can't be written, whoever we are."""
    if os.geteuid() == 0:
        made = request.getfixturevalue("disk")
        made.set("size=64m")
        shutil.copytree(stage / "split", made.place / "index")
        made.set("ro")
        return Path(made.place / "index")
    out = shutil.copytree(stage / "split", tmp_path / "ro" / "index")
    folders = [out / "segments", out, out.parent]
    for folder in folders:
        folder.chmod(0o555)
    request.addfinalizer(lambda: [folder.chmod(0o755) for folder in folders])
    return Path(out)


def test_a_folder_that_can_not_be_written(stage, read_only):
    before = files(read_only)
    for name in ("update", "delete", "compact"):
        with pytest.raises(StoreError, match="choose a folder that can be written") as caught:
            operate(name, stage / "corpus", read_only)
        assert "\n" not in str(caught.value)
        assert str(read_only) in str(caught.value)
    with pytest.raises(StoreError, match="choose a folder that can be written"):
        operate("index", stage / "corpus", read_only.parent / "new")
    with pytest.raises(StoreError, match="choose a folder that can be written"):
        repair(read_only)
    assert files(read_only) == before
    assert verify(read_only).sound
    assert len(Index.open(read_only, encoder=ColourEncoder()).search("red", k=3)) == 3


def flip_flop(place: Path, out: Path, rounds: int) -> None:
    """Index two corpora in turn that differ in every caption, each in one commit; merge and delete in between."""
    encoder = ColourEncoder()
    red = make_corpus(place, 8)
    grey = of(place, [replace(record, caption="grey") for record in red.records])
    for turn in range(rounds):
        build(grey if turn % 2 else red, out, encoder, segment_rows=8, merge_rows=99, store="faiss")


def test_readers_beside_a_writer_see_one_state(tmp_path):
    out, encoder = tmp_path / "index", ColourEncoder()
    flip_flop(tmp_path / "corpus", out, 1)
    red = content(Index.open(out))
    flip_flop(tmp_path / "corpus", out, 2)
    grey = content(Index.open(out))
    assert red != grey
    writer = Child(flip_flop, tmp_path / "corpus", out, 24)
    seen = []
    while writer.process.is_alive():
        index = Index.open(out, encoder=encoder)
        found = content(index)
        assert found in (red, grey)
        caption = index.search("grey", k=1)[0].record.caption
        assert (caption == "grey") == (found == grey)
        seen.append(found == grey)
    assert writer.end() == ""
    assert len(set(seen)) == 2
