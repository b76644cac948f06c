"""Grounding by an index's own boxes: drawn smears whose truth is known, through the command line and the API."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import ragvlm as rv
from ragvlm.errors import InputError
from ragvlm.regions.findings import Counter, state
from ragvlm.regions.learn import regions_of
from ragvlm.regions.store import Regions
from ragvlm.types import MEASURED

COLOURS = {"RBC": (214, 150, 150), "WBC": (110, 80, 180)}
RADII = {"RBC": 20, "WBC": 34}


def smear(seed: int) -> tuple[Image.Image, list[dict[str, Any]]]:
    """320 x 240: red discs, and none to two large violet ones, none touching; their boxes."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (320, 240), (225, 222, 228))
    pen, boxes = ImageDraw.Draw(image), list[dict[str, Any]]()
    wanted = ["WBC"] * int(rng.integers(0, 3)) + ["RBC"] * int(rng.integers(3, 9))
    placed: list[tuple[float, float, float]] = []
    for label in wanted:
        radius = RADII[label] * rng.uniform(0.9, 1.1)
        for _ in range(200):
            x, y = rng.uniform(radius, 320 - radius), rng.uniform(radius, 240 - radius)
            if all((x - a) ** 2 + (y - b) ** 2 > (radius + r + 4) ** 2 for a, b, r in placed):
                box = [int(x - radius), int(y - radius), int(x + radius), int(y + radius)]
                pen.ellipse(box, fill=COLOURS[label])
                boxes.append({"label": label, "bbox": box})
                placed.append((x, y, radius))
                break
    noisy = np.asarray(image, np.float32) + rng.normal(0, 3, (240, 320, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), boxes


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "ragvlm", *words], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 14 smears with their boxes, its regions gathered."""
    folder = tmp_path_factory.mktemp("smears")
    rows = []
    for number in range(14):
        image, boxes = smear(number)
        image.save(folder / f"{number}.png")
        counts = {label: sum(box["label"] == label for box in boxes) for label in COLOURS}
        caption = f"A smear showing {counts['WBC']} white blood cells and {counts['RBC']} red blood cells."
        rows.append({"file_name": f"{number}.png", "id": str(number), "caption": caption, "boxes": boxes})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run("index", str(folder), "--out", str(folder / "index"))
    assert done.returncode == 0, done.stderr
    done = run("regions", str(folder / "index"))
    assert done.returncode == 0, done.stderr
    assert "14 pictures" in done.stdout
    return folder / "index"


@pytest.fixture
def query(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    image, boxes = smear(101)
    image.save(tmp_path / "query.png")
    return tmp_path / "query.png", boxes


def test_cells_are_found_by_another_name(index: Path, query: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    path, boxes = query
    right = [box["bbox"] for box in boxes if box["label"] == "RBC"]
    done = run("ground", str(path), "erythrocytes", "--index", str(index), "--json", "--coco", str(tmp_path / "c.json"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["label"], found["method"], found["abstained"]) == ("RBC", "neighbours", False)
    assert found["count"] == len(right)
    assert abs(found["expected"] - len(right)) < 1.5
    for region in found["regions"]:
        assert max(_iou(region["bbox"], box) for box in right) > 0.7
        assert set(region["record_ids"]) <= {str(n) for n in range(14)}
    assert len(json.loads((tmp_path / "c.json").read_text())["annotations"]) == len(right)


def test_masks_cover_the_discs_and_can_be_scored(
    index: Path, query: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    path, boxes = query
    truth = Image.new("L", (320, 240))
    for box in boxes:
        if box["label"] == "RBC":
            ImageDraw.Draw(truth).ellipse(box["bbox"], fill=1)
    truth.save(tmp_path / "truth.png")
    done = run("segment", str(path), "red blood cell", "--index", str(index), "--out", str(tmp_path / "mask.png"))
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "mask.png") as picture:
        Image.fromarray((np.asarray(picture) > 0).astype(np.uint8)).save(tmp_path / "found.png")
    for name in ("found", "truth"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": "a", "mask": f"{name}.png"}) + "\n")
    done = run("score", str(tmp_path / "found.jsonl"), str(tmp_path / "truth.jsonl"), "--task", "ground", "--json")
    assert done.returncode == 0, done.stderr
    assert '"Dice"' in done.stdout
    found = rv.segment(str(path), "RBC", index=index).mask() > 0
    right = np.asarray(truth) > 0
    assert 2 * (found & right).sum() / (found.sum() + right.sum()) > 0.85


def test_words_that_are_no_label_are_refused(index: Path, query: tuple[Path, list[dict[str, Any]]]) -> None:
    found = rv.ground(str(query[0]), "radiograph of a hand", index=index)
    assert found.abstained
    assert "'RBC', 'WBC'" in str(found.reason)
    assert found.regions == ()


def test_a_description_counts_in_the_picture(index: Path, query: tuple[Path, list[dict[str, Any]]]) -> None:
    path, boxes = query
    opened = rv.Index.open(index)
    counter = Counter.of(opened)
    assert counter is not None
    assert counter.labels
    told = rv.Describer(opened, alpha=0)(str(path))
    findings = {finding["label"]: finding["count"] for finding in told.provenance["findings"]}
    assert set(findings) == set(counter.labels)
    for label, count in findings.items():
        assert abs(count - sum(box["label"] == label for box in boxes)) <= 2
        assert state(told.text, label, count) == (told.text, True)  # the text says just that
    assert MEASURED in told.evidence[0].record_ids
    assert "[measured]" in told.cited_text
    plain = rv.Describer(opened, alpha=0, counts=False)(str(path))
    assert "findings" not in plain.provenance
    assert plain.text in {record.caption for record in opened.records}


def test_what_is_left_out_has_no_vote(index: Path) -> None:
    opened = rv.Index.open(index)
    image, _ = smear(3)
    with_it = rv.ground(image, "WBC", index=opened, threshold=0.1)
    without = rv.ground(image, "WBC", index=opened, threshold=0.1, exclude_ids=["3"])
    assert any("3" in region.record_ids for region in with_it.regions)
    assert not any("3" in region.record_ids for region in without.regions)


def test_regions_of_another_state_are_neither_used_nor_kept(index: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(index, tmp_path / "index"))
    assert Regions.load(rv.Index.open(copy)) is not None
    done = run("index", "--out", str(copy), "--delete", "3")
    assert done.returncode == 0, done.stderr
    assert Regions.load(rv.Index.open(copy)) is None
    assert not list(copy.glob("regions-*"))  # what is deleted leaves the disk


def test_a_corpus_without_boxes_says_what_to_do(tmp_path: Path) -> None:
    for number in range(2):
        smear(number)[0].save(tmp_path / f"{number}.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.png"}\n{"file_name": "1.png"}\n')
    index = rv.Index.build(rv.Corpus.load(tmp_path), tmp_path / "index", calibrate=False)
    with pytest.raises(InputError, match="0 pictures have boxes, 10 are needed"):
        regions_of(index)


def _iou(a: list[float], b: list[float]) -> float:
    both = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def test_a_suite_scores_regions_beside_the_nearest_boxes(index: Path, tmp_path: Path) -> None:
    suite = tmp_path / "smears.toml"
    suite.write_text(
        'name = "smears"\ntask = "ground"\ntitle = "t"\nsource = "s"\nlicence = "CC0-1.0"\n'
        f'[corpus]\npath = "{index.parent}"\nget = "made here"\n[split]\nby = "leave-one-out"\nlimit = 4\n'
    )
    found = rv.evaluate(suite=suite, index=index, out=tmp_path / "run", resamples=20, keep_leaks=True)
    rows = [json.loads(line) for line in (found.folder / "predictions.jsonl").read_text().splitlines()]
    assert {row["system"] for row in rows} == {"neighbours", "nearest boxes"}
    regions = next(row for row in rows if row["system"] == "neighbours")
    assert set(regions["expected"]) == {"RBC", "WBC"}
    assert set(regions["prediction"][0]) == {"label", "bbox", "score"}
    with pytest.raises(InputError, match="unknown way to ground"):
        rv.evaluate(["guess"], suite=suite, index=index, out=tmp_path / "other")
