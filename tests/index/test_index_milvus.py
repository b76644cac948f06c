"""An index whose vectors a Milvus keeps: the same answers, and what lies on the server comes and goes with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny import COLOURS, ColourEncoder, build, make_corpus, of

from ragvlm.errors import InputError, StoreError
from ragvlm.index import Index
from ragvlm.index.manifest import read_manifest
from ragvlm.index.verify import repair, verify

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

from ragvlm.stores import milvus_client
from ragvlm.stores.milvus_store import MilvusStore


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("RAGVLM_MILVUS_URI", raising=False)
    yield
    milvus_client.close_unused()


def open_index(path: Path) -> Index:
    return Index.open(path, encoder=ColourEncoder())


def collections(path: Path) -> set[str]:
    """What lies on the index's own server."""
    server = milvus_client.connect(str(path.absolute() / "milvus.db"))
    return set(server.call("list_collections"))


def named(path: Path) -> set[str]:
    """What the descriptors in the index name."""
    return {json.loads(file.read_text())["collection"] for file in path.glob("*.milvus")}


def square(colour: str) -> Image.Image:
    return Image.new("RGB", (12, 12), COLOURS[colour])


SEARCHES: tuple[dict[str, Any], ...] = (
    {},
    {"mode": "text"},
    {"mode": "fused"},
    {"where": {"colour": {"red", "blue"}}},
    {"where": ["colour=green", "modality=paint"], "mode": "text"},
    {"subject_id": "s2"},
    {"subject_id": "s2", "where": {"row": [4, 5, 6]}},
    {"exclude_ids": frozenset({"a00"}), "k": 19},
)


