from __future__ import annotations

import csv
from pathlib import Path

import pytest

import ragvlm as rv
from ragvlm.errors import InputError, StoreError
from ragvlm.tasks.table import ClassificationTable


class Fixed:
    name, labels, rule = "fixed", ("a, b", "c"), "softmax"
    temperature: float | None = None


def result(name: str) -> rv.Classification:
    return rv.Classification(name, Fixed.labels, (0.25, 0.75), "softmax", "fixed", alpha=0.1, prediction_set=("c",))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_row_a_picture_and_the_same_call_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    ClassificationTable(path, Fixed()).append([result("x.png"), result('odd, "name".png')])
    again = ClassificationTable(path, Fixed())
    assert again.done == {"x.png", 'odd, "name".png'}
    again.append([result("y.png")])
    found = rows(path)
    assert [row["image"] for row in found] == ["x.png", 'odd, "name".png', "y.png"]
    assert (found[0]["label"], found[0]["probability"], found[0]["a, b"]) == ("c", "0.750000", "0.250000")
    assert (found[0]["prediction_set"], found[0]["calibrated"]) == ("c", "false")


def test_a_row_that_was_half_written_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    ClassificationTable(path, Fixed()).append([result("x.png"), result("y.png")])
    path.write_bytes(path.read_bytes()[:-7])
    table = ClassificationTable(path, Fixed())
    assert table.done == {"x.png"}
    table.append([result("y.png")])
    assert [row["image"] for row in rows(path)] == ["x.png", "y.png"]


def test_another_classifier_or_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    ClassificationTable(path, Fixed()).append([result("x.png")])
    before = path.read_bytes()
    other = Fixed()
    other.temperature = 2.0
    with pytest.raises(InputError, match="another classifier"):
        ClassificationTable(path, other)
    assert path.read_bytes() == before
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError, match="give an --out"):
        ClassificationTable(path, Fixed())
    path.write_text("some notes of mine")
    with pytest.raises(InputError, match="another classifier"):
        ClassificationTable(path, Fixed())
    assert path.read_text() == "some notes of mine"
