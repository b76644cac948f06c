"""One contract for all stores: ids and scores, against a brute force that shares no code with them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragvlm.errors import InputError, StoreError
from ragvlm.registry import entries
from ragvlm.stores import load_store
from ragvlm.stores.approximate import ApproximateStore
from ragvlm.stores.exact import ArrayVectors
from ragvlm.types import Float32, VectorStore

# settings at which an approximate store finds every neighbour among so few vectors, and still by its candidates
SURE = {"faiss-hnsw": {"ef": 2000, "refine": 60}, "faiss-ivf": {"nprobe": 1000, "refine": 600}}
NAMES = [name for name, entry in entries("stores").items() if not entry.missing]
SERVED = ("milvus",)  # answers in milliseconds, not microseconds: takes fewer and smaller cases
EXACT = [name for name in NAMES if name not in SURE]
pytestmark = pytest.mark.parametrize("name", NAMES)


def unit(rng: np.random.Generator, n: int, dim: int) -> Float32:
    rows = rng.standard_normal((n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def brute(vectors: Float32, queries: Float32, k: int) -> tuple[list[list[float]], list[list[int]]]:
    """Each inner product by itself in float64, ordered by a sort of Python's."""
    scores, positions = [], []
    for query in queries.astype(np.float64):
        own = [float(np.float32(np.clip((query * row).sum(), -1, 1))) for row in vectors.astype(np.float64)]
        order = sorted(range(len(own)), key=lambda i: (-own[i], i))[:k]
        scores.append([own[i] for i in order])
        positions.append(order)
    return scores, positions


def agree(store: VectorStore, vectors: Float32, queries: Float32, k: int) -> None:
    scores, positions = store.search(queries, k)
    wanted_scores, wanted_positions = brute(vectors, queries, k)
    assert scores.dtype == np.float32
    assert positions.dtype == np.int64
    assert scores.shape == positions.shape == (len(queries), min(k, len(vectors)))
    assert positions.tolist() == wanted_positions
    assert scores.tolist() == wanted_scores


def honest(store: VectorStore, vectors: Float32, queries: Float32, k: int) -> None:
    """Whichever rows it found: as many as asked, none twice, in order, and the scores are theirs to the last bit."""
    scores, positions = store.search(queries, k)
    assert scores.shape == positions.shape == (len(queries), min(k, len(vectors)))
    for query, own, at in zip(queries, scores.tolist(), positions.tolist(), strict=True):
        assert len(set(at)) == len(at)
        assert own == brute(vectors[at], query[None], k)[0][0]
        pairs = list(zip(own, at, strict=True))
        assert pairs == sorted(pairs, key=lambda pair: (-pair[0], pair[1]))


def empty(name: str, dim: int) -> VectorStore:
    return load_store(name)(dim, **SURE.get(name, {}))


def filled(name: str, vectors: Float32) -> VectorStore:
    store = empty(name, vectors.shape[1])
    store.add(vectors)
    return store


def loaded(name: str, path: Path, vectors: Float32) -> VectorStore:
    """The store in ``path``, with the vectors where it keeps none itself."""
    store = load_store(name).load(path)
    if isinstance(store, ApproximateStore):
        store.attach(ArrayVectors(vectors.shape[1], vectors))
        store.set(**SURE[name])
    return store


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 300),
    dim=st.integers(1, 70),
    many=st.integers(1, 40),
    k=st.integers(1, 320),
    distinct=st.integers(1, 300),
    seed=st.integers(0, 2**16),
)
def test_ids_and_scores_equal_brute_force(name, n, dim, many, k, distinct, seed):
    if name in SERVED and seed % 4:
        return
    rng = np.random.default_rng(seed)
    # few distinct rows: most neighbours tie, and a tie runs over the cut
    vectors = unit(rng, min(distinct, n), dim)[rng.integers(0, min(distinct, n), n)]
    queries = np.concatenate([unit(rng, many, dim), vectors[:3]])
    # many equal rows are more than an approximate store may hold candidates: it can't promise the first of them
    (agree if name in EXACT else honest)(filled(name, vectors), vectors, queries, k)


