"""Slides and stacks from the command line: indexed by tiles, searched, described, and told where on the slide."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stacks import TISSUE_BOX, ome_slide, ome_stack

from ragvlm.images import open_image

pytest.importorskip("efficientnet_lite_pytorch")


def run(*arguments: Any, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ragvlm", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cli")
    corpus = root / "corpus"
    corpus.mkdir()
    ome_slide(corpus / "s.ome.tif")
    ome_stack(corpus / "stack.ome.tif")
    rows = "file_name,caption\ns.ome.tif,A made-up tissue in pink.\nstack.ome.tif,Noise in three channels.\n"
    (corpus / "metadata.csv").write_text(rows)
    run("index", corpus, "--out", root / "index", "--tile", 128, "--mpp", 0.5, "--tissue", 0.9, "--channel", "0",
        "--plain-subjects")  # fmt: skip
    return root


def test_hits_name_their_place_on_the_slide(folder: Path) -> None:
    (tile,) = json.loads(run("search", "pink tissue", "-i", folder / "index", "-k", 1, "--json").stdout)["hits"]
    region = tile["region"]
    left, top, right, bottom = TISSUE_BOX
    assert left - 30 <= region["x"] <= region["x"] + region["width"] <= right + 30
    assert top - 30 <= region["y"] <= region["y"] + region["height"] <= bottom + 30
    assert region["um"][0] == region["x"] * 0.25
    assert np.asarray(open_image(tile["image"])).shape == (128, 128, 3)


def test_a_slide_is_described_by_its_tiles(folder: Path) -> None:
    slide = folder / "corpus" / "s.ome.tif"
    page = folder / "report.html"
    done = run("describe", slide, "-i", folder / "index", "--tile", 128, "--mpp", 0.5, "--alpha", 0, "--report", page)
    assert "s.ome.tif, with the references that are its tiles" in page.read_text(encoding="utf-8")
    assert "A made-up tissue in pink." in done.stdout
    assert "nearest to the query's tile at " in done.stdout
    assert "µm" in done.stdout


def test_channels_are_those_asked_for(folder: Path, tmp_path: Path) -> None:
    stack = folder / "corpus" / "stack.ome.tif"
    found = json.loads(run("search", stack, "-i", folder / "index", "-k", 1, "--channel", "0", "--json").stdout)
    assert found["hits"][0]["id"] == "stack.ome.tif"
    assert found["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
    assert found["hits"][0]["image"].endswith("stack.ome.tif#channel=0")
    missing = run("search", stack, "-i", folder / "index", "--channel", "RFP", code=2)
    assert "has no channel 'RFP': its channels are 0 (DAPI), 1 (GFP), 2 (Cy5)" in missing.stderr
    words = run("search", "pink tissue", "-i", folder / "index", "--tile", 128, code=2)
    assert "--tile needs a picture's path, not 'pink tissue'" in words.stderr


def test_weights_are_learned_shown_and_used(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    rows = ["file_name,caption,stain,mask"]
    for i in range(24):
        kind = ("nuclei", "worms")[i % 2]
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(corpus / f"p{i}.png")
        mask = np.zeros((24, 24), np.uint8)
        mask[4:8, (2 if i % 2 else 14) :][:, :6] = 255
        (corpus / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(corpus / "masks" / f"m{i}.png")
        rows.append(f"p{i}.png,Many small {kind}.,{('DAPI', 'none')[i % 2]},masks/m{i}.png")
    (corpus / "metadata.csv").write_text("\n".join(rows))
    index = tmp_path / "index"
    run("index", corpus, "--out", index, "--regions")
    said = run("fuse", index).stdout
    assert "weights: " in said
    assert "24 records of 24 subjects" in said
    weights = json.loads(run("info", index, "--json").stdout)["fusion_weights"]
    assert set(weights) <= {"image", "caption", "metadata", "regions"}
    assert "image" not in weights or weights["image"] < 1
    query = ("search", corpus / "p0.png", "-i", index, "-k", 5, "--fusion", "learned", "--weight", "metadata=1",
             "--metadata", "stain=none", "--regions", corpus / "masks" / "m1.png", "--json")  # fmt: skip
    hits = json.loads(run(*query).stdout)["hits"]
    assert {hit["caption"] for hit in hits} == {"Many small worms."}
