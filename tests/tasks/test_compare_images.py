"""What differs between two pictures, over plain colours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny import COLOURS, build, of, paint

import ragvlm as rv
from ragvlm.describe import Describer
from ragvlm.index import Index
from ragvlm.report import render_comparison, write_comparison
from ragvlm.tasks.compare_images import compare_images
from ragvlm.taskterminal import show_image_comparison
from ragvlm.types import Record


def _square(colour: str) -> Image.Image:
    return Image.new("RGB", (12, 12), COLOURS[colour])


def _index(root: Path, told: dict[str, list[dict[str, Any]]], **options: Any) -> Index:
    records = []
    for colour, several in told.items():
        for i, fields in enumerate(several):
            name = f"{colour}{i}"
            paint(root / "c" / f"{name}.png", tuple(max(c - i, 0) for c in COLOURS[colour]))  # type: ignore[arg-type]
            records.append(Record(name, f"{name}.png", **fields))
    return build(of(root / "c", records), root / "i", **options)


CAPTIONS = {
    "red": [{"caption": f"There are {n} red cells. The field is crowded."} for n in (19, 20, 21)],
    "blue": [{"caption": f"There are {n} red cells. The field is crowded."} for n in (4, 5, 19)],
}


@pytest.fixture
def describer(tmp_path: Path) -> Describer:
    return Describer(_index(tmp_path, CAPTIONS), k=3, alpha=0)


def test_counts_in_captions_differ_with_evidence_of_both_sides(describer: Describer) -> None:
    found = compare_images(describer, _square("red"), _square("blue"))
    count = found.differences[0]
    assert (count.kind, count.name) == ("number", "red cells")
    assert (count.a, count.b) == ("There are 20 red cells.", "There are five red cells.")
    assert count.evidence_a is not None and count.evidence_a.record_ids == ("red1",)
    assert count.evidence_b is not None and count.evidence_b.record_ids == ("blue1",)
    assert count.confidence == pytest.approx(8 / 9, abs=0.01)  # of nine pairs eight are larger, one is equal
    assert [own.sentence for own, _ in found.shared] == ["The field is crowded."]
    own, other = found.shared[0]
    assert set(own.record_ids) == {"red0", "red1", "red2"}
    assert set(other.record_ids) == {"blue0", "blue1", "blue2"}


def test_a_picture_does_not_differ_from_itself(describer: Describer) -> None:
    found = compare_images(describer, _square("red"), _square("red"))
    assert found.differences == ()
    assert not found.abstained


def test_labels_differ_where_the_neighbours_disagree(tmp_path: Path) -> None:
    told = {
        "red": [{"labels": {"stain": "DAPI", "lens": "oil"}} for _ in range(3)],
        "blue": [{"labels": {"stain": stain, "lens": "oil"}} for stain in ("Giemsa", "Giemsa", "DAPI")],
    }
    found = compare_images(Describer(_index(tmp_path, told), "template", 3, alpha=0), _square("red"), _square("blue"))
    findings = [d for d in found.differences if d.kind == "label"]
    assert [(d.name, d.a, d.b) for d in findings] == [("stain", "The stain is DAPI.", "The stain is Giemsa.")]
    assert findings[0].confidence == pytest.approx(2 / 3, abs=0.01)


def test_a_foreign_picture_is_compared_with_nothing(tmp_path: Path) -> None:
    told = {"red": [{"caption": "A red square."} for _ in range(40)]}
    index = _index(tmp_path, told, segment_rows=64, calibrate=True)
    found = rv.Assistant(index).compare_images(_square("red"), _square("green"))
    assert found.abstained and found.differences == ()
    assert str(found).startswith("Abstained: second picture: nothing in the corpus is close enough")


def test_it_is_told_in_json_a_page_a_terminal_and_a_notebook(
    describer: Describer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare_images(describer, _square("red"), _square("blue"))
    told = json.loads(json.dumps(found.to_dict()))
    assert told["differences"][0]["evidence_a"]["record_ids"] == ["red1"]
    assert [row["sentence"] for row in (pair["a"] for pair in told["shared"])] == ["The field is crowded."]
    page = write_comparison(found, describer.index, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "There are five red cells." in page and 'href="#b' in page and "<img src=" in page
    assert page == render_comparison(found, describer.index)
    show_image_comparison(found)
    assert "There are five red cells." in capsys.readouterr().out
    assert "There are five red cells." in found._repr_html_()
    assert "There are five red cells." in str(found)
