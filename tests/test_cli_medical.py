"""The command on a CT series, a NIfTI volume and a film, with a canary in every tag and file name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicoms import phantom, series

ROOT = Path(__file__).resolve().parents[1]
CANARY = "CANARYMAN"


def run(folder: Path, *args: object) -> str:
    env = os.environ | {"XDG_CONFIG_HOME": str(folder / "config")}
    asked = [sys.executable, "-W", "always", ROOT / "cli.py", *map(str, args)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300, env=env, cwd=folder)
    assert done.returncode == 0, done.stderr
    with (folder / "streams.log").open("a") as log:
        log.write(done.stdout + done.stderr)
    return done.stdout


def plant(path: Path) -> None:
    """Fill every text tag that a scanner may fill with a canary."""
    dataset = pydicom.dcmread(path)
    kept = {"SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "PhotometricInterpretation"}
    with pydicom.config.disable_value_validation():
        for keyword in pydicom.datadict.keyword_dict:
            tag = pydicom.datadict.tag_for_keyword(keyword)
            vr = pydicom.datadict.dictionary_VR(tag)
            if tag >> 16 > 4 and keyword not in kept and vr in {"LO", "SH", "PN", "ST", "LT", "CS", "DA", "AE", "UI"}:
                dataset.add_new(tag, vr, CANARY)
        dataset.save_as(path)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of two CT series of one canary each, and its index ``idx``."""
    folder = tmp_path_factory.mktemp("medical")
    for n, size in enumerate((40, 56)):
        home = folder / "corpus" / f"{CANARY}_{n}"
        for path in series(home, phantom(6, size), names=[f"{CANARY}-{n}-{i}" for i in range(6)]):
            plant(path)
    rows = [{"file_name": f"{CANARY}_{n}", "caption": f"Phantom of size {n}, two lungs."} for n in range(2)]
    (folder / "corpus" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = json.loads(run(folder, "index", "corpus", "--out", "idx", "--slices", 3, "--window", "lung", "--json"))
    assert (report["records"], report["skipped"]) == (8, [])
    return folder


def test_a_series_is_described_and_searched_for_and_no_name_gets_out(indexed: Path) -> None:
    query = series(indexed / "query", phantom(5, 40))[0].parent
    options = ("--window", "lung", "--slices", "all", "--alpha", 0, "-k", 2, "--report", "report.html", "--json")
    found = json.loads(run(indexed, "describe", query, "--index", "idx", *options))
    assert found["text"].startswith("Phantom of size")
    assert len(found["neighbours"]) == 2  # one of each volume
    assert all(hit["query_slice"].startswith("slice ") for hit in found["neighbours"])
    hits = json.loads(run(indexed, "search", query, "-i", "idx", "--window", "lung", "--all-slices", "--json"))["hits"]
    assert len(hits) == 8
    shown = run(indexed, "search", query / "002.dcm", "-i", "idx", "--window", "lung", "--where", "modality=CT")
    assert "/slice-" in shown or "Phantom" in shown
    run(indexed, "info", "idx")
    artefacts = [path for path in (indexed / "idx").rglob("*") if path.is_file()]
    artefacts += [indexed / "report.html", indexed / "streams.log"]
    assert len(artefacts) > 4
    for path in artefacts:
        assert CANARY.encode() not in path.read_bytes(), path
    import pyarrow.parquet as pq

    for path in artefacts:
        if path.suffix == ".parquet":
            assert CANARY not in str(pq.read_table(path).to_pydict()), path
    (segment,) = (indexed / "idx" / "segments").iterdir()
    table = pq.read_table(segment).to_pydict()
    assert {len(subject) for subject in table["subject_id"]} == {32}
    again = json.loads(run(indexed, "index", "corpus", "--out", "idx", "--slices", 3, "--window", "lung", "--json"))
    assert again["unchanged"] == 8


def test_a_folder_of_nifti_volumes(tmp_path: Path) -> None:
    values = np.moveaxis(phantom(10, 24), 0, -1)
    for name in ("a", "b"):
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / f"{name}.nii.gz")
        values = values[::-1]
    (tmp_path / "corpus").mkdir()
    for name in ("a", "b"):
        (tmp_path / f"{name}.nii.gz").rename(tmp_path / "corpus" / f"{name}.nii.gz")
    report = json.loads(
        run(tmp_path, "index", "corpus", "--out", "i", "--slices", "every=5", "--axis", "coronal", "--json")
    )
    assert report["records"] == 12
    hits = json.loads(
        run(tmp_path, "search", "corpus/b.nii.gz", "-i", "i", "--axis", "coronal", "--slices", "every=5", "--json")
    )["hits"]
    assert (hits[0]["id"], hits[0]["score"] > 0.999) == ("b.nii.gz", True)
    assert len(hits) == 2
