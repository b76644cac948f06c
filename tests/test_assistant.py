"""One object for all tasks, and how its results show themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import COLOURS, ColourEncoder, build, make_corpus

import ragvlm as rv
from ragvlm.assistant import Assistant
from ragvlm.types import Float32


class Judging(ColourEncoder):
    """ColourEncoder with probabilities."""

    probability_rule = "softmax"

    def similarity_to_probabilities(self, cosines: Float32) -> Float32:
        return np.eye(cosines.shape[1], dtype=np.float32)[cosines.argmax(axis=1)]


@pytest.fixture
def assistant(tmp_path: Path) -> Assistant:
    return Assistant(build(make_corpus(tmp_path / "c", 12), tmp_path / "i", Judging()), "nearest", 3, alpha=0)


def _square(colour: str) -> Image.Image:
    return Image.new("RGB", (12, 12), COLOURS[colour])


def test_the_same_object_describes_and_classifies(assistant: Assistant) -> None:
    described = assistant.describe(_square("red"))
    assert isinstance(described, rv.Description)
    assert described.text == assistant(_square("red")).text
    found = assistant.classify([_square("blue"), _square("green")], ["red", "green", "blue"])
    assert isinstance(found, list)
    assert [item.top[0] for item in found] == ["blue", "green"]


def test_results_show_themselves_in_a_notebook(assistant: Assistant) -> None:
    described = assistant.describe(rv.Query("<b>me</b>", _square("red")))
    assert isinstance(described, rv.Description)
    page = described._repr_html_()
    assert "data:image/" in page
    assert "&lt;b&gt;me&lt;/b&gt;" in page and "<b>me</b>" not in page
    assert page.count("<tr>") == 1 + len(described.context.hits)
    classified = assistant.classify(_square("blue"), ["red", "<i>blue"])
    assert isinstance(classified, rv.Classification)
    assert "&lt;i&gt;blue" in classified._repr_html_()


def test_a_column_of_the_index_is_classified_by_its_references(tmp_path: Path) -> None:
    index = build(make_corpus(tmp_path, 16), tmp_path / "index")
    assistant = Assistant(index, alpha=0)
    found = assistant.classify(_square("blue"), "colour")
    assert isinstance(found, rv.Classification)
    assert (found.classifier, found.top[0]) == ("knn", "blue")
    probed = assistant.classify(_square("red"), "colour", classifier="probe", subject_id="s3")
    assert isinstance(probed, rv.Classification)
    assert (probed.classifier, probed.top[0]) == ("probe", "red")
