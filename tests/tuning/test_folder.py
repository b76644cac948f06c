"""A training's folder: the result appears whole, once, and says what it is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import tinytraining as tiny
from filelock import FileLock

from ragvlm.errors import InputError, StoreError
from ragvlm.tuning.card import Card
from ragvlm.tuning.folder import Tuned, training

IDENTITY = {"kind": "sum", "lr": 0.02, "corpus": "abc"}
DATA = {
    "name": "sums<b>", "fingerprint": "abc", "records": 38, "licences": ["CC0-1.0"], "sources": [],
    "split": {"train": {"records": 30, "subjects": 30}, "validation": {"records": 8, "subjects": 8}},
}  # fmt: skip
CARD = Card(
    kind="head", plug_in="embedded", title="A sum of three numbers", base={"name": "org/base", "licence": "MIT"},
    data=DATA,
    metrics={"test": {"R@1": 0.123456, "n": 1234}}, settings={"lr": 0.02, "rank": None},
    use="ragvlm describe x --generator {folder}", limits=["Sums alone."], command="ragvlm tune sum",
)  # fmt: skip


def write(folder):
    (folder / "model.safetensors").write_bytes(b"weights")


def learn(out, identity=IDENTITY, maker=write):
    with training(out, identity) as work:
        if work.tuned:
            return work.tuned
        return work.finish(maker, CARD, tiny.train(work.checkpoints, replace(tiny.SETTINGS, epochs=1))[1])


def test_the_result_holds_weights_card_and_report_and_nothing_else_stays(tmp_path):
    tuned = learn(tmp_path / "out")
    assert {p.name for p in tuned.folder.iterdir()} == {"model.safetensors", "card.json", "README.md", "report.html"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    card = json.loads((tuned.folder / "card.json").read_text())
    assert card == tuned.card == Tuned.open(tuned.folder).card
    assert card["metrics"]["test"]["R@1"] == 0.123456
    assert card["training"]["steps"] == 4
    assert "history" not in tuned.to_dict()["training"]


def test_card_and_report_say_data_licence_figures_limits_and_command(tmp_path):
    folder = learn(tmp_path / "out").folder
    card, page = (folder / "README.md").read_text(), (folder / "report.html").read_text()
    for said in ("CC0-1.0", "0.1235", "1,234", "Sums alone.", "ragvlm tune sum", "--generator out", "30 records of 30"):
        assert said in card
        assert said in page
    assert 'base_model: "org/base"' in card
    assert "org/base, MIT" in card
    assert "rank" not in card
    assert "sums&lt;b&gt;" in page
    assert page.count("data:image/svg+xml") == 1
    assert 'alt="training from ' in page
    assert "<script" not in page


def test_the_same_command_again_gives_what_is_there_and_another_is_refused(tmp_path):
    first = learn(tmp_path / "out")
    assert learn(tmp_path / "out", maker=None) == first
    with pytest.raises(InputError, match=r"holds a training with lr 0.02, not 0.1: choose another --out"):
        learn(tmp_path / "out", IDENTITY | {"lr": 0.1})


def test_an_interrupted_training_is_kept_and_only_its_own_command_goes_on(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt), training(out, IDENTITY) as work:
        tiny.train(work.checkpoints, replace(tiny.SETTINGS, epochs=1))
        raise KeyboardInterrupt
    assert not out.exists()
    with pytest.raises(InputError, match=r"an unfinished training with corpus \"abc\", not \"b\""):
        learn(out, IDENTITY | {"corpus": "b"})
    assert learn(out).card["training"]["resumed"] == 4


def test_a_result_that_can_not_be_written_leaves_nothing(tmp_path):
    with pytest.raises(StoreError, match=r"training_args.bin holds pickle"):
        learn(tmp_path / "out", maker=lambda folder: (folder / "training_args.bin").write_bytes(b"x"))
    assert not (tmp_path / "out").exists()


def test_what_is_not_a_training_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    (tmp_path / "empty").mkdir()
    for name, why in (("file", "is a file"), ("full", "holds something else")):
        with pytest.raises(InputError, match=why):
            learn(tmp_path / name)
    with pytest.raises(InputError, match=r"holds no card.json"):
        Tuned.open(tmp_path / "full")
    assert learn(tmp_path / "empty").folder.name == "empty"


def test_two_processes_do_not_train_into_one_folder(tmp_path):
    place = tmp_path / ".out.training"
    place.mkdir()
    with FileLock(place / ".lock"), pytest.raises(StoreError, match="another process is at this training"):
        learn(tmp_path / "out")
