from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ragvlm as rv
from ragvlm.errors import ImageError, InputError, RagvlmError
from ragvlm.tasks.classify import batches
from ragvlm.types import Float32


class Reds:
    """How red, and how blue, the first pixel is."""

    name, labels, rule = "reds", ("red", "blue", "grey"), "softmax"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def classify(self, images: Sequence[Image.Image]) -> Float32:
        self.calls.append(len(images))
        rows = [(r / 255, b / 255, 1 - (r + b) / 255) for r, _, b in (image.getpixel((0, 0)) for image in images)]  # type: ignore[misc]
        return np.array(rows, np.float32).reshape(-1, 3)


def square(red: int, blue: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (red, 0, blue))


def test_one_picture_gives_one_result_and_a_list_a_list(tmp_path: Path) -> None:
    square(51, 204).save(tmp_path / "a.png")
    found = rv.classify(tmp_path / "a.png", classifier=Reds())
    assert isinstance(found, rv.Classification)
    assert found.query_id == str(tmp_path / "a.png")
    assert found.top == ("blue", pytest.approx(0.8))
    assert [label for label, _ in found.ranked] == ["blue", "red", "grey"]
    assert str(found) == " 80.00%  blue\n 20.00%  red\n  0.00%  grey"
    many = rv.classify([str(tmp_path / "a.png"), np.full((4, 4, 3), 0, np.uint8)], classifier=Reds())
    assert [item.top[0] for item in many] == ["blue", "grey"]
    assert rv.classify([], classifier=Reds()) == []


def test_equal_probabilities_keep_the_order_of_the_labels() -> None:
    found = rv.Classification("q", ("b", "a", "c"), (0.25, 0.25, 0.5), "softmax", "x")
    assert [label for label, _ in found.ranked] == ["c", "b", "a"]


def test_json_holds_labels_rule_and_where_they_come_from() -> None:
    found = rv.classify(square(51, 204), classifier=Reds()).to_dict(top=2)
    assert json.loads(json.dumps(found)) == {
        "image": "<Image>",
        "probabilities": [{"label": "blue", "probability": 0.8}, {"label": "red", "probability": 0.2}],
        "rule": "softmax",
        "classifier": "reds",
        "calibrated": False,
        "temperature": None,
        "encoder": None,
        "templates": None,
        "ragvlm": rv.__version__,
    }


def test_labels_that_bear_one_name_are_both_shown() -> None:
    found = rv.Classification("q", ("crane", "crane"), (0.9, 0.1), "softmax", "x")
    assert [row["probability"] for row in found.to_dict()["probabilities"]] == [0.9, 0.1]


def test_many_pictures_go_in_batches() -> None:
    reds = Reds()
    sizes = [len(batch) for batch in batches(reds, [square(i, 0) for i in range(7)], size=3)]
    assert sizes == reds.calls == [3, 3, 1]


class Short(Reds):
    def classify(self, images: Sequence[Image.Image]) -> Float32:
        return super().classify(images)[:, :2]


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    cases: list[tuple[Any, dict[str, Any], type[RagvlmError], str]] = [
        (tmp_path / "none.png", {"classifier": Reds()}, ImageError, "none.png"),
        (rv.Query("red", text="red"), {"classifier": Reds()}, InputError, "'red' is words"),
        (
            square(0, 0),
            {"classifier": Reds(), "labels": ["a"]},
            InputError,
            "is loaded: give labels to load_classifier",
        ),
        (square(0, 0), {"classifier": Short()}, RagvlmError, r"probabilities of shape \(1, 2\)"),
        (
            square(0, 0),
            {"classifier": "gpt"},
            InputError,
            "unknown classifier 'gpt': choose one of zero-shot, knn",
        ),
        (square(0, 0), {"classifier": "vit", "labels": ["a"]}, InputError, "classifier 'vit' has no option 'labels'"),
        (square(0, 0), {}, InputError, "there are none: give two or more words"),
        (square(0, 0), {"labels": ["a", "b"], "encoder": "embedded"}, InputError, "no common space"),
    ]
    for images, options, kind, message in cases:
        with pytest.raises(kind, match=message) as caught:
            rv.classify(images, **options)
        assert "\n" not in str(caught.value)
