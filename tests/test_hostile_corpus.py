"""Corpora full of broken and hostile files: what is good is indexed, what isn't is named, and memory stays bounded."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
from pathlib import Path

import brokenfiles
import numpy as np
import pytest
import tiny

from ragvlm.corpus import Corpus
from ragvlm.errors import RagvlmError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # what the command silences, too

MEGABYTES = 100  # the bound stated in docs/reliability.md: what a run may need above a run of the good files alone


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """100 good pictures and 1,000 broken files in one folder."""
    folder = tmp_path_factory.mktemp("hostile")
    for number in range(100):
        tiny.paint(folder / f"good{number:03d}.png", (number, 2 * number, 255 - number))
    return folder, brokenfiles.scatter(folder, 1000)


def test_a_thousand_broken_files_leave_a_hundred_records(hostile, tmp_path):
    folder, broken = hostile
    index = tiny.build(folder, tmp_path / "out", segment_rows=512)
    assert len(index) == index.report.records == 100
    items = [item for item, _ in index.report.skipped]
    shown = {item for item in items if not item.startswith(".#file=")}  # names of DICOM files are hidden
    assert (len(items), len(set(items))) == (1000, 1000)
    assert all("dicom" in name for name in set(broken) ^ shown)
    assert all(reason.strip() and "\n" not in reason for _, reason in index.report.skipped)
    causes = {item.rpartition("-")[0]: reason for item, reason in index.report.skipped}
    assert "bound of 200,000,000" in causes["png-bomb"]
    assert "a strip holds more than the whole page" in causes["tiff-bomb"]
    assert "symbolic links" in causes["link-loop"]
    rows = [json.loads(line) for line in (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()]
    assert [(row["item"], row["reason"]) for row in rows] == list(index.report.skipped)
    assert index.info()["skipped"] == 1000
    with pytest.raises(RagvlmError):
        tiny.build(folder, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


_RUN = """
import resource, sys
sys.path.insert(0, {tests!r})
import tiny
tiny.build({folder!r}, {out!r}, segment_rows=512)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def _peak(folder: Path, out: Path) -> int:
    """Megabytes that a process of its own needs at most to index ``folder``."""
    code = _RUN.format(tests=str(Path(__file__).parent), folder=str(folder), out=str(out))
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def test_memory_stays_below_the_stated_bound(hostile, tmp_path):
    folder, _ = hostile
    good = tmp_path / "good"
    good.mkdir()
    for path in folder.glob("good*.png"):
        (good / path.name).write_bytes(path.read_bytes())
    assert _peak(folder, tmp_path / "a") - _peak(good, tmp_path / "b") < MEGABYTES


def _nifti(**header) -> bytes:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    data = bytearray(image.to_bytes())
    for name, value in header.items():
        offset, form = {"dim": (40, "<8h"), "bitpix": (72, "<h"), "offset": (108, "<f")}[name]
        struct.pack_into(form, data, offset, *value)
    return bytes(data)


def test_hostile_volumes_are_skipped_and_named(tmp_path):
    whole = _nifti()
    volumes = {
        "absurd.nii": _nifti(dim=(3, 32767, 32767, 32767, 1, 1, 1, 1)),
        "negative.nii": _nifti(dim=(3, -4, 4, 4, 1, 1, 1, 1)),
        "seven.nii": _nifti(dim=(7, 300, 300, 300, 300, 300, 300, 300)),
        "cut.nii": whole[:400],
        "far.nii": _nifti(offset=(2.0**31,)),
        "bits.nii": _nifti(bitpix=(3,), dim=(3, 4, 4, 400, 1, 1, 1, 1)),
        "absurd.nii.gz": gzip.compress(_nifti(dim=(3, 32767, 32767, 32767, 1, 1, 1, 1)) + bytes(1 << 26)),
        "cut.nii.gz": gzip.compress(whole)[:60],
        "noise.dcm": bytes(128) + b"DICM" + bytes(range(256)),
        "length.dcm": bytes(128) + b"DICM" + b"\x02\0\0\0UL\4\0\xff\xff\xff\x7f" + bytes(40),
    }
    folder = tmp_path / "in"
    tiny.paint(folder / "good.png", "red")
    for name, data in volumes.items():
        (folder / name).write_bytes(data)
    rows = [{"file_name": name, "caption": "x"} for name in ("good.png", *volumes)]
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    index = tiny.build(folder, tmp_path / "out")
    assert [record.id for record in index.records] == ["good.png"]
    assert len(index.report.skipped) >= len(volumes)
    assert all(reason.strip() and "\n" not in reason for _, reason in index.report.skipped)


def test_hostile_rows_are_skipped_and_named(tmp_path):
    tiny.paint(tmp_path / "in" / "a.png", "red")
    tiny.paint(tmp_path / "outside.png", "red")
    rows = [
        b"file_name,caption",
        b"a.png,a good row",
        b"a.png,\0",
        "a.png,Größe".encode("latin-1"),
        b"../outside.png,out of the folder",
        b"/etc/passwd,absolute",
        b"..\\outside.png,the other slash",
        b"a.png," + b"x" * 10_000_000,
        b"a.png,one,too many",
        b"a.png",
        b"\xff\xfe\x00,noise",
        b"a\x1b[31m.png,colour",
        b'a.png,"never closed',
    ]
    (tmp_path / "in" / "metadata.csv").write_bytes(b"\n".join(rows))
    index = tiny.build(tmp_path / "in", tmp_path / "out")
    assert [record.caption for record in index.records] == ["a good row"]
    reasons = dict(index.report.skipped)
    assert len(reasons) == len(rows) - 2
    assert reasons["metadata.csv, row 8"] == "caption holds 10,000,000 characters, more than the bound of 1,000,000"
    for row, cause in (
        (3, "NUL"),
        (4, "UTF-8"),
        (5, "leaves"),
        (6, "leaves"),
        (7, "leaves"),
        (9, "3 cells"),
        (10, "1 c"),
    ):
        assert cause in reasons[f"metadata.csv, row {row}"]
    with pytest.raises(RagvlmError, match=r"metadata\.csv, row 3: caption holds a NUL"):
        Corpus.load(tmp_path / "in", strict=True)


def test_hostile_lines_of_json_are_skipped_and_named(tmp_path):
    tiny.paint(tmp_path / "in" / "a.png", "red")
    deep = '{"file_name": "a.png", "x": ' + "[" * 5000 + "]" * 5000 + "}"
    lines = [
        '{"file_name": "a.png"}',
        deep,
        '{"file_name": "a.png", "x": 1e999, "id": "z"}',
        "[]",
        "{",
        '{"file_name": 1e400}',
    ]
    (tmp_path / "in" / "metadata.jsonl").write_text("\n".join(lines))
    corpus = Corpus.load(tmp_path / "in")
    assert [record.id for record in corpus] == ["a.png", "z"]
    assert len(corpus.skipped) == 4
