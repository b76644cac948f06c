"""What decodes and encodes may be this process or Ray: the index is the same, and so are its promises."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image
from tiny import ColourEncoder, build, content, make_corpus, of

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError, StoreError
from ragvlm.index import Index
from ragvlm.types import Float32, Record

TESTS = Path(__file__).resolve().parents[1]
with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")


class DyingEncoder(ColourEncoder):
    """Ends its process the first time that it sees pictures, and as often as ``times`` says."""

    def __init__(self, marks: Path, times: int = 1) -> None:
        super().__init__()
        self.marks, self.times = marks, times

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        if len(list(self.marks.iterdir())) < self.times:
            (self.marks / f"{time.time_ns()}").touch()
            os._exit(1)
        return super().encode_images(images)


class RefusingEncoder(ColourEncoder):
    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        raise StoreError("the encoder refuses")


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    """One cluster for all tests of this file; ``_cluster`` uses what runs."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
        patch.setenv("PYTHONPATH", f"{TESTS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")  # where actors find tiny
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()


@pytest.mark.parametrize(
    ("engine", "options", "says"),
    [
        ("dask", {}, "unknown engine 'dask': choose one of local, ray"),
        ("local", {"address": "x"}, "engine local has no option 'address'"),
        pytest.param("ray", {"colour": 1}, "engine ray has no option 'colour': it takes address", marks=with_ray),
        pytest.param("ray", {"workers": 0}, "workers is 0", marks=with_ray),
    ],
)
def test_what_is_no_engine(tmp_path: Path, engine: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        build(make_corpus(tmp_path / "c", 2), tmp_path / "i", engine=engine, engine_options=options)
    assert not (tmp_path / "i").exists()


def test_an_unknown_option_of_a_build_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no option 'colour': choose among store, "):
        build(make_corpus(tmp_path / "c", 2), tmp_path / "i", colour=1)


@with_ray
@pytest.mark.usefixtures("_ray")
def test_an_index_made_by_ray_equals_the_local_one(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", 20)
    (tmp_path / "c" / "p07.png").write_bytes(b"broken")
    with suppress(OSError):  # a file system may take UTF-8 alone
        strange = os.fsdecode(b"\xff.png")
        (tmp_path / "c" / strange).write_bytes((tmp_path / "c" / "p00.png").read_bytes())
        corpus = of(tmp_path / "c", [*corpus.records, Record(id="strange", image=strange)])
    local = build(corpus, tmp_path / "l", hash_subject=True)
    far = build(corpus, tmp_path / "r", hash_subject=True, engine="ray", engine_options={"workers": 2})
    assert content(far) == content(local)
    assert far.fingerprint == local.fingerprint  # the same segments, byte by byte
    assert [record.id for record in far.records] == [record.id for record in local.records]
    same = ("records", "added", "skipped")
    assert [getattr(far.report, name) for name in same] == [getattr(local.report, name) for name in same]
    assert far.report.images_per_second > 0
    again = build(corpus, tmp_path / "r", hash_subject=True, engine="ray").report
    assert (again.unchanged, again.added) == (19, 0)
    # either engine goes on from what the other committed
    more = make_corpus(tmp_path / "c", 24)
    report = build(of(tmp_path / "c", more.records), tmp_path / "r", hash_subject=True).report
    assert (report.added, report.unchanged) == (5, 19)  # the broken one was painted anew


@with_ray
@pytest.mark.usefixtures("_ray")
def test_an_actor_that_dies_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    corpus = make_corpus(tmp_path / "c", 8)
    index = build(corpus, tmp_path / "i", DyingEncoder(tmp_path / "marks"), engine="ray")
    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert content(index) == content(build(corpus, tmp_path / "l"))


@with_ray
@pytest.mark.usefixtures("_ray")
def test_an_error_of_an_actor_is_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^the encoder refuses$"):
        build(make_corpus(tmp_path / "c", 4), tmp_path / "i", RefusingEncoder(), engine="ray")
    assert not (tmp_path / "i").exists()


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from tiny import ColourEncoder, build, make_corpus
from pathlib import Path
build(make_corpus(Path({corpus!r}), 60), Path({out!r}), ColourEncoder(delay=0.1), engine="ray",
      engine_options={{"workers": 1}})
"""


@with_ray
def test_a_killed_job_goes_on_from_its_last_commit(tmp_path: Path) -> None:
    make_corpus(tmp_path / "c", 60)
    script = SCRIPT.format(tests=str(TESTS), corpus=str(tmp_path / "c"), out=str(tmp_path / "i"))
    # not the cluster of the other tests: the script starts its own
    job = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and len(list((tmp_path / "i" / "segments").glob("*.parquet"))) < 2:
        assert job.poll() is None
        time.sleep(0.05)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    committed = len(Index.open(tmp_path / "i"))
    assert 0 < committed < 60
    corpus = Corpus.from_records(make_corpus(tmp_path / "c", 60).records, root=tmp_path / "c", name="colours")
    index = build(corpus, tmp_path / "i")
    assert (index.report.unchanged, index.report.added) == (committed, 60 - committed)
    assert content(index) == content(build(corpus, tmp_path / "l"))


@with_ray
def test_the_command(tmp_path: Path) -> None:
    make_corpus(tmp_path / "c", 3)
    options = ["--engine", "ray", "--workers", "1", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "ragvlm", "index", tmp_path / "c", "--out", tmp_path / "i", *options],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["records"] == 3
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1  # that Ray has read its log level
