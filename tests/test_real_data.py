"""Real pictures that lie beside a checkout, through the public names; skipped where they are absent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ragvlm as rv
from ragvlm.images import open_image

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def assays(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> rv.Index:
    return rv.Index.build(shared_data / "cell-assays", tmp_path_factory.mktemp("assays") / "index")


def _subjects(data: Path) -> dict[str, str]:
    rows = (json.loads(line) for line in (data / "cell-assays" / "metadata.jsonl").read_text().splitlines())
    return {row["file_name"]: row["subject_id"] for row in rows}


def test_other_channels_of_a_field_are_found_unless_the_subject_is_excluded(
    assays: rv.Index, shared_data: Path
) -> None:
    subjects = _subjects(shared_data)
    fields = [name for name in subjects if list(subjects.values()).count(subjects[name]) > 1]
    found = 0
    for name in fields:
        picture, own = shared_data / "cell-assays" / name, subjects[name]
        near = {hit.record.id for hit in assays.search(picture, k=10)} - {name}
        found += any(subjects[other] == own for other in near)
        assert not any(subjects[hit.record.id] == own for hit in assays.search(picture, k=10, subject_id=own))
    assert len(fields) == 20
    # the default encoder finds one for 19 of 20 among the 10 nearest; two channels may look nothing alike
    assert found >= 17


def test_the_assay_of_a_picture_is_found(assays: rv.Index, shared_data: Path) -> None:
    # leaving the picture and its exact duplicates out, the nearest is of its own assay for 26 of 38
    hits = 0
    for record in assays.records:
        near = assays.search(shared_data / "cell-assays" / str(record.image), k=1, duplicates="exclude")
        hits += near[0].record.extra["assay"] == record.extra["assay"]
    assert hits >= 24


def test_the_guard_finds_the_two_exact_duplicates(assays: rv.Index, shared_data: Path) -> None:
    groups = [{Path(name).name.partition("_")[0] for name in group} for group in assays.info()["exact_duplicates"]]
    assert groups == [{"Human", "PercentPositive"}] * 2
    picture = shared_data / "cell-assays" / "images" / "Human_AS_09125_050116030001_D03f00d1.tif"
    marks = {Path(h.record.id).name: h.duplicate for h in assays.search(picture, k=5)}
    assert marks["PercentPositive_AS_09125_050116030001_D03f00d1.tif"] == "exact"
    kept = {Path(h.record.id).name for h in assays.search(picture, k=38, duplicates="exclude")}
    assert len(kept) == 36


def test_a_coarse_copy_is_a_near_duplicate_and_another_field_is_not(assays: rv.Index, tmp_path: Path) -> None:
    name = "images/UntangleWormsBrightField_WT_orig.png"
    record = next(record for record in assays.records if record.id == name)
    open_image(assays.image_path(record)).save(tmp_path / "copy.jpg", quality=60)
    marks = {hit.record.id: hit.duplicate for hit in assays.search(tmp_path / "copy.jpg", k=38)}
    assert marks.pop(name) == "near"
    assert set(marks.values()) == {None}
    kept = assays.search(tmp_path / "copy.jpg", k=38, duplicates="exclude")
    assert name not in {hit.record.id for hit in kept}


def test_radiographs_without_captions_can_be_searched_and_labelled(shared_data: Path, tmp_path: Path) -> None:
    whole = rv.Corpus.load(shared_data / "vqa-rad", columns={"labels": "organ"})
    some = rv.Corpus.from_records(whole.records[:60], root=whole.root, name="radiographs")
    index = rv.Index.build(some, tmp_path / "index")
    picture = index.image_path(index.records[0])
    assert len(index.search(picture, k=3)) == 3
    description = rv.Describer(index, generator="template")(picture, subject_id=whole.records[0].subject_id)
    assert not description.abstained
    assert str(index.records[0].labels["organ"]) in description.text.lower()
    assert rv.Describer(index, generator="nearest")(picture).abstained


def test_smears_are_indexed_and_described_by_the_command(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "smears"
    (folder / "images").mkdir(parents=True)
    rows = (shared_data / "blood-cells" / "metadata.jsonl").read_text().splitlines()[:60]
    for row in rows[1:]:
        name = json.loads(row)["file_name"]
        (folder / name).write_bytes((shared_data / "blood-cells" / name).read_bytes())
    (folder / "metadata.jsonl").write_text("\n".join(rows[1:]) + "\n")
    held_out = shared_data / "blood-cells" / json.loads(rows[0])["file_name"]

    def run(*args: object) -> str:
        command = [sys.executable, ROOT / "cli.py", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    run("index", folder, "--out", tmp_path / "index")
    found = json.loads(run("describe", held_out, "--index", tmp_path / "index", "--json"))
    assert not found["abstained"]
    assert "blood" in found["text"]
    known = {neighbour["id"] for neighbour in found["neighbours"]}
    assert all(set(item["record_ids"]) <= known and item["record_ids"] for item in found["evidence"])
