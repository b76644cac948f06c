"""SIGKILL at any moment: what was committed is there, nothing is there twice, and the next build completes it."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tiny import ColourEncoder, build, make_corpus, of

from ragvlm.corpus import Corpus
from ragvlm.errors import StoreError
from ragvlm.index import Index

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
N = 24
LAST_OF_UPDATE = 18


def build_until(corpus: Corpus, out: Path, delay: float, die_at: int) -> None:
    """Build; at the rename number ``die_at`` (from 0; odd numbers: after it) the process kills itself."""
    moments = iter(range(1_000_000))
    rename = Path.replace

    def dying(self: Path, target: Path) -> Path:
        if next(moments) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        result = rename(self, target)
        if next(moments) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    Path.replace = dying  # type: ignore[method-assign]
    build(corpus, out, ColourEncoder(delay=delay), segment_rows=4, merge_rows=4, prune=True)


def start(corpus: Corpus, out: Path, delay: float = 0.0, die_at: int = -1) -> multiprocessing.process.BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["pytest", "ragvlm.corpus", "ragvlm.index.writer", "pyarrow.parquet", "faiss", "filelock"]
    )
    process = context.Process(target=build_until, args=(corpus, out, delay, die_at))
    process.start()
    return process


def changed(corpus: Corpus) -> Corpus:
    """Without two records, with two other captions: superseding, removing and compaction all happen."""
    records = [r for r in corpus.records if r.id not in ("a03", "a10")]
    return of(corpus.root, [replace(r, caption="grey") if r.id in ("a05", "a20") else r for r in records])


def committed(out: Path) -> set[str]:
    """The ids that a reader finds; whatever it finds is whole."""
    try:
        index = Index.open(out)
    except StoreError as error:
        assert "is not an index" in str(error)  # killed before the first commit of all
        return set()
    index.verify()
    found = [record.id for record in index.records]
    assert len(found) == len(set(found)) == len(index)
    if found:
        assert len(index.image_store) == len(index.text_store) == len(found)
        for row, record in enumerate(index.records):
            wanted = ColourEncoder().encode_texts([record.caption or ""])
            assert index.text_embeddings([row])[0] @ wanted[0] > 0.999
    return set(found)


def finish(corpus: Corpus, out: Path, had: set[str], fresh: Index) -> Index:
    """The next build encodes only what was not committed, and makes the same index as the unbroken ``fresh``."""
    encoder = ColourEncoder()
    index = build(corpus, out, encoder, segment_rows=4, merge_rows=4, prune=True)
    assert index.report.unchanged >= len(had & {r.id for r in corpus.records}) - 2
    assert encoder.images == index.report.added + index.report.updated
    assert index.manifest.complete
    assert sorted(map(repr, index.records)) == sorted(map(repr, fresh.records))
    stored = [i for p in sorted((out / "segments").iterdir()) for i in pq.read_table(p)["id"].to_pylist()]
    assert sorted(stored) == sorted(record.id for record in index.records)
    assert not [p for p in out.rglob("*") if p.suffix == ".tmp"]
    assert len(list(out.glob("*.faiss"))) == 2
    return index


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"), N)


@pytest.fixture(scope="module")
def unbroken(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Index:
    return build(corpus, tmp_path_factory.mktemp("unbroken"), segment_rows=4, merge_rows=4)


@pytest.fixture(scope="module")
def updated(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Index:
    return build(changed(corpus), tmp_path_factory.mktemp("updated"), segment_rows=4, merge_rows=4)


def test_killed_at_random_moments(corpus, unbroken, tmp_path):
    out, rng = tmp_path / "index", random.Random(5)
    had: set[str] = set()
    for _ in range(10):
        process = start(corpus, out, delay=0.02)
        deadline = time.monotonic() + 30
        while not (out / ".lock").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.25))
        process.kill()
        process.join()
        now = committed(out)
        assert had <= now
        had = now
    assert finish(corpus, out, had, unbroken).fingerprint == unbroken.fingerprint


# a build renames the first manifest, six segments with a manifest each, two stores, and the last manifest
@pytest.mark.parametrize("moment", [0, 1, 2, 3, 4, 26, 28, 30, 31])
def test_killed_at_a_rename(corpus, unbroken, tmp_path, moment):
    out = tmp_path / "index"
    process = start(corpus, out, die_at=moment)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert finish(corpus, out, committed(out), unbroken).fingerprint == unbroken.fingerprint


# an update renames a segment and its manifest, four compacted segments, two stores and the last manifest
@pytest.mark.parametrize("moment", range(0, LAST_OF_UPDATE + 1, 2))
def test_killed_during_an_update(corpus, unbroken, updated, tmp_path, moment):
    out = tmp_path / "index"
    shutil.copytree(unbroken.path, out)
    process = start(changed(corpus), out, die_at=moment)
    process.join()
    # the notes on the pictures' files are written after the last commit
    assert process.exitcode == -signal.SIGKILL or moment == LAST_OF_UPDATE
    had = committed(out)
    assert had in ({r.id for r in corpus.records}, {r.id for r in updated.records})
    finish(changed(corpus), out, had, updated)


def test_a_second_writer_is_refused_at_once(corpus, unbroken, tmp_path):
    out = tmp_path / "index"
    process = start(corpus, out, delay=0.1)
    deadline = time.monotonic() + 30
    while not (out / "manifest.json").exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    with pytest.raises(StoreError, match=r"another process \(pid \d+ on .* is writing it"):
        build(corpus, out)
    process.kill()
    process.join()
    finish(corpus, out, committed(out), unbroken)
