"""``ragvlm score``: figures of anybody's files, and the folder that ``ragvlm compare`` takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ragvlm.errors import InputError
from ragvlm.evaluation.compare import compare
from ragvlm.evaluation.score import WRITTEN, score
from ragvlm.measures import Statistics
from ragvlm.statistics import interval, paired

ROOT = Path(__file__).resolve().parents[2]
TRUTH = ["yes", "no", "yes", "left lung", "no", "yes"]
ONE = ["yes", "no", "no", "left lung", "no", "no"]
TWO = ["yes", "yes", "no", "right lung", "no", "no"]
SUBJECTS = ["s1", "s1", "s2", "s2", "s3", "s4"]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def answers(path: Path, said: list[str]) -> Path:
    return lines(path, [{"id": f"q{i}", "answer": text} for i, text in enumerate(said)])


@pytest.fixture
def right(tmp_path: Path) -> Path:
    rows = [
        {"id": f"q{i}", "answer": a, "answer_type": "OPEN" if " " in a else "CLOSED", "subject_id": s}
        for i, (a, s) in enumerate(zip(TRUTH, SUBJECTS, strict=True))
    ]
    return lines(tmp_path / "right.jsonl", rows)


def run(*args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "cli.py", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done


def test_figures_by_hand(tmp_path: Path, right: Path) -> None:
    found = score(answers(tmp_path / "one.jsonl", ONE), right, measures=["Exact Match", "token F1"])
    figure = found.metrics["systems"]["one"]["Exact Match"]
    assert (figure["value"], figure["n"], figure["clusters"]) == (round(4 / 6, 6), 6, 4)
    assert figure["by_group"]["CLOSED"]["value"] == 0.6
    assert (figure["by_group"]["OPEN"]["value"], figure["by_group"]["OPEN"]["n"]) == (1.0, 1)
    own = interval(Statistics.of_scores([1, 1, 0, 1, 1, 0]), SUBJECTS)
    assert (figure["low"], figure["high"]) == (round(own.low, 6), round(own.high, 6))
    assert found.metrics["task"] == "vqa"
    assert [(row["measure"], row["group"]) for row in found.rows][:3] == [
        ("Exact Match", ""), ("Exact Match", "CLOSED"), ("Exact Match", "OPEN")
    ]  # fmt: skip


def test_what_is_written_is_what_compare_takes(tmp_path: Path, right: Path) -> None:
    one, two = answers(tmp_path / "one.jsonl", ONE), answers(tmp_path / "two.jsonl", TWO)
    for name, file in (("A", one), ("B", two)):
        score(file, right, out=tmp_path / name)
    assert sorted(path.name for path in (tmp_path / "A").iterdir()) == sorted(WRITTEN)
    found = compare([tmp_path / "A", tmp_path / "B"], measures=["Exact Match"])
    own = paired(Statistics.of_scores([1, 1, 0, 1, 1, 0]), Statistics.of_scores([1, 0, 0, 0, 1, 0]), SUBJECTS)
    difference = found.rows[0].difference
    assert (difference.value, difference.low, difference.high, difference.p) == (own.value, own.low, own.high, own.p)
    # of 4 subjects the answers of s1 and s2 differ, each by one right answer: 4 of 4 swaps of these give |0| or |2|
    assert difference.p == 0.5


def test_the_same_files_give_the_same_bytes(tmp_path: Path, right: Path) -> None:
    one = answers(tmp_path / "one.jsonl", ONE)
    for folder in ("A", "B", "A"):  # an earlier result may be overwritten
        score(one, right, out=tmp_path / folder)
    for name in WRITTEN:
        assert (tmp_path / "A" / name).read_bytes() == (tmp_path / "B" / name).read_bytes()
    assert str(tmp_path) not in (tmp_path / "A" / "metrics.json").read_text()
    other = score(one, right, seed=5).metrics["systems"]["one"]["token F1"]
    assert other["value"] == score(one, right).metrics["systems"]["one"]["token F1"]["value"]


def test_measures_that_are_defined_nowhere_are_left_out_and_named(tmp_path: Path, right: Path) -> None:
    rows = [{"id": f"q{i}", "label": text} for i, text in enumerate(ONE)]
    truth = lines(tmp_path / "labels.jsonl", [{"id": f"q{i}", "label": text} for i, text in enumerate(TRUTH)])
    found = score(lines(tmp_path / "p.jsonl", rows), truth)
    assert "AUROC" in found.undefined
    assert "AUROC" not in found.metrics["systems"]["p"]
    assert found.metrics["systems"]["p"]["accuracy"]["value"] == round(4 / 6, 6)
    asked = score(tmp_path / "p.jsonl", truth, measures=["AUROC"])
    assert (asked.undefined, asked.metrics["systems"]["p"]["AUROC"]["value"]) == ((), None)


def test_pictures_and_masks_leave_scores_alone(tmp_path: Path) -> None:
    for name, colour in (("a.png", 0), ("b.png", 255)):
        image = Image.new("L", (16, 16), 0)
        image.paste(255, (2, 2, 10, 10 if colour else 6))
        image.save(tmp_path / name)
    files = [lines(tmp_path / f"{n}.jsonl", [{"id": "x", "mask": f"{n}.png"}]) for n in "ab"]
    found = score(files[0], files[1], out=tmp_path / "out", measures=["IoU"])
    assert found.metrics["systems"]["a"]["IoU"]["value"] == 0.5
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metrics.json", "scores.jsonl"]


def test_rankings_of_several_systems(tmp_path: Path) -> None:
    qrels = tmp_path / "a.qrels"
    qrels.write_text("q1 0 d1 1\nq2 0 d2 1\n", encoding="utf-8")
    rows = [
        {"id": q, "system": s, "prediction": [[d, 2.0], ["d3", 1.0]]}
        for s, found in (("good", ("d1", "d2")), ("bad", ("d2", "d2")))
        for q, d in zip(("q1", "q2"), found, strict=True)
    ]
    found = score(lines(tmp_path / "p.jsonl", rows), qrels, out=tmp_path / "out", measures=["hit@1"])
    assert {name: of["hit@1"]["value"] for name, of in found.metrics["systems"].items()} == {"good": 1.0, "bad": 0.5}
    assert compare([tmp_path / "out"]).rows[0].difference.value > 0
    run_file = tmp_path / "a.run"
    run_file.write_text("q1 Q0 d1 1 0.5 me\n", encoding="utf-8")
    silent = score(run_file, qrels, measures=["hit@1"])
    assert silent.metrics["systems"]["a"]["hit@1"]["value"] == 0.5
    assert silent.remarks == ("1 queries without documents: their ranking is empty",)


# of each task: what is right, what the better and what the worse system says, and a measure
BOX, OTHER = {"bbox": [0, 0, 4, 4], "label": "rbc"}, {"bbox": [20, 20, 24, 24], "label": "rbc"}
TASKS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = {
    "describe": ({"caption": "19 red cells"}, {"caption": "19 red cells"}, {"caption": "a lung"}, "ROUGE-L"),
    "vqa": ({"answer": "left lung"}, {"answer": "left lung"}, {"answer": "heart"}, "token F1"),
    "classify": ({"label": "0"}, {"probabilities": {"0": 0.9, "1": 0.1}}, {"label": "1"}, "accuracy"),
    "retrieve": (
        {"references": {"d1": 1}},
        {"prediction": [["d1", 2.0], ["d2", 1.0]]},
        {"prediction": [["d2", 1.0]]},
        "mAP@10",
    ),
    "ground": ({"boxes": [BOX]}, {"boxes": [BOX | {"score": 0.5}]}, {"boxes": [OTHER | {"score": 0.5}]}, "mAP@IoU0.5"),
    "pictures": ({"image": "a.png"}, {"image": "a.png"}, {"image": "b.png"}, "SSIM"),
}


@pytest.mark.parametrize("task", TASKS)
def test_folders_of_every_task_are_compared(task: str, tmp_path: Path) -> None:
    right, good, bad, name = TASKS[task]
    for file, colour in (("a.png", 200), ("b.png", 20)):
        Image.effect_noise((32, 32), colour).save(tmp_path / file)
    ids = ("x", "y", "z")
    truth = lines(tmp_path / "right.jsonl", [{"id": i, **right} for i in ids])
    # the worse system answers one item as well as the better one
    said = {"good": [good] * 3, "bad": [bad, bad, good]}
    wanted = [name] if task == "pictures" else ()
    for system, answered in said.items():
        file = lines(tmp_path / f"{system}.jsonl", [{"id": i, **a} for i, a in zip(ids, answered, strict=True)])
        score(file, truth, task=task, out=tmp_path / task / system, measures=wanted)
    found = compare([tmp_path / task / "good", tmp_path / task / "bad"])
    assert found.task == task
    row = next(row for row in found.rows if row.measure == name)
    values = [json.loads((tmp_path / task / s / "metrics.json").read_text())["systems"][s][name]["value"] for s in said]
    # the file holds six digits, of which the last may have been rounded from a mean of rounded scores
    assert (row.value_a.value, row.value_b.value) == pytest.approx(tuple(values), abs=1.5e-6)
    assert row.difference.value == pytest.approx(values[0] - values[1], abs=2e-6)
    assert values[0] > values[1]
    # pictures don't stand in a folder, so their scores are compared
    assert row.by_scores == (task == "pictures")
    others = {row.measure: row.difference.value for row in found.rows if row.higher_is_better}
    assert not [measure for measure, difference in others.items() if difference < 0]


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path, right: Path) -> None:
    one = answers(tmp_path / "one.jsonl", ONE)
    with pytest.raises(InputError, match=r"holds 'one.jsonl', no scores: choose another --out"):
        score(one, right, out=tmp_path)
    with pytest.raises(InputError, match="is a file"):
        score(one, right, out=one)
    with pytest.raises(InputError, match="seed is -1"):
        score(one, right, seed=-1)
    with pytest.raises(InputError, match="unknown measure 'IoU' of task 'vqa'"):
        score(one, right, measures=["IoU"])


def test_the_command(tmp_path: Path, right: Path) -> None:
    one = answers(tmp_path / "one.jsonl", ONE)
    done = run("score", one, right, "--measure", "Exact Match", "--out", tmp_path / "A")
    # right: 2 of 2, 1 of 2, 1 of 1, 0 of 1 by subject; of the 256 draws of four 5 give less than 1/4, 9 at most 1/4
    assert done.stdout.splitlines()[:2] == [
        "system\tmeasure\tgroup\tvalue\tlow\thigh\tn",
        "one\tExact Match\t\t0.6667\t0.2500\t1.0000\t6",
    ]
    found = json.loads(run("score", one, right, "--measure", "Exact Match", "--json").stdout)
    assert found == json.loads((tmp_path / "A" / "metrics.json").read_text())
    answers(one, ONE[:4])
    done = run("score", one, right, code=2)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"{one}: no prediction for 'q4', 'q5': complete the files" in done.stderr
    done = run("score", one, right, "--common", "--measure", "Exact Match")
    assert done.stdout.splitlines()[-1] == "2 ids that only one file has were left out"