def test_equal_rows_tie_wherever_they_lie(name):
    rng = np.random.default_rng(7)
    vectors = unit(rng, 3001, 257)
    copies = [0, 17, 512, 1023, 2048, 3000]
    vectors[copies] = vectors[17]
    store = filled(name, vectors)
    for many in (1, 2, 19, 20, 64):  # FAISS changes its algorithm at 20 queries
        scores, positions = store.search(np.repeat(vectors[17:18], many, axis=0), 6)
        assert positions.tolist() == [copies] * many
        assert len(set(scores.ravel().tolist())) == 1


def test_all_rows_equal_gives_the_lowest_positions(name):
    vectors = np.repeat(unit(np.random.default_rng(1), 1, 32), 500, axis=0)
    (agree if name in EXACT else honest)(filled(name, vectors), vectors, vectors[:1], 3)


@pytest.mark.parametrize("noise", [1e-7, 1e-8])
def test_rows_that_differ_by_less_than_a_float32_sum_resolves(name, noise):
    rng = np.random.default_rng(11)
    vectors = unit(rng, 1, 384) + rng.normal(0, noise, (300 if name in SERVED else 2000, 384))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    (agree if name in EXACT else honest)(filled(name, vectors), vectors, unit(rng, 10, 384), 5)


def test_by_hand(name):
    # cosines with (1, 0): 1, 0.6, 0, -1
    vectors = np.array([[0, 1], [0.6, 0.8], [-1, 0], [1, 0]], np.float32)
    scores, positions = filled(name, vectors).search(np.array([[1, 0]], np.float32), 9)
    assert positions.tolist() == [[3, 1, 0, 2]]
    assert scores[0] == pytest.approx([1, 0.6, 0, -1])


def test_parts_equal_the_whole(name):
    rng = np.random.default_rng(3)
    vectors = unit(rng, 90, 12)
    store = empty(name, 12)
    for start, end in ((0, 1), (1, 1), (1, 64), (64, 90)):
        store.add(vectors[start:end])
    assert len(store) == 90
    agree(store, vectors, unit(rng, 5, 12), 11)
    assert np.array_equal(store.get(np.array([89, 0, 0])), vectors[[89, 0, 0]])


@pytest.mark.parametrize("n", [0, 1, 700])
def test_save_load_add(name, n, tmp_path):
    rng = np.random.default_rng(n)
    vectors, more = unit(rng, n, 9), unit(rng, 4, 9)
    filled(name, vectors).save(tmp_path / "store")
    store = loaded(name, tmp_path / "store", vectors)
    assert (store.dim, len(store)) == (9, n)
    queries = unit(rng, 3, 9)
    agree(store, vectors, queries, 5)
    store.add(more)  # a mapped store can grow; its file doesn't
    agree(store, np.concatenate([vectors, more]), queries, 5)
    assert len(loaded(name, tmp_path / "store", vectors)) == n


@pytest.mark.skipif(os.name == "nt", reason="an open file can't be removed there")
def test_loaded_store_outlives_its_file(name, tmp_path):
    vectors = unit(np.random.default_rng(0), 2000, 16)
    filled(name, vectors).save(tmp_path / "store")
    store = loaded(name, tmp_path / "store", vectors)
    (tmp_path / "store").unlink()
    agree(store, vectors, vectors[:2], 4)


def test_nothing_to_find_and_nothing_to_ask(name):
    store = empty(name, 4)
    scores, positions = store.search(np.eye(4, dtype=np.float32)[:3], 5)
    assert scores.shape == positions.shape == (3, 0)
    store.add(np.eye(4, dtype=np.float32))
    scores, positions = store.search(np.empty((0, 4), np.float32), 2)
    assert scores.shape == positions.shape == (0, 2)


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one(name, k):
    with pytest.raises(InputError, match=f"k is {k}"):
        load_store(name)(2).search(np.array([[1, 0]], np.float32), k)


