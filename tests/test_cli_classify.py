"""``ragvlm classify`` as a user types it: in a process of its own, on real pictures and tiny checkpoints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import BUILDERS
from test_cli import lines, refuse, run
from tinyclassifiers import LABELS, build
from typer.testing import CliRunner

import ragvlm as rv
from ragvlm import terminal
from ragvlm.cli import app
from ragvlm.commands.classify import spread


def typed(*args: object, code: int = 0) -> Any:
    """Run in this process, which has torch loaded already."""
    done = CliRunner().invoke(app, ["classify", *map(str, args)])
    assert done.exit_code == code, done.output
    return done


WORDS = ("no diabetic retinopathy", "mild", "white cell")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BUILDERS["clip"](tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="module")
def pictures(shared_data: Path) -> list[Path]:
    return sorted((shared_data / "blood-cells").rglob("*.jpg"))[:2]


def test_several_words_after_one_option(clip: Path, pictures: list[Path]) -> None:
    done = run("classify", pictures[0], "--labels", *WORDS, "--encoder", f"transformers:{clip}")
    wanted = rv.classify(pictures[0], WORDS, encoder=f"transformers:{clip}")
    head, *rows, last = done.stdout.splitlines()
    assert head == str(pictures[0])
    assert [row.strip() for row in rows] == [f"{p:.2%}  {label}" for label, p in wanted.ranked]
    assert last.startswith("softmax: shares of the 3 labels, which add up to 100%; zero-shot with transformers:")
    assert done.stderr == ""


def test_json_is_one_object_a_picture(clip: Path, pictures: list[Path]) -> None:
    template = "a fundus photograph of {label}"
    args = ("--template", template, "--encoder", f"transformers:{clip}", "--json", "--labels", "diabetic-retinopathy")
    found = lines(typed(*pictures, *args, "--top", 2))
    assert [row["image"] for row in found] == [str(path) for path in pictures]
    wanted = rv.classify(pictures, "diabetic-retinopathy", templates=template, encoder=f"transformers:{clip}")
    for row, item in zip(found, wanted, strict=True):
        assert [(p["label"], p["probability"]) for p in row["probabilities"]] == [
            (label, pytest.approx(value, abs=1e-5)) for label, value in item.ranked[:2]
        ]
        assert (row["rule"], row["classifier"], row["templates"]) == ("softmax", "zero-shot", [template])
        assert row["encoder"]["name"] == f"transformers:{clip}"
        assert row["label_set"] == "diabetic-retinopathy"


def test_the_encoder_of_an_index(clip: Path, pictures: list[Path], tmp_path: Path) -> None:
    corpus = rv.Corpus.load(pictures[0].parent.parent if pictures[0].parent.name == "images" else pictures[0].parent)
    few = rv.Corpus.from_records(corpus.records[:3], root=corpus.root, name="few")
    rv.Index.build(few, tmp_path / "index", encoder=f"transformers:{clip}", calibrate=False)
    (tmp_path / "labels.txt").write_text("white cell\nred cell\n")
    args = ("--index", tmp_path / "index", "--labels", tmp_path / "labels.txt", "--json")
    row = lines(typed(pictures[1], *args))[0]
    wanted = rv.classify(pictures[1], ["white cell", "red cell"], encoder=f"transformers:{clip}")
    assert row["probabilities"][0]["probability"] == pytest.approx(wanted.top[1], abs=1e-5)
    assert row["label_set"] == "labels"
    both = (*args, "--encoder", "clip")
    assert "give an encoder or an index, not both" in str(typed(pictures[1], *both, code=1).exception)


def test_a_classifier_with_labels_of_its_own(pictures: list[Path], tmp_path: Path) -> None:
    folder = build("resnet", tmp_path / "resnet")
    args = ("--classifier", f"image-classifier:{folder}", "--classifier-option", "batch_size=1", "--device", "cpu")
    row = lines(typed(pictures[0], *args, "--json"))[0]
    assert {p["label"] for p in row["probabilities"]} == set(LABELS)
    assert np.isclose(sum(p["probability"] for p in row["probabilities"]), 1, atol=1e-5)
    assert (row["encoder"], row["templates"], row["rule"]) == (None, None, "softmax")


def test_what_cannot_be_is_one_line_before_a_model_is_loaded(pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    picture = pictures[0]
    for args, says in (
        ((picture,), "there are none: give two or more words"),
        ((tmp_path / "none.png", "--labels", "a", "b"), "none.png"),
        ((tmp_path / "text.png", "--labels", "a", "b"), "text.png"),
        ((picture, "--labels", "a", "b", "--encoder", "embedded"), "no common space for pictures and words"),
        ((picture, "--labels", tmp_path / "none.toml"), "none.toml: can't be read"),
        ((picture, "--labels", "a", "a"), "'a' stands there twice"),
        ((picture, "--labels", "a", "b", "--template", "words"), "has no {label}"),
        ((picture, "--labels", "a", "b", "--rule", "max"), "rule 'max'"),
        ((picture, "--labels", "a", "b", "--top", 0), "--top is 0"),
        ((picture, "--labels", "a", "b", "--encoder", "no-such"), "unknown encoder 'no-such'"),
        ((picture, "--classifier", "vit", "--labels", "a", "b"), "classifier 'vit' has no option 'labels'"),
        ((picture, "--classifier", "vit", "--encoder-option", "a=b"), "has no encoder"),
    ):
        error = typed(*args, code=1).exception
        assert isinstance(error, rv.RagvlmError)
        assert says in str(error), args
    assert "no common space" in refuse("classify", picture, "--labels", *WORDS, "--encoder", "embedded")


def test_the_default_encoder_says_how_it_can_be_had(pictures: list[Path], tmp_path: Path) -> None:
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = run("classify", pictures[0], "--labels", "a", "b", env=env, code=2)
    assert "BiomedCLIP" in done.stderr or "ragvlm[openclip]" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_picture_among_the_labels_is_missed(pictures: list[Path]) -> None:
    for before in ((), pictures[:1]):
        error = typed(*before, "--labels", "a", "b", pictures[1], code=1).exception
        assert "stands among the labels: give pictures before --labels" in str(error)
    assert "Missing argument 'IMAGE...'" in typed("--labels", "a", "b.png", code=2).output


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("i --labels a b --top 2", "i --labels a --labels b --top 2"),
        ("--labels a --json i", "--labels a --json i"),
        ("i --labels a --labels b c", "i --labels a --labels b --labels c"),
        ("i --labels=a b", "i --labels=a b"),
        ("i --labels --json", "i --labels --json"),
        ("i --labels", "i --labels"),
        ("i --labels a - b", "i --labels a --labels - --labels b"),
        ("i --template x --labels a", "i --template x --labels a"),
        ("", ""),
    ],
)
def test_every_word_gets_its_own_option(typed: str, read: str) -> None:
    assert spread(typed.split(), "--labels") == read.split()


def test_a_terminal_shows_the_same_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    found = rv.Classification("a[b].png", ("x[/b]", "\x1b[31my", "z"), (0.0125, 0.9875, 0.0), "softmax", "mine")
    terminal.show_classification(found, 2)
    terminal.show_rule(found)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert plain.splitlines() == [
        "a[b].png",
        "  98.75%  \ufffd[31my",
        "   1.25%  x[/b]",
        "     ...  and 1 more",
        "softmax: shares of the 3 labels, which add up to 100%; mine; not calibrated",
    ]


@pytest.fixture(scope="module")
def assays(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("assays") / "index"
    run("index", shared_data / "cell-assays", "--out", out)
    return out


def test_the_labels_of_an_index(assays: Path, shared_data: Path, tmp_path: Path) -> None:
    picture = shared_data / "cell-assays" / "images" / "Colocalization_0_1_N_G.png"
    done = run("classify", picture, "--index", assays, "--labels", "assay", "--subject-id", "Colocalization_0_1_N")
    assert "Colocalization" in done.stdout.splitlines()[1]
    assert "knn with embedded; calibrated (temperature" in done.stdout.splitlines()[-1]
    assert "Colocalization_0_1_N_R" not in done.stdout
    row = lines(
        run("classify", picture, "-i", assays, "--method", "probe", "--alpha", 0.3, "--labels", "assay", "--json")
    )[0]
    assert row["classifier"] == "probe"
    assert row["calibrated"]
    assert row["alpha"] == 0.3
    assert row["probabilities"][0]["label"] == "Colocalization"
    assert "no record bears 'stain'" in refuse(
        "classify", picture, "-i", assays, "--method", "knn", "--labels", "stain"
    )


def test_a_folder_becomes_a_table_that_goes_on(assays: Path, shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("Colocalization_0_1_N_G.png", "CometAssay_CometTails.tif"):
        (folder / name).write_bytes((shared_data / "cell-assays" / "images" / name).read_bytes())
    (folder / "broken.png").write_bytes(b"no picture")
    args = ("classify", folder, "--index", assays, "--out", tmp_path / "out.csv", "--labels", "assay")
    done = run(*args, code=2)
    assert "skipped " in done.stderr
    assert "broken.png" in done.stderr
    text = (tmp_path / "out.csv").read_text().splitlines()
    assert len(text) == 3
    assert text[0].startswith("image,label,probability,prediction_set,calibrated,classifier,settings,")
    run(*args, code=2)
    assert (tmp_path / "out.csv").read_text().splitlines() == text
    one = ("classify", folder / "Colocalization_0_1_N_G.png", *args[2:])
    assert "another classifier" in refuse(*one, "--method", "probe")
