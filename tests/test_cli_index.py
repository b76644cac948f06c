"""The commands that keep an index, as a user runs them: exit codes, one line for what is wrong, JSON on stdout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import build, make_corpus, of

from ragvlm.index.lock import writing
from ragvlm.index.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[1]


def run(*args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, ROOT / "cli.py", *map(str, args)], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight records in three segments, one of them vanished."""
    root = tmp_path_factory.mktemp("made")
    corpus = make_corpus(root / "corpus")
    build(corpus, root / "index")
    build(of(corpus.root, corpus.records[1:]), root / "index")
    return root / "index"


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "index"))


def printed(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def test_verify_and_repair(index: Path) -> None:
    manifest = read_manifest(index)
    of_all = f"{index}: 8 records in {1 + len(manifest.files)} files: "
    assert run("verify", index).stdout == f"{of_all}sound\n"
    store = index / manifest.derived[0].file
    store.write_bytes(store.read_bytes()[:-1])
    says = run("verify", index, code=1).stdout.splitlines()
    assert says[0].startswith(f"damaged: {store.name} has ")
    assert says[-1] == f"{of_all}1 damaged"
    found = printed(run("verify", index, "--repair", "--json"))
    assert (found["sound"], found["repaired"], found["damaged"]) == (True, [store.name], [])


def test_a_damaged_segment_and_a_damaged_manifest(index: Path) -> None:
    segment = index / read_manifest(index).segments[0].file
    segment.write_bytes(segment.read_bytes() + b"x")
    found = printed(run("verify", index, "--repair", "--json", code=1))
    assert [row["file"] for row in found["damaged"]] == ["segments/000001.parquet"]
    assert "--rehash" in found["damaged"][0]["remedy"]
    assert "000001.parquet has" in run("info", index, code=2).stderr
    manifest = index / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"colour", b"colous", 1))
    assert printed(run("verify", index, "--json", code=1))["damaged"][0]["file"] == "manifest.json"
    says = run("search", "red", "-i", index, code=2).stderr
    assert "manifest.json is damaged (it differs from its checksum)" in says
    assert says.count("\n") == 1


def test_delete_and_compact(index: Path) -> None:
    report = printed(run("index", "--out", index, "--delete", "a00", "--delete", "a05", "--json"))
    assert (report["deleted"], report["records"]) == (2, 6)
    facts = printed(run("info", index, "--json"))
    assert (facts["records"], facts["vanished"], facts["segments"]) == (6, 0, 3)
    assert run("compact", index).stdout.startswith(f"{index}: 6 records in 1 segments, ")
    run("verify", index)
    says = run("index", "--out", index, "--delete", "a00", code=2).stderr
    assert says == f"ragvlm: index {index} has no record 'a00': nothing was deleted\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("index", "--delete", "a"), "ragvlm index --out DIR --delete ID"),
        (("index", "corpus", "--out", "x", "--delete", "a"), "--delete takes no corpus"),
        (("index",), "name a corpus to index"),
        (("verify", "."), "is not an index (no manifest.json)"),
        (("compact", "."), "is not an index (no manifest.json)"),
    ],
)
def test_wrong_input_is_one_line(args: tuple[str, ...], message: str) -> None:
    says = run(*args, code=2).stderr
    assert message in says
    assert says.count("\n") == 1


def test_who_holds_the_lock(index: Path) -> None:
    with writing(index):
        says = run("compact", index, code=2).stderr
    assert "another process (pid " in says
    assert "wait until it ends (--wait)" in says
    assert says.count("\n") == 1
