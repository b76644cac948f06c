"""tune-index: the recall that is said is the recall that is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from madeup import clustered, grow
from tiny import build, make_corpus

from ragvlm.errors import InputError, StoreError
from ragvlm.index import Index, tune
from ragvlm.index.manifest import read_manifest
from ragvlm.index.tune import interval, tune_chosen, tune_index
from ragvlm.stores import choice
from ragvlm.stores.exact import search_all

VECTORS = clustered(3000)


@pytest.fixture(scope="module", params=["faiss-hnsw", "faiss-ivf"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tune") / "index"
    grow(root, [f"r{i}" for i in range(3000)], VECTORS, store=request.param)
    return root


def test_the_setting_reaches_the_recall_and_is_used(root):
    (found,) = tune_index(root, recall=0.95, k=10, queries=200)
    assert found.reached
    assert 0.95 <= found.low <= found.recall <= found.high <= 1
    assert Index.open(root).info()["tuning"]["image"] == json.loads(json.dumps(found.to_dict()))
    store = Index.open(root).image_store
    assert dict(store.settings) == found.settings
    # measured anew on other queries, with an own count
    queries = clustered(300, seed=5)
    _, positions = store.search(queries, 10)
    wanted = search_all(Index.open(root)._state.image.source, queries, 10)
    shares = [len(set(a.tolist()) & set(b.tolist())) / 10 for a, (_, b) in zip(positions, wanted, strict=True)]
    assert np.mean(shares) > 0.93


def test_more_recall_takes_more_effort(root):
    low, high = (tune_index(root, recall=goal, queries=200)[0] for goal in (0.6, 0.98))
    assert low.settings != high.settings
    assert low.recall < high.recall


def test_what_cannot_be_reached_is_said(root, monkeypatch):
    monkeypatch.setattr(tune, "LADDER", (1, 2))
    monkeypatch.setattr(tune, "DEEPER", (1,))
    (found,) = tune_index(root, recall=0.9999, queries=100)
    assert not found.reached
    assert "0.9999 is not reached" in str(found)
    assert read_manifest(root).tuning["image"]["reached"] is False


def test_command(root):
    command = [sys.executable, "-m", "ragvlm", "tune-index", str(root), "--recall", "0.9", "--queries", "60", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["reached"] is True


@pytest.mark.parametrize("options", [{"recall": 0}, {"recall": 1.0}, {"recall": 0.9, "k": 0}, {"queries": 3}])
def test_numbers_out_of_range(root, options):
    with pytest.raises(InputError, match="give a recall between 0 and 1"):
        tune_index(root, **options)


def test_an_exact_store_needs_none(tmp_path):
    grow(tmp_path / "i", [f"r{i}" for i in range(50)], VECTORS[:50], store="auto")
    with pytest.raises(InputError, match="is searched exactly"):
        tune_index(tmp_path / "i")


def test_a_store_chosen_by_size_is_tuned_once_and_again_when_it_has_doubled(tmp_path, monkeypatch):
    for module in (choice, tune):
        monkeypatch.setattr(module, "EXACT_TO", 1000)
    root = tmp_path / "i"
    grow(root, [f"r{i}" for i in range(1200)], VECTORS[:1200], store="auto")
    first = tune_chosen(root, read_manifest(root), 0.9)
    assert first == read_manifest(root)
    assert first.tuning["image"]["vectors"] == 1200
    assert first.tuning["image"]["reached"]
    assert tune_chosen(root, first, 0.9) is first
    grow(root, [f"r{i}" for i in range(1200, 2400)], VECTORS[1200:2400])
    assert tune_chosen(root, read_manifest(root), 0.9).tuning["image"]["vectors"] == 2400


def test_a_store_that_was_asked_for_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "EXACT_TO", 1000)
    grow(tmp_path / "i", [f"r{i}" for i in range(1200)], VECTORS[:1200], store="faiss-hnsw")
    assert tune_chosen(tmp_path / "i", read_manifest(tmp_path / "i"), 0.9).tuning == {}


def test_a_build_tunes_what_it_chose(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "EXACT_TO", 20)
    monkeypatch.setattr(tune, "EXACT_TO", 20)
    corpus = make_corpus(tmp_path / "corpus", 40)
    assert build(corpus, tmp_path / "i").manifest.tuning
    assert build(corpus, tmp_path / "j", recall=0).manifest.tuning == {}
    with pytest.raises(InputError, match="recall is 1"):
        build(corpus, tmp_path / "k", recall=1)


def test_no_index(tmp_path):
    with pytest.raises(StoreError, match="is not an index"):
        tune_index(tmp_path)
    assert not list(tmp_path.iterdir())


def test_interval_by_hand():
    # all 20 queries find all: Wilson's bound for 200 of 200 is n / (n + z^2)
    low, high = interval(np.ones(20, np.float32), 10)
    assert (low, high) == (pytest.approx(200 / (200 + 1.96**2)), 1.0)
    # all or nothing: neighbours of a query count as one
    low, high = interval(np.array([1, 0] * 50, np.float32), 10)
    assert (low, high) == (pytest.approx(0.4038, abs=1e-3), pytest.approx(0.5962, abs=1e-3))


@settings(max_examples=20, deadline=None)
@given(p=st.floats(0.8, 0.995), seed=st.integers(0, 999))
def test_interval_holds_the_mean(p, seed):
    shares = np.random.default_rng(seed).binomial(10, p, 200) / 10
    low, high = interval(shares.astype(np.float32), 10)
    assert low <= shares.mean() <= high
