"""Remembered digests: right after every change that the file system shows, and no second reading without one."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ragvlm.encoders import digests
from ragvlm.encoders.digests import remembered_sha256

SIZE = (1 << 20) + 5


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The files that were read, in order."""
    monkeypatch.setenv("RAGVLM_CACHE", str(tmp_path / "cache"))
    read, true = [], digests.sha256_file

    def count(path: Path) -> str:
        read.append(path)
        return true(path)

    monkeypatch.setattr(digests, "sha256_file", count)
    return read


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands three seconds ahead, so that fresh files count as settled."""
    ahead = time.time_ns() + 3_000_000_000
    monkeypatch.setattr(digests.time, "time_ns", lambda: ahead)


def wanted(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.usefixtures("later")
def test_a_file_is_read_once(tmp_path: Path, readings: list[Path]) -> None:
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(SIZE))
    assert [remembered_sha256(path) for _ in range(3)] == [wanted(path)] * 3
    assert readings == [path]


def rewrite(path: Path) -> None:
    path.write_bytes(os.urandom(SIZE))


def rewrite_and_set_the_clock_back(path: Path) -> None:
    before = path.stat()
    rewrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    before, other = path.stat(), path.with_name("other")
    rewrite(other)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("change", [rewrite, rewrite_and_set_the_clock_back, replace])
def test_a_change_of_the_same_size_is_seen(
    change: Callable[[Path], None], tmp_path: Path, readings: list[Path]
) -> None:
    path = tmp_path / "weights"
    rewrite(path)
    first = remembered_sha256(path)
    time.sleep(0.02)  # beyond the step of the file system's clock
    change(path)
    assert remembered_sha256(path) == wanted(path) != first
    assert len(readings) == 2


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path, readings: list[Path]) -> None:
    path = tmp_path / "weights"
    rewrite(path)
    assert remembered_sha256(path) == remembered_sha256(path)
    assert len(readings) == 2


@pytest.mark.usefixtures("later")
def test_a_small_file_leaves_no_note(tmp_path: Path, readings: list[Path]) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    assert remembered_sha256(path) == wanted(path)
    assert not (tmp_path / "cache").exists()
    assert readings == [path]


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("damage", ["", "{", "[]", '{"state": 1}', '{"sha256": "0"}'])
def test_a_damaged_note_is_made_again(damage: str, tmp_path: Path, readings: list[Path]) -> None:
    path = tmp_path / "weights"
    rewrite(path)
    remembered_sha256(path)
    (note,) = (tmp_path / "cache" / "digests").iterdir()
    note.write_text(damage)
    assert [remembered_sha256(path) for _ in range(2)] == [wanted(path)] * 2
    assert len(readings) == 2


@pytest.mark.usefixtures("later")
def test_without_a_cache_it_is_read_each_time(tmp_path: Path, readings: list[Path]) -> None:
    path = tmp_path / "weights"
    rewrite(path)
    (tmp_path / "cache").write_text("in the way")
    assert [remembered_sha256(path) for _ in range(2)] == [wanted(path)] * 2
    assert len(readings) == 2
