"""SIGKILL at any moment: what was committed is there, nothing is there twice, and the next run completes it."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

if sys.platform == "win32":
    pytest.skip("no SIGKILL there", allow_module_level=True)

from killing import DELETED, SETTINGS, Child, Step, corpora, operate, watch
from tiny import build, content, files

from ragvlm.errors import StoreError
from ragvlm.index import Index
from ragvlm.index.manifest import read_manifest
from ragvlm.index.verify import verify

OPERATIONS = ("index", "add", "update", "delete", "compact")
KILLS = 40  # random ones, of each operation: 200 in all
CHAIN = 4  # kills before the operation is allowed to end


class Stage:
    """Where the operations play: what each begins with, and what it ends with when nobody kills it."""

    def __init__(self, root: Path) -> None:
        self.root, self.place = root, root / "corpus"
        made = corpora(self.place)
        build(made["some"], root / "some", **SETTINGS)
        build(made["all"], root / "all", **SETTINGS)
        build(made["all"], root / "split", **SETTINGS | {"merge_rows": 1})
        self.before = {"add": "some", "update": "all", "delete": "all", "compact": "split"}
        self.rows: dict[str, tuple[list[Any], list[Any]]] = {}
        self.unbroken: dict[str, Index] = {}
        self.seconds: dict[str, float] = {}
        for name in OPERATIONS:
            out = self.fresh(name, root / f"unbroken-{name}")
            old = content(Index.open(out)) if out.exists() else []
            started = time.monotonic()
            operate(name, self.place, out)
            self.seconds[name] = time.monotonic() - started
            self.unbroken[name] = Index.open(out)
            self.rows[name] = old, content(self.unbroken[name])

    def fresh(self, name: str, out: Path) -> Path:
        shutil.rmtree(out, ignore_errors=True)
        if name in self.before:
            shutil.copytree(self.root / self.before[name], out)
        return out

    def check(self, name: str, out: Path) -> set[str]:
        """A reader finds old rows or new rows, whole; the ids of those that are new."""
        try:
            index = Index.open(out)
        except StoreError as error:
            assert name == "index"
            assert "is not an index" in str(error)  # killed before the first commit of all
            return set()
        assert verify(out).sound
        old, new = ({row[0]: row for row in rows} for rows in self.rows[name])
        found = content(index)
        assert len({row[0] for row in found}) == len(found) == len(index)
        assert all(row in (old.get(row[0]), new.get(row[0])) for row in found)
        here = {row[0] for row in found}
        if name in ("delete", "compact"):  # one commit
            assert here in (old.keys(), new.keys())
        else:
            assert old.keys() - {"a07"} <= here
        return {row[0] for row in found if row != old.get(row[0])} | (old.keys() - here)

    def complete(self, name: str, out: Path) -> None:
        operate(name, self.place, out)
        index = Index.open(out)
        assert index.manifest.complete
        assert index.fingerprint == self.unbroken[name].fingerprint
        assert content(index) == self.rows[name][1]
        assert not verify(out).leftovers
        assert {"manifest.json", *(item.file for item in index.manifest.files)} >= {
            file for file in files(out) if not file.startswith(".") and file != "scan.parquet"
        }
        if name == "delete":
            rows = [i for p in (out / "segments").iterdir() for i in pq.read_table(p)["id"].to_pylist()]
            assert not set(DELETED) & set(rows)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    memory = Path("/dev/shm")  # noqa: S108 (no disk's time is spent on syncing)
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        yield Stage(Path(root))


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_random_moments(stage, name):
    rng, out = random.Random(name), stage.root / "random"
    kills, longest = 0, 0.0
    for _ in range(3 * KILLS):
        if kills >= KILLS:
            break
        stage.fresh(name, out)
        had: set[str] = set()
        for _ in range(CHAIN):
            child = Child(operate, name, stage.place, out)
            # the duration is measured as it goes, since others use this machine too
            delay = rng.uniform(0, 1.1 * (longest or stage.seconds[name]))
            started = time.monotonic()
            child.process.join(delay)
            if child.process.exitcode is None:
                child.kill()
                kills += 1
            else:
                longest = max(longest, time.monotonic() - started)
            now = stage.check(name, out)
            assert had <= now  # what was committed is there
            had = now
        stage.complete(name, out)
    assert kills >= KILLS


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_every_step_on_the_disk(stage, name):
    out = stage.root / "steps"
    for step in range(1000):
        stage.fresh(name, out)
        child = Child(operate, name, stage.place, out, die_at=step)
        if child.end() is not None:
            break
        stage.check(name, out)
        if step % 3 == 0:
            stage.complete(name, out)
    assert step > 10


def test_nothing_is_named_before_it_is_synced(stage, monkeypatch):
    """What a power cut would tell: each file is synced before it gets its name, its folder after."""
    steps: list[Step] = []
    for owner, name in ((Path, "replace"), (Path, "unlink"), (tempfile, "mkstemp"), (__import__("os"), "fsync")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    watch(steps.append)
    out = stage.fresh("update", stage.root / "synced")
    operate("update", stage.place, out)
    named = [i for i, step in enumerate(steps) if step.name == "replace"]
    assert len(named) >= 5
    for i in named:
        source, target = steps[i].paths
        assert Step("fsync", (source,)) in steps[:i]
        assert steps[i + 1] == Step("fsync", (str(Path(target).parent),))
    # nothing that the old manifest names is removed before the new one has its name
    last = max(i for i in named if steps[i].paths[1].endswith("manifest.json"))
    old = {item.file for item in read_manifest(stage.root / "all").files}
    removed = [i for i, s in enumerate(steps) if s.name == "unlink" and s.paths[0].removeprefix(f"{out}/") in old]
    assert removed
    assert min(removed) > last