def test_the_same_answers_as_numpy_also_after_updates(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", 20)
    exact = build(corpus, tmp_path / "n", store="numpy", calibrate=True)
    build(corpus, tmp_path / "m", store="milvus", calibrate=True)
    served = open_index(tmp_path / "m")
    for options in SEARCHES:
        for colour in ("red", "green"):
            assert served.search(square(colour), **options) == exact.search(square(colour), **options), options
    first = named(tmp_path / "m")
    assert collections(tmp_path / "m") == first
    assert len(first) == 2

    records = [replace(r, labels={"colour": "new"}) if r.id == "a03" else r for r in corpus.records if r.id != "a07"]
    changed = of(tmp_path / "c", records)
    exact = build(changed, tmp_path / "n", store="numpy", prune=True)
    served.search(square("red"))  # it has the collections of this generation open
    build(changed, tmp_path / "m", store="milvus", prune=True)
    assert not first & named(tmp_path / "m")
    assert collections(tmp_path / "m") == named(tmp_path / "m")  # the old ones went with their descriptors
    with pytest.raises(StoreError, match="open it again"):
        served.search(square("red"))
    served = open_index(tmp_path / "m")
    for options in (*SEARCHES, {"where": {"colour": "new"}}):
        assert served.search(square("red"), **options) == exact.search(square("red"), **options), options


def test_unchanged_keeps_its_collections_and_another_store_drops_them(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", 4)
    build(corpus, tmp_path / "i", store="milvus")
    before = named(tmp_path / "i")
    build(corpus, tmp_path / "i", store="milvus")
    assert named(tmp_path / "i") == before
    build(corpus, tmp_path / "i", store="numpy")
    assert collections(tmp_path / "i") == named(tmp_path / "i") == set()


def test_what_a_kill_left_on_the_server_goes_with_the_next_run(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", 4)
    build(corpus, tmp_path / "i", store="milvus")
    generation = read_manifest(tmp_path / "i").generation
    left = MilvusStore.create(tmp_path / "i" / f"image-{generation + 1:06d}.milvus", 4)
    left.add(ColourEncoder().encode_images([square("red")]))
    assert len(collections(tmp_path / "i")) == 3
    build(of(tmp_path / "c", make_corpus(tmp_path / "c", 6).records), tmp_path / "i", store="milvus")
    assert collections(tmp_path / "i") == named(tmp_path / "i")
    assert len(named(tmp_path / "i")) == 2


def test_a_collection_that_is_gone_is_told_and_filled_again(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", 4)
    build(corpus, tmp_path / "i", store="milvus")
    MilvusStore.discard(next((tmp_path / "i").glob("image*.milvus")))
    with pytest.raises(StoreError, match="isn't whole"):
        open_index(tmp_path / "i").search(square("red"))
    report = build(corpus, tmp_path / "i", store="milvus").report
    assert report.unchanged == 4
    assert len(open_index(tmp_path / "i").search(square("red"))) == 4


def test_an_interrupted_build_is_searched_in_memory(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", 12)

    def stop(done: int, total: int) -> None:
        if done > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(corpus, tmp_path / "i", store="milvus", progress=stop)
    assert 0 < len(open_index(tmp_path / "i").search(square("red"), k=99)) < 12
    assert not list((tmp_path / "i").glob("*.milvus"))


def test_an_index_of_another_store_is_not_filled_by_a_reader(tmp_path: Path) -> None:
    build(make_corpus(tmp_path / "c", 4), tmp_path / "i", store="numpy")
    with pytest.raises(InputError, match="index the corpus again with --store milvus"):
        Index.open(tmp_path / "i", encoder=ColourEncoder(), store="milvus").search(square("red"))


def test_a_token_is_written_nowhere(tmp_path: Path) -> None:
    options = {"uri": "http://127.0.0.1:9", "token": "user:SECRET", "collection": "mine"}
    with pytest.raises(StoreError, match=r"milvus at http://127\.0\.0\.1:9: can't be reached") as caught:
        build(make_corpus(tmp_path / "c", 4), tmp_path / "i", store="milvus", store_options=options)
    assert "SECRET" not in str(caught.value)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "i").rglob("*") if path.is_file())
    assert b"SECRET" not in kept
    assert b"127.0.0.1:9" in kept


def test_no_subject_and_no_word_lies_on_the_server_in_plain(tmp_path: Path) -> None:
    build(make_corpus(tmp_path / "c", 4), tmp_path / "i", store="milvus", hash_subject=False)
    facts = json.loads(next((tmp_path / "i").glob("image*.milvus")).read_text())
    server = milvus_client.connect(str((tmp_path / "i").absolute() / "milvus.db"))
    server.call("load_collection", facts["collection"])
    rows = server.call("query", facts["collection"], filter="position >= 0", output_fields=["subject", "facts"])
    assert len(rows) == 4
    assert all(isinstance(row["subject"], int) for row in rows)


def test_deleting_leaves_the_server_and_verify_looks_there(tmp_path: Path) -> None:
    build(make_corpus(tmp_path / "c", 8), tmp_path / "i", store="milvus")
    before = named(tmp_path / "i")
    open_index(tmp_path / "i").delete(["a00", "a05"], calibrate=False)
    assert collections(tmp_path / "i") == named(tmp_path / "i")
    assert not before & named(tmp_path / "i")
    found = open_index(tmp_path / "i").search(square("red"), k=99)
    assert sorted(hit.record.id for hit in found) == ["a01", "a02", "a03", "a04", "a06", "a07"]
    assert verify(tmp_path / "i").findings == ()
    MilvusStore.discard(next((tmp_path / "i").glob("text*.milvus")))
    assert any("milvus" in str(finding) for finding in verify(tmp_path / "i").findings)
    assert repair(tmp_path / "i").findings == ()
    assert len(open_index(tmp_path / "i").search("red", k=99, mode="text")) == 6


def test_a_server_by_its_uri_serves_several_processes(tmp_path: Path) -> None:
    from milvus_lite.server_manager import server_manager_instance as manager

    folder = str(tmp_path / "server.db")
    uri = manager.start_and_get_uri(folder)
    assert uri
    corpus = make_corpus(tmp_path / "c", 8)
    try:
        options = {"uri": uri, "token": "user:SECRET", "collection": "cells"}
        build(corpus, tmp_path / "i", store="milvus", store_options=options)
        exact = build(corpus, tmp_path / "n", store="numpy")
        for search in SEARCHES:
            assert open_index(tmp_path / "i").search(square("red"), **search) == exact.search(square("red"), **search)
        assert not (tmp_path / "i" / "milvus.db").exists()
        assert all(name.startswith("cells_") for name in named(tmp_path / "i"))
        code = (
            "import sys; from pathlib import Path; from ragvlm.stores.milvus_store import MilvusStore\n"
            "print(len(MilvusStore.load(Path(sys.argv[1]))))"
        )
        path = next((tmp_path / "i").glob("image*.milvus"))
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
        assert done.stdout.strip() == "8", done.stderr
        build(corpus, tmp_path / "i", store="numpy")
        assert milvus_client.connect(uri).call("list_collections") == []
    finally:
        milvus_client.close_unused()
        manager.release_server(folder)