@pytest.mark.parametrize("method", ["add", "search"])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1, 0]], r"\(1, 2\).*dimension 3"),
        ([1, 0, 0], r"\(3,\).*dimension 3"),
        ([[1, 0, 0], [np.nan, 0, 1]], "row 1 holds NaN"),
        ([[np.inf, 0, 0]], "row 0 holds NaN or infinity"),
        ([[1, 0, 0], [2, 0, 0]], "row 1 has length 2"),
        ([[0, 0, 0]], "row 0 has length 0"),
    ],
)
def test_bad_vectors(name, method, rows, message):
    store = filled(name, np.eye(3, dtype=np.float32))
    with pytest.raises(StoreError, match=message) as caught:
        store.add(np.array(rows, np.float32)) if method == "add" else store.search(np.array(rows, np.float32), 1)
    assert "\n" not in str(caught.value)
    assert len(store) == 3


@pytest.mark.parametrize("position", [-1, 3])
def test_get_outside(name, position):
    with pytest.raises(InputError, match="store of 3"):
        filled(name, np.eye(3, dtype=np.float32)).get(np.array([position]))


@pytest.mark.parametrize("damage", ["empty", "short", "garbage", "absent"])
def test_damaged_file(name, damage, tmp_path: Path):
    path = tmp_path / "store"
    filled(name, unit(np.random.default_rng(0), 900, 8)).save(path)
    content = {
        "empty": b"",
        "short": path.read_bytes()[: path.stat().st_size // 5],
        "garbage": b"\x93" * 9000,
        "absent": None,
    }[damage]
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match="store") as caught:
        load_store(name).load(path)
    assert "\n" not in str(caught.value)


def clustered(rng: np.random.Generator, n: int, dim: int) -> Float32:
    """Unit rows around 40 centres, as embeddings lie."""
    centres = unit(rng, 40, dim)[rng.integers(0, 40, n)]
    rows = centres + rng.normal(0, 0.05, centres.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_neighbours_equal_the_exact_ones(name):
    rng = np.random.default_rng(0)
    vectors = clustered(rng, 2000, 256)
    store = filled(name, vectors)
    agree(store, vectors, np.concatenate([vectors[:20], clustered(rng, 5, 256)]), 10)
    agree(store, vectors, vectors[:2], 1999)


def test_dead_vectors_are_never_found(name, tmp_path):
    if name in EXACT:
        pytest.skip("made anew when a vector goes")
    rng = np.random.default_rng(5)
    vectors = clustered(rng, 2600, 256)
    filled(name, vectors).save(tmp_path / "store")
    live = np.sort(rng.permutation(2600)[:1300])
    positions = np.full(2600, -1)
    positions[live] = rng.permutation(1300)  # they need not have kept their order
    source = ArrayVectors(256, vectors[live][np.argsort(positions[live])])
    store = load_store(name).load(tmp_path / "store")
    store.attach(source, positions)
    store.set(**SURE[name])
    assert (len(store), store.slots) == (1300, 2600)
    agree(store, source.whole, vectors[:20], 5)
    more = clustered(rng, 30, 256)
    whole = np.concatenate([source.whole, more])
    store.attach(ArrayVectors(256, whole), np.concatenate([positions, np.arange(1300, 1330)]))
    store.add(more)
    agree(store, whole, more[:3], 5)


def test_what_only_a_look_at_all_finds(name):
    """Most vectors near the query are dead: the store looks on until it has k."""
    if name in EXACT:
        pytest.skip("made anew when a vector goes")
    rng = np.random.default_rng(6)
    vectors = np.concatenate([np.repeat(unit(rng, 1, 64), 900, axis=0), unit(rng, 1100, 64)])
    store = load_store(name)(64, refine=20)
    store.add(vectors)
    store.attach(ArrayVectors(64, vectors[900:]), np.concatenate([np.full(900, -1), np.arange(1100)]))
    honest(store, vectors[900:], vectors[:2], 10)


@pytest.mark.parametrize(
    ("settings", "message"), [({"depth": 3}, "no setting 'depth': it has"), ({"refine": 0}, "refine is 0: give")]
)
def test_wrong_settings(name, settings, message):
    if name in EXACT:
        pytest.skip("has no settings")
    with pytest.raises(InputError, match=message):
        empty(name, 4).set(**settings)


def test_adding_leaves_the_input_alone(name):
    vectors = unit(np.random.default_rng(0), 5, 4)
    store = filled(name, vectors)
    before = vectors.copy()
    vectors[:] = 0
    agree(store, before, before[:1], 5)
