"""What the server store has beyond the contract: filters, a descriptor without secrets, collections that go."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragvlm.errors import InputError, StoreError
from ragvlm.filters import Filter, FilteringStore
from ragvlm.types import Float32, Record

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

from ragvlm.stores import milvus_client, milvus_store
from ragvlm.stores.milvus_store import MilvusStore

N, DIM = 300, 8


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("RAGVLM_MILVUS_URI", raising=False)
    yield
    milvus_client.close_unused()


def unit(rng: np.random.Generator, n: int) -> Float32:
    rows = rng.standard_normal((n, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def records(n: int) -> list[Record]:
    return [
        Record(
            id=str(i),
            modality=("CT", "MR", None)[i % 3],
            subject_id=f"s{i % 7}" if i % 5 else None,
            labels={"stain": f'quo"ted \\ {i % 4}', "many": i % 2 == 0},
            extra={"organs": ["liver", "spleen"][: i % 3]},
        )
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[MilvusStore, Float32]:
    vectors = unit(np.random.default_rng(0), N)
    store = MilvusStore.create(tmp_path_factory.mktemp("milvus") / "image-000001.milvus", DIM)
    store.add_facts(vectors[:100], records(N)[:100])
    store.add_facts(vectors[100:], records(N)[100:])
    return store, vectors


WHERES = [
    {"modality": "CT"},
    {"labels.stain": 'quo"ted \\ 2'},
    {"labels.stain": {'quo"ted \\ 0', 'quo"ted \\ 1'}, "labels.many": True},
    {"extra.organs": "spleen"},
    {"modality": "absent"},
    {},
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.sampled_from(WHERES), subject=st.sampled_from([None, "s1", "s6", "nobody"]), k=st.integers(1, 40))
def test_a_filtered_search_is_the_search_among_the_allowed(
    filled: tuple[MilvusStore, Float32], where: dict[str, object], subject: str | None, k: int
) -> None:
    store, vectors = filled
    asked = Filter.of(where)
    allowed = [i for i, r in enumerate(records(N)) if asked.allows(r) and (subject is None or r.subject_id != subject)]
    queries = unit(np.random.default_rng(k), 2)
    scores, positions = store.search_where(queries, k, asked, subject)
    exact = queries.astype(np.float64) @ vectors[allowed].astype(np.float64).T
    wanted = [[allowed[i] for i in np.argsort(-row, kind="stable")[:k]] for row in exact]
    assert positions.tolist() == wanted
    assert scores == pytest.approx(-np.sort(-exact, axis=1)[:, :k], abs=1e-6)


def test_it_is_a_filtering_store(filled: tuple[MilvusStore, Float32]) -> None:
    assert isinstance(filled[0], FilteringStore)


def test_more_than_milvus_gives_at_once(filled: tuple[MilvusStore, Float32], monkeypatch: pytest.MonkeyPatch) -> None:
    store, vectors = filled
    monkeypatch.setattr(milvus_store, "MOST", 50)
    monkeypatch.setattr(milvus_store, "BATCH", 64)
    for k in (20, 43, N):
        scores, positions = store.search(vectors[:2], k)
        assert positions.tolist() == np.argsort(-(vectors[:2] @ vectors.T), axis=1, kind="stable")[:, :k].tolist()
        assert scores.shape == (2, k)
    _, found = store.search_where(vectors[:1], N, Filter.of({"modality": "MR"}), "s1")
    assert sorted(found[0]) == [i for i in range(N) if i % 3 == 1 and not (i % 5 and i % 7 == 1)]


def test_the_descriptor_holds_no_secret_and_makes_no_words_part_of_a_query(tmp_path: Path) -> None:
    path = tmp_path / "image-000001.milvus"
    store = MilvusStore.create(path, DIM, token="user:SECRET", collection="mine")  # noqa: S106
    assert json.loads(path.read_text())["rows"] == 0  # there before the collection is
    store.add_facts(unit(np.random.default_rng(1), 3), records(3))
    store.save(path)
    facts = json.loads(path.read_text())
    assert facts["rows"] == 3
    assert facts["uri"] is None  # beside the descriptor, wherever the folder goes
    assert facts["collection"].startswith("mine_")
    assert "SECRET" not in path.read_text()
    rows = store._connection.call("query", facts["collection"], filter="position >= 0", output_fields=["facts"])
    assert all(isinstance(fact, int) for row in rows for fact in row["facts"])


def test_a_copied_folder_is_a_store_of_its_own(tmp_path: Path) -> None:
    import shutil

    vectors = unit(np.random.default_rng(1), 5)
    (tmp_path / "a").mkdir()
    store = MilvusStore.create(tmp_path / "a" / "s.milvus", DIM)
    store.add(vectors)
    store.save(tmp_path / "a" / "s.milvus")
    del store
    milvus_client.close_unused()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    MilvusStore.discard(tmp_path / "a" / "s.milvus")
    assert np.array_equal(MilvusStore.load(tmp_path / "b" / "s.milvus").get(np.arange(5)), vectors)
    with pytest.raises(StoreError, match="isn't whole"):
        MilvusStore.load(tmp_path / "a" / "s.milvus")


def test_a_collection_goes_with_its_descriptor_and_with_its_object(tmp_path: Path) -> None:
    path = tmp_path / "s.milvus"
    first = MilvusStore.create(path, DIM)
    first.add(unit(np.random.default_rng(1), 5))
    again = MilvusStore.create(path, DIM)  # as after a kill: what the file named is dropped
    again.add(unit(np.random.default_rng(2), 4))
    again.save(path)
    loaded = MilvusStore.load(path)
    loaded.add(unit(np.random.default_rng(3), 1))  # copies: the file's store stays as it was
    assert len(loaded) == 5
    server, own, name = again._connection, loaded._connection, loaded._collection
    assert server.call("list_collections") == [json.loads(path.read_text())["collection"]]
    assert name in own.call("list_collections")
    del loaded
    gc.collect()
    assert name not in own.call("list_collections")
    MilvusStore.discard(path)
    assert server.call("list_collections") == []
    MilvusStore.discard(path)  # nothing is left to drop
    MilvusStore.discard(tmp_path / "absent.milvus")


def test_a_second_process_is_told_that_the_embedded_server_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "s.milvus"
    store = MilvusStore.create(path, DIM)
    store.add(unit(np.random.default_rng(1), 2))
    store.save(path)
    code = (
        "import sys; from pathlib import Path; from ragvlm.stores.milvus_store import MilvusStore\n"
        "try: MilvusStore.load(Path(sys.argv[1]))\nexcept Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.stdout.startswith("StoreError milvus at ")
    assert done.stdout.rstrip().endswith("one process at a time can open it")
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"uri": "milvus.db"}, "is not http://HOST:PORT"),
        ({"uri": "http://user:pw@host:1"}, "is not http://HOST:PORT"),
        ({"collection": "a-b"}, "is no name"),
    ],
)
def test_options_that_are_none(options: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        MilvusStore(DIM, **options)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    store = MilvusStore(DIM, uri="http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"^milvus at http://127\.0\.0\.1:9: can't be reached") as caught:
        store.add(unit(np.random.default_rng(1), 1))
    assert "\n" not in str(caught.value)


def test_a_token_of_the_environment_goes_to_its_own_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    class Spy:
        def __init__(self, uri: str, token: str | None) -> None:
            asked.append(token)

    monkeypatch.setattr(milvus_client, "Server", Spy)
    monkeypatch.setenv("RAGVLM_MILVUS_URI", "http://mine:19530")
    monkeypatch.setenv("RAGVLM_MILVUS_TOKEN", "SECRET")
    monkeypatch.setattr(milvus_client, "_tokens", {})
    for uri in ("http://mine:19530", "http://theirs:19530"):
        milvus_client.connect(uri)
    MilvusStore(DIM, uri="http://other:1", token="ANOTHER")  # noqa: S106
    milvus_client.connect("http://other:1")
    assert asked == ["SECRET", None, "ANOTHER"]


def test_too_many_facts_are_told(tmp_path: Path) -> None:
    store = MilvusStore.create(tmp_path / "s.milvus", DIM)
    wordy = Record(id="wordy", extra={"tags": [str(i) for i in range(5000)]})
    with pytest.raises(StoreError, match="record 'wordy' has 5000 values"):
        store.add_facts(unit(np.random.default_rng(1), 1), [wordy])
