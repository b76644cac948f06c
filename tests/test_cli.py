"""The command as a user runs it: in a process of its own, on a corpus that it simulates itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ragvlm.index.manifest import seal

ROOT = Path(__file__).resolve().parents[1]


def run(*args: object, code: int = 0, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, ROOT / "cli.py", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | (env or {}),
    )
    assert done.returncode == code, done.stderr
    if code:
        assert "Traceback" not in done.stderr
    return done


def refuse(*args: object) -> str:
    """Run what must be refused: exit code 2, one line, nothing on stdout."""
    done = run(*args, code=2)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def lines(done: subprocess.CompletedProcess[str]) -> list[Any]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "corpus"
    run("corpus", "simulate", folder, "--n", 40, "--kind", "blood_smear", "--kind", "dna_nuclei")
    return folder


@pytest.fixture(scope="module")
def index(corpus: Path) -> Path:
    out = corpus.parent / "index"
    report = lines(run("index", corpus, "--out", out, "--json"))[0]
    assert report["records"] == 40
    assert report["skipped"] == []
    assert {"path", "records", "skipped", "seconds", "images_per_second"} <= set(report)
    return out


def test_help_and_version_name_the_commands() -> None:
    text = run("--help").stdout
    assert all(name in text for name in ("index", "search", "describe", "info", "models", "corpus"))
    assert run("--version").stdout.startswith("ragvlm 0.")


def test_names_and_captions_can_not_steer_the_terminal(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.png")
    row = {"file_name": "a.png", "caption": "Red \x1b[31msquare.\nOne."}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row), encoding="utf-8")
    run("index", tmp_path, "--out", tmp_path / "i")
    for done in (run("search", "red", "-i", tmp_path / "i"), run("describe", tmp_path / "a.png", "-i", tmp_path / "i")):
        assert "\x1b" not in done.stdout
        assert "square. One." in done.stdout
    assert "\x1b" not in refuse("describe", tmp_path / "no\x1b[1m\nfile.png", "-i", tmp_path / "i")
    assert run("search", "red", "-i", tmp_path / "i").stdout.count("\t") == 3


def test_a_name_that_is_no_utf8_is_skipped_and_printed(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.png")
    strange = tmp_path / os.fsdecode(b"\xff.png")
    try:
        strange.write_bytes((tmp_path / "a.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    report = lines(run("index", tmp_path, "--out", tmp_path / "i", "--json"))[0]
    assert report["records"] == 1
    assert "not valid UTF-8" in report["skipped"][0]["reason"]
    done = run("describe", strange, "-i", tmp_path / "i", "--json")
    assert lines(done)[0]["image"] == str(strange)


def _lines(terminal: int) -> Iterator[str]:
    with suppress(OSError), os.fdopen(terminal, errors="replace") as stream:  # its other end was closed
        yield from stream


def test_results_go_to_the_file_while_the_bar_is_on_the_terminal(index: Path, corpus: Path, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    terminal, stderr = pty.openpty()
    near = sorted((corpus / "images").iterdir())[:2]
    with (tmp_path / "out.txt").open("w") as out:
        args = [sys.executable, ROOT / "cli.py", "describe", *near, "-i", index]
        env = os.environ | {"TERM": "xterm"}
        done = subprocess.Popen(list(map(str, args)), stdout=out, stderr=stderr, env=env)
        os.close(stderr)
        shown = "".join(_lines(terminal))  # read while it writes: a terminal that is full makes it wait
    assert done.wait(timeout=300) == 0
    assert "Describing" in shown
    assert "confidence" not in shown
    assert (tmp_path / "out.txt").read_text(encoding="utf-8").count("confidence") == 2


def test_a_report_that_can_not_be_written_is_refused_before_the_work(index: Path, corpus: Path, tmp_path: Path) -> None:
    picture = next((corpus / "images").iterdir())
    assert "is a folder" in refuse("describe", picture, "-i", index, "--report", tmp_path)
    assert "choose a folder" in refuse("describe", picture, "-i", index, "--report", picture / "r.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(index: Path) -> None:
    with Path("/dev/full").open("w") as full:
        args = [sys.executable, ROOT / "cli.py", "info", str(index), "--json"]
        done = subprocess.run(args, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "ragvlm: output: No space left on device\n"


def test_a_broken_picture_is_one_line_without_warnings(index: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.tif").write_bytes(b"II*\0\x08\0\0\0\x0a\0\0\1")
    assert "broken picture" in refuse("describe", tmp_path / "cut.tif", "-i", index)


def test_a_folder_is_described_past_a_broken_picture_and_goes_on(index: Path, corpus: Path, tmp_path: Path) -> None:
    folder, to = tmp_path / "pictures", tmp_path / "out.jsonl"
    folder.mkdir()
    names = [path.name for path in sorted((corpus / "images").iterdir())[:3]]
    for name in names:
        (folder / name).write_bytes((corpus / "images" / name).read_bytes())
    (folder / "a-cut.png").write_bytes(b"no picture")
    done = run("describe", folder, "-i", index, "--json", code=2)
    assert [Path(row["image"]).name for row in lines(done)] == names
    assert done.stderr.startswith(f"skipped {folder / 'a-cut.png'}: is not a picture")
    assert done.stderr.count("\n") == 1
    (folder / "a-cut.png").rename(tmp_path / "aside.png")
    assert "3 of 3 pictures" in run("describe", folder, "-i", index, "--out", to).stderr
    before = to.read_bytes()
    (folder / "new.png").write_bytes((folder / names[0]).read_bytes())
    assert "4 of 4 pictures" in run("describe", folder, "-i", index, "--out", to).stderr
    assert to.read_bytes().startswith(before)
    assert to.read_bytes().count(b"\n") == 4
    assert "another parameters" in refuse("describe", folder, "-i", index, "--out", to, "-k", "2")


def test_describe_cites_neighbours_that_exist_and_refuses_a_stranger(index: Path, corpus: Path, tmp_path: Path) -> None:
    from skimage import data

    Image.fromarray(data.coffee()).save(tmp_path / "coffee.png")
    near = sorted((corpus / "images").iterdir())[:2]
    page = tmp_path / "report.html"
    done = run("describe", *near, tmp_path / "coffee.png", "--index", index, "--json", "--report", page)
    first, second, coffee = lines(done)
    for found in (first, second):
        assert not found["abstained"]
        known = {neighbour["id"] for neighbour in found["neighbours"]}
        assert found["text"]
        for item in found["evidence"]:
            assert item["record_ids"]
            assert set(item["record_ids"]) <= known
            assert item["sentence"] in found["text"]
        assert found["neighbours"][0]["duplicate"] == "exact"
        assert Path(found["neighbours"][0]["image"]).is_file()
    assert coffee["abstained"]
    assert coffee["text"] == ""
    assert "close enough" in coffee["reason"]
    assert "2 described, 1 refused" in page.read_text(encoding="utf-8")
    human = run("describe", near[0], "--index", index).stdout
    assert "[1]" in human
    assert "confidence" in human


def test_every_generator_without_weights_describes(index: Path, corpus: Path) -> None:
    picture = sorted((corpus / "images").iterdir())[3]
    for name in ("consensus", "nearest", "template"):
        found = lines(run("describe", picture, "--index", index, "--generator", name, "--json"))[0]
        assert found["provenance"]["generator"] == name
        assert not found["abstained"]
        assert all(item["support"] > 0 for item in found["evidence"])


def test_search_by_words_and_by_picture(index: Path, corpus: Path) -> None:
    found = lines(run("search", "blood smear with red cells", "--index", index, "-k", 3, "--json"))[0]
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    assert all("blood" in hit["caption"].lower() for hit in found["hits"])
    picture = sorted((corpus / "images").iterdir())[0]
    for mode in ("image", "fused"):
        hits = lines(run("search", picture, "--index", index, "--mode", mode, "--json"))[0]["hits"]
        assert len(hits) == 10
        assert set(hits[0]) == {"rank", "id", "score", "caption", "image"}
    args = ("-k", 999, "--exclude-id", hits[0]["id"], "--json")
    assert len(lines(run("search", picture, "-i", index, *args))[0]["hits"]) == 39
    assert run("search", picture, "-i", index, "-k", 3).stdout.count("\n") == 3


def test_info_and_models(index: Path) -> None:
    facts = lines(run("info", index, "--json"))[0]
    assert facts["records"] == 40
    assert facts["encoder"] == "embedded"
    assert facts["licences"] == {"CC0-1.0": 40}
    assert facts["complete"]
    assert "CC0-1.0" in run("info", index).stdout
    table = lines(run("models", "--json"))[0]
    assert {"embedded", "openclip", "consensus", "nearest", "template", "smollm2"} <= {row["name"] for row in table}
    assert all(row["usable"] or row["command"].startswith(("pip install", "ragvlm models pull")) for row in table)
    assert "consensus" in run("models").stdout


def test_indexing_again_encodes_nothing(index: Path, corpus: Path) -> None:
    report = lines(run("index", corpus, "--out", index, "--json"))[0]
    assert (report["unchanged"], report["added"], report["images_per_second"]) == (40, 0, 0)


def test_a_broken_picture_is_skipped_and_named(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    good = sorted((corpus / "images").glob("*.jpg"))[0].read_bytes()
    (folder / "good.jpg").write_bytes(good)
    (folder / "cut.jpg").write_bytes(good[: len(good) // 2])
    (folder / "words.png").write_text("not a picture")
    done = run("index", folder, "--out", tmp_path / "i", "--json")
    report = lines(done)[0]
    assert report["records"] == 1
    assert {item["item"] for item in report["skipped"]} == {"cut.jpg", "words.png"}
    assert "skipped cut.jpg" in done.stderr


def _bomb(path: Path) -> None:
    """A PNG whose header says 60,000 x 60,000."""
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)))


def test_wrong_input_is_one_line_and_leaves_nothing(index: Path, corpus: Path, tmp_path: Path) -> None:
    picture = sorted((corpus / "images").iterdir())[0]
    empty, captions = tmp_path / "empty", tmp_path / "captions"
    empty.mkdir()
    captions.mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(captions / "a.png")
    (captions / "captions.csv").write_text("file_name,caption\nb.png,two\n")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "cut.jpg").write_bytes(sorted((corpus / "images").glob("*.jpg"))[0].read_bytes()[:3000])
    _bomb(tmp_path / "bomb.png")
    out = tmp_path / "out"
    for args, says in (
        (("index", tmp_path / "missing", "--out", out), "missing"),
        (("index", empty, "--out", out), "empty"),
        (("index", captions, "--out", out), "b.png"),
        (("index", corpus, "--out", out, "--encoder", "no-such"), "choose one of embedded"),
        (("index", corpus, "--out", out, "--column", "caption"), "NAME=VALUE"),
        (("index", corpus, "--out", out, "--column", "caption=nothing"), "nothing"),
        (("index", corpus, "--out", captions), "choose another --out"),
        (("describe", tmp_path / "missing.jpg", "--index", index), "missing.jpg"),
        (("describe", tmp_path / "text.png", "--index", index), "text.png"),
        (("describe", tmp_path / "cut.jpg", "--index", index), "cut.jpg"),
        (("describe", tmp_path / "bomb.png", "--index", index), "bomb.png"),
        (("describe", picture, "--index", index, "-k", 0), "k is 0"),
        (("describe", picture, "--index", index, "--generator", "gpt"), "choose one of consensus"),
        (("describe", picture, "--index", index, "--question", "How many cells?"), "hears no question"),
        (("describe", picture, "--index", index, "--template", "few-shot"), "reads no prompt"),
        (("describe", picture, "--index", index, "--template", "no-such"), "choose one of ask, describe"),
        (("describe", picture, "--index", index, "--max-chars", 9), "max_chars=9"),
        (("describe", picture, "--index", empty), "not an index"),
        (("describe", picture, "--index", index, "--generator-option", "x=1"), "has no option 'x': it takes none"),
        (("search", "cells", "--index", index, "-k", 0), "k is 0"),
        (("search", "gone.png", "--index", index), "gone.png"),
        (("search", "cells", "--index", index, "--mode", "image"), "can't compare words with pictures"),
        (("info", empty), "not an index"),
        (("corpus", "simulate", captions), "captions"),
    ):
        assert says in refuse(*args), args
    assert not out.exists()
    assert sorted(path.name for path in captions.iterdir()) == ["a.png", "captions.csv"]
    assert list(empty.iterdir()) == []


def test_an_index_of_another_encoder_is_refused(index: Path, corpus: Path, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "other"
    shutil.copytree(index, other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["encoder"]["fingerprint"] = "0" * 64
    (other / "manifest.json").write_bytes(seal(manifest))
    says = refuse("search", "cells", "--index", other)
    assert "embedded" in says
    assert "000000" in says
    assert "embedded" in refuse("index", corpus, "--out", other)


def test_a_query_loads_neither_torch_nor_transformers(index: Path, corpus: Path) -> None:
    picture = sorted((corpus / "images").iterdir())[0]
    code = (
        "import sys, ragvlm as rv\n"
        "describe = rv.Describer(rv.Index.open(sys.argv[1]))\n"
        "assert describe(sys.argv[2]).text\n"
        "assert describe.index.search('cells', k=2)\n"
        "print([m for m in ('torch', 'transformers', 'sentence_transformers', 'pandas', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, index, picture], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
