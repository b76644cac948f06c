"""The truth of simulated objects: boxes and masks on request, the pictures unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragvlm.errors import InputError
from ragvlm.simulate import simulate_corpus


def test_boxes_and_masks_show_the_same_objects(tmp_path: Path) -> None:
    simulate_corpus(tmp_path / "plain", 1, 3, kinds=["blood_smear"], workers=1)
    simulate_corpus(tmp_path / "told", 1, 3, kinds=["blood_smear"], workers=1, regions=True)
    plain, told = (json.loads((tmp_path / name / "metadata.jsonl").read_text()) for name in ("plain", "told"))
    assert {name: told[name] for name in plain} == plain
    assert (tmp_path / "plain" / plain["file_name"]).read_bytes() == (
        tmp_path / "told" / told["file_name"]
    ).read_bytes()
    for label, name in told["masks"].items():
        with Image.open(tmp_path / "told" / name) as picture:
            mask = np.asarray(picture)
        boxes = [box["bbox"] for box in told["boxes"] if box["label"] == label]
        assert len(boxes) == len(np.unique(mask[mask > 0]))
        for left, top, right, bottom in boxes:
            inside = mask[top:bottom, left:right]
            assert inside.any(axis=0)[[0, -1]].all()  # no box is larger than its object
            assert inside.any(axis=1)[[0, -1]].all()
    assert sum(box["label"] == "white_cells" for box in told["boxes"]) == told["labels"]["white_cells"]


def test_a_corpus_without_truth_is_no_corpus_with(tmp_path: Path) -> None:
    simulate_corpus(tmp_path / "a", 1, kinds=["blood_smear"], workers=1)
    with pytest.raises(InputError, match="holds a simulation with regions"):
        simulate_corpus(tmp_path / "a", 1, kinds=["blood_smear"], workers=1, regions=True)
