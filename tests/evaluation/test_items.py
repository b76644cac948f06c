"""Files of predictions and references become items; a wrong file is one line that names it and the ids."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ragvlm.errors import InputError
from ragvlm.evaluation.filerows import read_rows
from ragvlm.evaluation.items import read_items

CAPTIONS = {"a": "A red cell.", "b": "Two cells.", "c": "No cell."}


def write(path: Path, rows: Any) -> Path:
    """``rows`` in the format that the name of ``path`` asks for."""
    if path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    elif isinstance(rows, str):
        path.write_text(rows, encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def said(of: dict[str, str] = CAPTIONS, name: str = "text") -> list[dict[str, Any]]:
    return [{"id": key, name: text} for key, text in of.items()]


@pytest.fixture
def right(tmp_path: Path) -> Path:
    return write(tmp_path / "right.jsonl", said(name="caption"))


@pytest.mark.parametrize("name", ["p.jsonl", "p.json", "p.csv", "p.tsv"])
def test_captions_are_read_from_every_format(name: str, tmp_path: Path, right: Path) -> None:
    given = read_items(write(tmp_path / name, said()[::-1]), right)
    assert (given.task, list(given.systems), given.left_out, given.silent) == ("describe", ["p"], 0, 0)
    assert [(i.id, i.cluster, i.prediction, i.references) for i in given.systems["p"]] == [
        (key, key, text, (text,)) for key, text in CAPTIONS.items()
    ]  # in the order of the references


def test_columns_are_gathered_once_for_all_rows(tmp_path: Path) -> None:
    # each item asks for them: gathered anew, 10,000 rows were looked at 10,000 times
    rows = read_rows(write(tmp_path / "p.jsonl", said()), "predictions")
    assert rows.columns is rows.columns


def test_json_may_be_an_object_by_id(tmp_path: Path) -> None:
    predicted = write(tmp_path / "p.json", {"1": "yes", "2": "no"})
    right = write(tmp_path / "r.json", {"2": {"answers": ["no", "none"]}, "1": {"answers": ["Yes"]}})
    given = read_items(predicted, right)
    assert given.task == "vqa"
    assert [(i.id, i.prediction, i.references) for i in given.systems["p"]] == [
        ("2", "no", ("no", "none")), ("1", "yes", ("Yes",))
    ]  # fmt: skip


def test_subjects_groups_facts_and_systems_are_kept(tmp_path: Path) -> None:
    rows = [{"qid": 7, "system": s, "answer": a, "confidence": 0.5} for s, a in (("x", "yes"), ("y", 3))]
    right = [{"qid": "7", "answer": "yes", "answer_type": "CLOSED", "subject_id": 12, "question": "Is it?"}]
    given = read_items(write(tmp_path / "p.jsonl", rows), write(tmp_path / "r.jsonl", right))
    assert given.task == "vqa"
    (one,), (two,) = given.systems["x"], given.systems["y"]
    assert (one.id, one.cluster, one.group, one.prediction, two.prediction) == ("7", "12", "CLOSED", "yes", "3")
    assert one.facts == {"answer_type": "CLOSED", "question": "Is it?", "confidence": 0.5}


def test_classes_are_labels_or_probabilities(tmp_path: Path) -> None:
    right = write(tmp_path / "r.csv", [{"id": "a", "label": "2"}, {"id": "b", "label": "0"}])
    rows = [{"id": "a", "probabilities": {"2": 0.75, "0": 0.25}}, {"id": "b", "label": "0"}]
    a, b = read_items(write(tmp_path / "p.jsonl", rows), right).systems["p"]
    assert (a.prediction, a.references, b.prediction) == ({"2": 0.75, "0": 0.25}, "2", "0")
    cells = [{"id": "a", "probabilities": '{"2": 1, "0": 0}'}, {"id": "b", "probabilities": "{}"}]
    a, b = read_items(write(tmp_path / "q.csv", cells), right).systems["q"]
    assert (a.prediction, b.prediction) == ({"2": 1.0, "0": 0.0}, {})


def test_rankings_come_from_trec_or_json(tmp_path: Path) -> None:
    run = write(tmp_path / "my.run", "q1 Q0 d1 1 0.5 me\nq1 Q0 d2 2 0.9 me\n")
    qrels = write(tmp_path / "my.qrels", "q1 0 d2 1\nq1 0 d9 0\nq2 0 d1 2\n")
    given = read_items(run, qrels)
    one, two = given.systems["my"]
    assert (given.task, given.silent) == ("retrieve", 1)
    assert [document for document, _ in one.prediction] == ["d2", "d1"]
    assert (one.references, two.prediction, two.references) == ({"d2": 1, "d9": 0}, [], {"d1": 2})
    rows = [{"id": "q1", "prediction": [["d2", 0.9]]}, {"id": "q2", "prediction": {"d1": 1}}]
    one, two = read_items(write(tmp_path / "p.jsonl", rows), qrels).systems["p"]
    assert (one.prediction, two.prediction) == ([("d2", 0.9)], [("d1", 1.0)])


def test_regions_are_boxes_or_masks_beside_the_file(tmp_path: Path) -> None:
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    boxes = [{"id": "a", "boxes": [{"bbox": [0, 0, 4, 4], "label": "rbc", "score": 0.5}]}]
    right = write(tmp_path / "r.jsonl", [{"id": "a", "boxes": [{"bbox": [0, 0, 4, 2], "label": "rbc"}]}])
    given = read_items(write(tmp_path / "p.jsonl", boxes), right)
    assert (given.task, given.systems["p"][0].prediction[0]["score"]) == ("ground", 0.5)
    masks = write(tmp_path / "q.jsonl", [{"id": "a", "masks": {"nucleus": "m.png"}}])
    (item,) = read_items(masks, write(tmp_path / "s.jsonl", [{"id": "a", "mask": "m.png"}])).systems["q"]
    assert (item.references != 0).sum() == (item.prediction["nucleus"] != 0).sum() == 6
    (item,) = read_items(
        write(tmp_path / "i.csv", [{"id": "a", "image": "m.png"}]),
        write(tmp_path / "j.csv", [{"id": "a", "image": "m.png"}]),
        "pictures",
    ).systems["i"]
    assert item.prediction.size == (6, 4)


@pytest.mark.parametrize(
    ("predicted", "right", "task"),
    [
        ({"text": "x"}, {"caption": "x"}, "describe"),
        ({"prediction": "x"}, {"answer": "x"}, "vqa"),
        ({"label": "x"}, {"label": "x"}, "classify"),
        ({"prediction": "x"}, {"label": "x"}, "classify"),
        # files of a corpus say more than one thing
        ({"caption": "x"}, {"caption": "x", "label": "y", "boxes": []}, "describe"),
        ({"answer": "x"}, {"answer": "x", "caption": "z"}, "vqa"),
        ({"probabilities": {"x": 1}}, {"caption": "x", "label": "x"}, "classify"),
        ({"boxes": [[0, 0, 1, 1]]}, {"caption": "x", "boxes": [[0, 0, 1, 1]]}, "ground"),
    ],
)
def test_the_task_is_guessed(predicted: dict[str, Any], right: dict[str, Any], task: str, tmp_path: Path) -> None:
    files = (write(tmp_path / "p.jsonl", [{"id": 1, **predicted}]), write(tmp_path / "r.jsonl", [{"id": 1, **right}]))
    assert read_items(*files).task == task


def refused(predicted: Path, right: Path, task: str | None = None) -> str:
    with pytest.raises(InputError) as error:
        read_items(predicted, right, task)
    line = str(error.value)
    assert "\n" not in line
    return line


def test_an_open_task_is_asked_for(tmp_path: Path) -> None:
    general = write(tmp_path / "p.jsonl", [{"id": 1, "prediction": "x"}])
    both = write(tmp_path / "r.jsonl", [{"id": 1, "caption": "x", "label": "y"}])
    assert "fit describe and classify: give --task" in refused(general, both)
    assert "don't say it: give --task" in refused(general, write(tmp_path / "s.jsonl", [{"id": 1, "references": "x"}]))
    assert read_items(general, both, "classify").systems["p"][0].references == "y"
    assert "unknown task 'clasify': choose one of describe" in refused(general, both, "clasify")


def test_ids_that_differ_are_named(tmp_path: Path, right: Path) -> None:
    some = write(tmp_path / "p.jsonl", [*said({"b": "x"}), *said({f"z{i}": "x" for i in range(7)})])
    line = refused(some, right)
    assert line.startswith(
        f"{some}: no prediction for 'a', 'c'; predictions for 'z0', 'z1', 'z2', 'z3', 'z4' and 2 more,"
    )
    assert str(right) in line
    assert line.endswith("or leave these out with --common")
    given = read_items(some, right, common=True)
    assert ([item.id for item in given.systems["p"]], given.left_out) == (["b"], 9)
    nothing = write(tmp_path / "q.jsonl", said({"x": "x"}))
    with pytest.raises(InputError, match=r"share no id: 'x' in the one, 'a', 'b', 'c' in the other"):
        read_items(nothing, right, common=True)
    systems = [{"id": key, "system": s, "text": "x"} for s, keys in (("one", "abc"), ("two", "ab")) for key in keys]
    assert "no prediction of system 'two' for 'c'" in refused(write(tmp_path / "s.jsonl", systems), right)


def test_queries_that_nobody_judged_are_named(tmp_path: Path) -> None:
    run = write(tmp_path / "a.run", "q1 Q0 d1 1 0.5 me\nq8 Q0 d2 2 0.9 me\n")
    qrels = write(tmp_path / "a.qrels", "q1 0 d2 1\n")
    assert "predictions for 'q8', which" in refused(run, qrels)
    assert read_items(run, qrels, common=True).left_out == 1


WRONG: dict[str, tuple[str, str, str]] = {
    "twice": ('{"id": "a", "text": "x"}\n{"id": "b", "text": "x"}\n{"id": "a", "text": "y"}\n', "p.jsonl",
              "p.jsonl: ids that are there twice: 'a' (the first in row 3): keep one row of each"),
    "null": ('{"id": "a", "text": null}\n', "p.jsonl", "p.jsonl, row 1: text of 'a' is missing: give text"),
    "NaN": ('{"id": "a", "text": NaN}\n', "p.jsonl", "p.jsonl, row 1: text of 'a' is NaN: give text"),
    "list": ('{"id": "a", "text": ["x"]}\n', "p.jsonl", "p.jsonl, row 1: text of 'a' is [\"x\"]: give text"),
    "truth": ('{"id": "a", "text": true}\n', "p.jsonl", "is true: give text"),
    "no id": ('{"id": "a", "text": "x"}\n{"text": "y"}\n', "p.jsonl", "p.jsonl, row 2: no id: give each item one"),
    "NaN id": ('{"id": NaN, "text": "x"}\n', "p.jsonl", "row 1: no id"),
    "list id": ('{"id": ["a"], "text": "x"}\n', "p.jsonl", "row 1: id and system must be text, not list"),
    "no ids": ('{"name": "a", "text": "x"}\n', "p.jsonl", "no column of ids: call it 'id'; it has 'name', 'text'"),
    "no column": ('{"id": "a", "words": "x"}\n', "p.jsonl", "no column 'prediction' or 'text' or 'caption': it has"),
    "broken": ('{"id": "a", "text": "x"\n', "p.jsonl", "p.jsonl, row 1: is not JSON"),
    "no object": ('"a"\n', "p.jsonl", "p.jsonl, row 1: is str, not a JSON object"),
    "empty": ("\n", "p.jsonl", "p.jsonl: holds nothing"),
    "only a header": ("id,text\n", "p.csv", "p.csv: holds nothing"),
    "cells": ("id,text\na,x,y\n", "p.csv", "p.csv, row 2: has 3 cells, but the header has 2"),
    "json": ("{", "p.json", "p.json: is not JSON"),
    "json of text": ('"x"', "p.json", "p.json: is neither a list nor an object"),
    "json of numbers": ("[1]", "p.json", "p.json, row 1: is int, not an object"),
    "lines in json": ('{"id": 1}\n{"id": 2}', "p.json", "one object a line is .jsonl"),
    "another suffix": ('{"id": "a", "text": "x"}\n', "p.pred", "p.pred, line 1: 4 fields, not 'query Q0"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_predictions_are_one_line(name: str, tmp_path: Path) -> None:
    text, file, expected = WRONG[name]
    right = write(tmp_path / "right.jsonl", said({"a": "x"}, name="caption"))
    wrong = tmp_path / file
    wrong.write_text(text, encoding="utf-8")
    assert expected in refused(wrong, right, "describe")


@pytest.mark.parametrize(
    ("task", "prediction", "truth", "expected"),
    [
        ("describe", {"text": "x"}, {"references": []}, "references of 'a' is empty: say what is right"),
        ("describe", {"text": "x"}, {"captions": ["x", None]}, "captions of 'a' is missing"),
        ("describe", {"text": "x"}, {"caption": ""}, "caption of 'a' is empty"),
        ("vqa", {"answer": "x"}, {"answers": [float("nan")]}, "answers of 'a' is NaN"),
        (
            "classify",
            {"probabilities": {"x": float("nan")}},
            {"label": "x"},
            "label 'x' of 'a' is NaN: give a probability",
        ),
        ("classify", {"probabilities": {"x": 1.5}}, {"label": "x"}, "is 1.5: give a probability from 0 to 1"),
        ("classify", {"probabilities": {"x": "1"}}, {"label": "x"}, 'is "1": give a probability'),
        ("classify", {"probabilities": [0.5]}, {"label": "x"}, "is [0.5]"),
        ("classify", {"probabilities": 0.5}, {"label": "x"}, "is 0.5: give probabilities by label"),
        ("classify", {"label": "x"}, {"label": None}, "label of 'a' is missing"),
        ("classify", {"label": "x"}, {"label": ""}, "label of 'a' is no label"),
        (
            "retrieve",
            {"prediction": [["d", float("inf")]]},
            {"references": {"d": 1}},
            'is ["d", Infinity]: give [document',
        ),
        ("retrieve", {"prediction": [["d", 1], ["d", 2]]}, {"references": {"d": 1}}, "has a document twice"),
        ("retrieve", {"prediction": "d"}, {"references": {"d": 1}}, "pairs with finite scores"),
        ("retrieve", {"prediction": []}, {"references": {"d": 0.5}}, "give whole gains by document"),
        ("ground", {"boxes": 3}, {"boxes": []}, "is 3: give a list of boxes"),
        ("ground", {"mask": "no.png"}, {"mask": "no.png"}, "no.png: can't be read"),
        ("ground", {"mask": "no.txt"}, {"mask": "no.txt"}, "doesn't end like a picture's name"),
        ("pictures", {"image": 3}, {"image": "x.png"}, "x.png: can't be read"),
    ],
)
def test_wrong_values_are_one_line(
    task: str, prediction: dict[str, Any], truth: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    predicted = write(tmp_path / "p.jsonl", [{"id": "a", **prediction}])
    line = refused(predicted, write(tmp_path / "r.jsonl", [{"id": "a", **truth}]), task)
    assert expected in line
    assert f"{tmp_path}" in line
    assert "row 1" in line


def test_files_that_can_not_be_read_are_one_line(tmp_path: Path, right: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.jsonl", right)
    assert "is a folder" in refused(tmp_path, right)
    (tmp_path / "latin.csv").write_bytes(b"id,text\na,\xe9\n")
    assert "latin.csv, row 2: is not UTF-8" in refused(tmp_path / "latin.csv", right)
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    assert "latin.json: is not UTF-8" in refused(tmp_path / "latin.json", right)


def test_an_empty_cell_is_an_empty_text(tmp_path: Path, right: Path) -> None:
    rows = [{"id": key, "text": text} for key, text in (("a", ""), ("b", "[1]"), ("c", "x"))]
    given = read_items(write(tmp_path / "p.csv", rows), right)
    assert [item.prediction for item in given.systems["p"]] == ["", "[1]", "x"]
