"""What a folder of results holds: read from files of ragvlm, of hands, of other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ragvlm.errors import InputError
from ragvlm.evaluation.compare import compare
from ragvlm.evaluation.recorded import Recorded


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path.parent


def test_predictions_alone_are_scored_by_the_measures_of_their_task(tmp_path: Path) -> None:
    right = {f"q{i}": ["yes", "no"][i % 2] for i in range(8)}
    for name, wrong in (("a", 1), ("b", 4)):
        rows = [{"id": i, "answer": "no" if n < wrong else text} for n, (i, text) in enumerate(right.items())]
        jsonl(tmp_path / name / "predictions.jsonl", rows)
        rows = [{"id": i, "answer": text, "answer_type": "CLOSED"} for i, text in right.items()]
        jsonl(tmp_path / name / "references.jsonl", rows)
    with pytest.raises(InputError, match="no file names its task: give --task"):
        compare([tmp_path / "a", tmp_path / "b"])
    found = {row.measure: row for row in compare([tmp_path / "a", tmp_path / "b"], task="vqa").rows}
    assert found["Exact Match"].value_a.value == 7 / 8
    assert found["Exact Match"].value_b.value == 6 / 8
    assert found["Exact Match"].difference.n == 8


def test_classes_that_one_system_never_names_count_in_both(tmp_path: Path) -> None:
    labels = ["a", "b", "c", "a", "b", "c"]
    for name, told in (("one", labels), ("two", ["a", "b", "a", "a", "b", "a"])):
        jsonl(tmp_path / name / "predictions.jsonl", [{"id": i, "label": label} for i, label in enumerate(told)])
        jsonl(tmp_path / name / "references.jsonl", [{"id": i, "label": label} for i, label in enumerate(labels)])
    folders = [tmp_path / "one", tmp_path / "two"]
    (row,) = compare(folders, task="classify", measures=["balanced accuracy"]).rows
    assert (row.value_a.value, row.value_b.value) == (1, pytest.approx(2 / 3))


def test_retrieval_reads_what_is_relevant_from_qrels(tmp_path: Path) -> None:
    """Ids with spaces are percent-encoded there; a document whose own id holds a per cent sign is left as it is."""
    for name, first in (("a", "d 1"), ("b", "x")):
        rows = [{"id": "q 1", "prediction": [[first, 2.0], ["50%20", 1.0]]}, {"id": "q2", "prediction": [["50%20", 1]]}]
        jsonl(tmp_path / name / "predictions.jsonl", rows)
        jsonl(tmp_path / name / "references.jsonl", [{"id": "q 1"}, {"id": "q2"}])
        (tmp_path / name / "qrels.txt").write_text("q%201 0 d%201 1\nq2 0 50%20 1\n")
    (row,) = compare([tmp_path / "a", tmp_path / "b"], task="retrieve", measures=["MRR"]).rows
    assert (row.value_a.value, row.value_b.value) == (1, 0.5)


BROKEN = {
    '{"id": "a", "scores": {"X": NaN}}': "line 1: holds NaN",
    '{"id": "a", "scores": {"X": 1}}\n{"id": "b", "sco': "line 2: no JSON",
    '{"id": "a", "scores": {"X": 1}}\n{"id": "a", "scores": {"X": 1}}': "line 2: id 'a' is there twice",
    '{"id": "a", "scores": {"X": "high"}}': "line 1: X is 'high': give a finite number, or null",
    '{"id": "a", "X": 1}': 'line 1: no "scores"',
    '{"scores": {"X": 1}}': 'line 1: no object with an "id"',
    "[1]": 'line 1: no object with an "id"',
    '{"id": "a", "scores": {"X": 1e999}}': "line 1: X is 'inf'",
    "\xff": "line 1: no JSON",
}


@pytest.mark.parametrize(("text", "told"), BROKEN.items())
def test_damaged_scores_are_one_line(tmp_path: Path, text: str, told: str) -> None:
    good = jsonl(tmp_path / "good" / "scores.jsonl", [{"id": "a", "scores": {"X": 1.0}}])
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "scores.jsonl").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as caught:
        compare([good, tmp_path / "bad"])
    assert told in str(caught.value)
    assert str(tmp_path / "bad" / "scores.jsonl") in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_absent_is_named(tmp_path: Path) -> None:
    jsonl(tmp_path / "predictions.jsonl", [{"id": f"i{n}", "said": "x"} for n in range(7)])
    with pytest.raises(InputError, match=r"holds neither scores.jsonl nor predictions.jsonl with references.jsonl"):
        Recorded.open(tmp_path, "describe")
    jsonl(tmp_path / "references.jsonl", [{"id": f"i{n}"} for n in range(7)])
    with pytest.raises(
        InputError, match=r'no "references" of \'i0\', \'i1\', \'i2\', \'i3\', \'i4\' and 2 more: say what'
    ):
        Recorded.open(tmp_path, "describe")
    jsonl(tmp_path / "references.jsonl", [{"id": f"i{n}", "caption": "y"} for n in range(7)])
    with pytest.raises(InputError, match=r'predictions.jsonl, line 1: no "prediction" of \'i0\''):
        Recorded.open(tmp_path, "describe")
    with pytest.raises(InputError, match="unknown task 'guess': choose one of describe"):
        Recorded.open(tmp_path, "guess")


def test_null_is_a_score_that_is_not_defined(tmp_path: Path) -> None:
    jsonl(tmp_path / "scores.jsonl", [{"id": 1, "scores": {"X": None}}, {"id": 2, "scores": {"X": 0.5}}])
    found = Recorded.open(tmp_path)
    assert found.ids(tmp_path.name) == ["1", "2"]
    assert str(found.scores[tmp_path.name]["1"]["X"]) == "nan"
    (row,) = compare([tmp_path, tmp_path]).rows
    assert (row.difference.n, row.value_a.value) == (1, 0.5)
