"""Corpora that lie elsewhere: in fsspec's memory file system, on a web server, in an S3 that moto plays."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from shards import picture, sample, write_shards, write_tar
from tiny import ColourEncoder, build

from ragvlm import remote
from ragvlm.corpus import Corpus
from ragvlm.errors import CorpusError
from ragvlm.images import open_image


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGVLM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def upload(system: fsspec.AbstractFileSystem, folder: Path, to: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            system.pipe_file(f"{to}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def table(folder: Path, rows: int = 4) -> Path:
    """A folder with pictures and metadata.jsonl."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for number in range(rows):
        (folder / "images" / f"{number}.png").write_bytes(picture(number))
        lines.append(json.dumps({"file_name": f"images/{number}.png", "caption": f"square {number}"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize("kind", ["table", "shards"])
def test_a_folder_there_is_the_folder_here(tmp_path: Path, memory: fsspec.AbstractFileSystem, kind: str) -> None:
    here = table(tmp_path / "c") if kind == "table" else write_shards(tmp_path / "c", 2, 2)
    upload(memory, here, "/bucket/c")
    near, far = Corpus.load(here), Corpus.load("memory://bucket/c")
    assert far.records == near.records
    assert (far.fingerprint, far.reader, far.name) == (near.fingerprint, near.reader, "c")
    for record in far:
        assert open_image(far.image_path(record)).tobytes() == open_image(near.image_path(record)).tobytes()


def test_an_index_of_a_url_goes_on_where_it_was(tmp_path: Path, memory: fsspec.AbstractFileSystem) -> None:
    upload(memory, table(tmp_path / "c"), "/b/c")
    assert build(Corpus.load("memory://b/c"), tmp_path / "i").report.added == 4
    memory.pipe_file("/b/c/images/1.png", picture(9))  # changed there
    encoder = ColourEncoder()
    report = build(Corpus.load("memory://b/c"), tmp_path / "i", encoder).report
    assert (report.updated, report.unchanged, encoder.images) == (1, 3, 1)
    memory.rm("/b/c/images/2.png")
    corpus = Corpus.load("memory://b/c")
    assert [item.reason for item in corpus.skipped] == ["is not there"]
    assert not (corpus.root / "images" / "2.png").exists()


def test_patterns_and_lists_of_shards(tmp_path: Path, memory: fsspec.AbstractFileSystem) -> None:
    upload(memory, write_shards(tmp_path / "w", 2, 2), "/b/w")
    corpus = Corpus.load("memory://b/w/{00000..00002}.tar")
    assert len(corpus) == 4
    assert [(item.item, item.reason) for item in corpus.skipped] == [("00002.tar", "is not there")]
    (tmp_path / "list.txt").write_text("memory://b/w/00001.tar\nmemory://b/w/00007.tar\n")
    listed = Corpus.load(tmp_path / "list.txt")
    assert [record.id for record in listed] == ["00001/000000002", "00001/000000003"]
    assert [item.item for item in listed.skipped] == ["memory://b/w/00007.tar"]
    assert open_image(listed.image_path(listed.records[1])).tobytes() == open_image(picture(3)).tobytes()


def test_a_table_of_urls(tmp_path: Path, memory: fsspec.AbstractFileSystem) -> None:
    for number in range(30):
        memory.pipe_file(f"/b/{number}.png", picture(number))
    rows = [f"memory://b/{number}.png,square {number}" for number in range(31)]
    (tmp_path / "t.csv").write_text("\n".join(["url,caption", *rows]))
    corpus = Corpus.load(tmp_path / "t.csv", columns={"image": "url"})
    assert [record.id for record in corpus] == [f"memory://b/{number}.png" for number in range(30)]
    assert [(item.item, item.reason) for item in corpus.skipped] == [("memory://b/30.png", "is not there")]
    assert build(corpus, tmp_path / "i").report.records == 30
    memory.store.clear()  # what was fetched is there
    assert len(Corpus.load(tmp_path / "t.csv", columns={"image": "url"})) == 30


def test_a_name_that_leaves_the_folder_is_skipped(
    tmp_path: Path, memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe_file("/b/c/a.png", picture(1))
    monkeypatch.setattr(type(memory), "find", lambda self, path: [*self.store, "/b/c/../../evil.png"])
    corpus = Corpus.load("memory://b/c")
    assert [record.id for record in corpus] == ["a.png"]
    assert [item.reason for item in corpus.skipped] == ["its name leaves the folder: rename it"]
    assert not list(tmp_path.rglob("evil.png"))


def test_what_is_larger_than_the_bound_is_not_kept(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    memory.pipe_file("/b/big.png", b"x" * 3_000_000)
    with pytest.raises(CorpusError, match=r"^memory://b/big.png: has more than 2,000,000 bytes$"):
        remote.fetch("memory://b/big.png", 2_000_000)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:pw@h.org/a.png?X-Amz-Signature=s&X-Amz-Credential=c&id=3#f", "https://h.org/a.png?id=3"),
        ("https://h.org/a.png?sv=1&sig=abc&access_token=t&api_key=k", "https://h.org/a.png"),
        ("s3://bucket/a%20b.png", "s3://bucket/a%20b.png"),
    ],
)
def test_credentials_are_not_shown(url: str, shown: str) -> None:
    assert remote.public(url) == shown


@pytest.mark.parametrize("text", ["file:///etc/passwd", "a.png", "C://x", "zip://a::s3://b", "simplecache::s3://b/c"])
def test_what_is_no_url(text: str) -> None:
    assert not remote.is_url(text)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server of the folder that is given too."""
    root = tmp_path / "www"
    root.mkdir()
    handler = functools.partial(Quiet, directory=str(root))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", root
    server.shutdown()
    server.server_close()
    thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.skipif(importlib.util.find_spec("aiohttp") is None, reason="aiohttp is not installed")
def test_http(web: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url, root = web
    write_tar(root / "s.tar", sample(0) | sample(1))
    (root / "p.png").write_bytes(picture(5))
    assert [record.id for record in Corpus.load(f"{url}/s.tar")] == ["s/000000000", "s/000000001"]
    rows = [{"image": f"{url}/p.png?access_token=SECRET"}, {"image": f"{url}/q.png?access_token=SECRET"}]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    corpus = Corpus.load(tmp_path / "t.jsonl")
    assert [record.id for record in corpus] == [f"{url}/p.png"]
    assert [(item.item, item.reason) for item in corpus.skipped] == [(f"{url}/q.png", "is not there")]
    assert "SECRET" not in repr(corpus) + repr(corpus.records) + capsys.readouterr().err
    with pytest.raises(CorpusError, match="is not there") as caught:
        Corpus.load(f"{url}/none.tar?sig=SECRET")
    assert "SECRET" not in str(caught.value)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "SECRET"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    system = fsspec.filesystem("s3", skip_instance_cache=False)
    system.mkdir("bucket")
    yield system
    system.clear_instance_cache()
    server.stop()


def test_s3(tmp_path: Path, s3: fsspec.AbstractFileSystem) -> None:
    here = write_shards(tmp_path / "w", 2, 2)
    upload(s3, here, "bucket/w")
    upload(s3, table(tmp_path / "c"), "bucket/c")
    assert Corpus.load("s3://bucket/w").records == Corpus.load(here).records
    assert len(Corpus.load("s3://bucket/c")) == 4
    assert len(Corpus.load("s3://bucket/w/{00000..00001}.tar")) == 4
    with pytest.raises(CorpusError, match=r"^s3://bucket/nothing") as caught:
        Corpus.load("s3://bucket/nothing")
    assert "SECRET" not in str(caught.value)
