"""Approximate stores beside a growing and shrinking index: grown, marked, taken over, or made anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from madeup import DIM, clustered, grow

from ragvlm.errors import StoreError
from ragvlm.index import Index, derived
from ragvlm.index.manifest import read_manifest
from ragvlm.index.upkeep import compact_index
from ragvlm.index.verify import repair, verify
from ragvlm.stores.exact import search_all
from ragvlm.types import Float32

NAMES = [f"r{i}" for i in range(4000)]
VECTORS = clustered(4000)
STORES = ("faiss-hnsw", "faiss-ivf")


@pytest.fixture(scope="module", params=STORES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("base") / "index"
    grow(root, NAMES[:3000], VECTORS[:3000], store=request.param)
    return root


@pytest.fixture
def root(base: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(base, tmp_path / "index"))


def files(root: Path, kind: str) -> list[str]:
    return [item.file for item in read_manifest(root).derived if item.kind == kind]


def recall(index: Index, queries: Float32, k: int = 5) -> float:
    """Also checks that scores are those of a look at all vectors, and that names fit vectors."""
    store = index.image_store
    store.set(refine=300, **{store.effort: 200})
    scores, positions = store.search(queries, k)
    wanted = search_all(index._state.image.source, queries, k)
    shares = []
    for own, at, (true_scores, true) in zip(scores, positions, wanted, strict=True):
        known = dict(zip(true.tolist(), true_scores.tolist(), strict=True))
        assert all(known.get(p, s) == s for p, s in zip(at.tolist(), own.tolist(), strict=True))
        shares.append(len(set(at.tolist()) & set(known)) / k)
        number = int(index.records[int(index.image_rows[at[0]])].id[1:])
        assert np.dot(VECTORS[number], queries[len(shares) - 1]) == pytest.approx(own[0], abs=2e-3)
    return float(np.mean(shares))


def test_added_records_grow_the_store(root, monkeypatch):
    monkeypatch.setattr(derived, "build_store", None)  # it isn't made anew
    before = files(root, "image")
    index = grow(root, NAMES[3000:3400], VECTORS[3000:3400])
    assert files(root, "image") != before
    assert not files(root, "image_map")
    assert (len(index.image_store), index.image_store.slots) == (3400, 3400)
    assert recall(index, VECTORS[2990:3030]) > 0.97


def test_removed_records_are_marked(root, monkeypatch):
    monkeypatch.setattr(derived, "build_store", None)
    before = files(root, "image")
    index = grow(root, [], VECTORS[:0], remove=NAMES[100:500])
    assert files(root, "image") == before
    assert len(files(root, "image_map")) == 1
    assert (len(index.image_store), index.image_store.slots, len(index.records)) == (2600, 3000, 2600)
    assert recall(index, VECTORS[90:130]) > 0.97
    assert "r100" not in {record.id for record in index.records}
    # and again, with new ones beside
    index = grow(root, NAMES[3000:3100], VECTORS[3000:3100], remove=NAMES[500:600])
    assert (len(index.image_store), index.image_store.slots) == (2600, 3100)
    assert recall(index, np.concatenate([VECTORS[590:610], VECTORS[3000:3020]])) > 0.97
    assert verify(root).sound


def test_too_many_dead_vectors_make_it_anew(root):
    index = grow(root, [], VECTORS[:0], remove=NAMES[:700])
    assert (len(index.image_store), index.image_store.slots) == (2300, 2300)
    assert not files(root, "image_map")


def test_compaction_buries_the_dead(root):
    grow(root, [], VECTORS[:0], remove=NAMES[100:300])
    compact_index(root)
    index = Index.open(root)
    assert (len(index.image_store), index.image_store.slots) == (2800, 2800)
    before = files(root, "image")
    grow(root, NAMES[3000:3010], VECTORS[3000:3010])
    after = files(root, "image")
    compact_index(root, rows=4000)
    assert before != after == files(root, "image")  # merging alone takes it over
    assert recall(Index.open(root), VECTORS[300:320]) > 0.97


@pytest.mark.parametrize("kind", ["rows", "image", "image_map"])
@pytest.mark.parametrize("damage", ["absent", "other"])
def test_what_is_derived_is_made_again(root, kind, damage):
    grow(root, [], VECTORS[:0], remove=NAMES[100:300])
    (name,) = files(root, kind)
    content = bytearray((root / name).read_bytes())
    content[len(content) // 2] ^= 255
    (root / name).unlink() if damage == "absent" else (root / name).write_bytes(content)
    assert not verify(root).sound
    if damage == "absent":
        assert recall(Index.open(root), VECTORS[:20]) > 0.97
    assert repair(root).sound
    assert recall(Index.open(root), VECTORS[:20]) > 0.97


def test_a_stale_store_is_not_used(root):
    """An update that was killed before its end: segments of now, stores of before."""
    old = read_manifest(root)
    grow(root, NAMES[3000:3010], VECTORS[3000:3010])
    new = read_manifest(root)
    new.committed(root, derived=old.derived, complete=False)
    index = Index.open(root)
    assert len(index.image_store) == 3010
    assert recall(index, VECTORS[3000:3010]) > 0.97


def test_readers_keep_their_state(root):
    early = Index.open(root)
    assert early.records[5].id == "r5"
    grow(root, NAMES[3000:3010], VECTORS[3000:3010], remove=NAMES[:10])
    assert early.records[7].id == "r7"
    assert recall(early, VECTORS[:10]) > 0.97
    assert Index.open(root).records[0].id == "r10"


def test_vectors_are_mapped_and_equal_what_parquet_says(root, monkeypatch):
    import pyarrow.parquet as pq

    index = Index.open(root)
    source = index._state.image.source
    assert all(run[2] for segment in index.manifest.segments for run in segment.runs)
    tables = [pq.read_table(root / segment.file) for segment in index.manifest.segments]
    rows = np.concatenate([np.stack(table["image_embedding"].to_numpy(zero_copy_only=False)) for table in tables])
    wanted = rows.astype(np.float32)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert np.array_equal(source.take(np.arange(3000)), wanted)
    assert np.array_equal(np.concatenate(list(source.blocks())), wanted)
    # where no run is known, the same is read as parquet
    unknown = tuple(
        replace(segment, runs=tuple((n, images, 0, texts, 0) for n, images, _, texts, _ in segment.runs))
        for segment in index.manifest.segments
    )
    index.manifest.committed(root, segments=unknown)
    assert np.array_equal(Index.open(root).image_embeddings(range(3000)), wanted)


def test_a_wrong_run_is_an_error(root):
    manifest = read_manifest(root)
    first = manifest.segments[0]
    wrong = replace(first, runs=tuple((n, images, first.bytes, t, at) for n, images, _, t, at in first.runs))
    manifest.committed(root, segments=(wrong, *manifest.segments[1:]))
    with pytest.raises(StoreError, match=r"000001\.parquet holds image_embedding of another length than 64"):
        Index.open(root).image_embeddings([0])


def test_opening_reads_no_metadata(root, monkeypatch):
    from ragvlm.index import mapped

    monkeypatch.setattr(mapped, "read_segment", None)
    index = Index.open(root)
    index.image_store.search(VECTORS[:1], 5)
    assert index.records[2999].id == "r2999"
    assert len(index._state.segments._tables) == 1  # one row group
    assert index.image_embeddings([0]).shape == (1, DIM)
