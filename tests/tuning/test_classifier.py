"""``ragvlm tune classifier``: tiny checkpoints of each family and probes learn colours, and classify at once."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import tinyclassifiers
import tinyvilt
from PIL import Image
from safetensors.numpy import load_file
from tiny import COLOURS, make_corpus, of

import ragvlm as rv
from ragvlm.errors import InputError
from ragvlm.tuning.classifier import DEFAULTS, tune_classifier
from ragvlm.tuning.settings import TrainSettings

QUICK = TrainSettings(**{**DEFAULTS, "epochs": 12, "batch_size": 8, "lr": 5e-3, "device": "cpu", "patience": 0})
QUICK = replace(QUICK, eval_steps=12)
PARTS = {"validation": 0.2, "test": 0.2}
SQUARE = Image.new("RGB", (12, 12), COLOURS["red"])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("colours"), 40)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return str(tinyclassifiers.build("vit", tmp_path_factory.mktemp("models") / "vit"))


@pytest.fixture(scope="module")
def tuned(vit, corpus, tmp_path_factory):
    return tune_classifier(vit, corpus, tmp_path_factory.mktemp("out") / "mine", "colour", settings=QUICK, **PARTS)


def losses(tuned):
    return [row["eval_loss"] for row in tuned.card["training"]["history"] if "eval_loss" in row]


def test_a_checkpoint_gets_a_new_head_and_classifies_at_once(tuned):
    assert losses(tuned)[-1] < losses(tuned)[0]
    found = rv.classify(SQUARE, classifier=str(tuned.folder))
    assert found.labels == tuple(sorted(COLOURS))
    assert found.calibrated
    sets = rv.classify(SQUARE, classifier=str(tuned.folder), alpha=0.2)
    assert sets.prediction_set is not None
    assert tuned.metrics["test"]["items"] == 8
    assert 0 <= tuned.metrics["test"]["accuracy"] <= 1
    assert tuned.metrics["validation"]["log loss, calibrated"] <= tuned.metrics["validation"]["log loss"]


def test_what_was_interrupted_goes_on_to_the_same_weights(vit, corpus, tuned, tmp_path):
    @contextmanager
    def broken(title):
        def update(done, total, note=""):
            if done == 14:
                raise KeyboardInterrupt

        yield update

    out = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        tune_classifier(vit, corpus, out, "colour", settings=QUICK, progress=broken, **PARTS)
    again = tune_classifier(vit, corpus, out, "colour", settings=QUICK, **PARTS)
    assert again.card["training"]["resumed"] == 12
    ours, theirs = (load_file(one.folder / "model.safetensors") for one in (again, tuned))
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_a_head_alone_leaves_the_rest(corpus, tmp_path):
    resnet = tinyclassifiers.build("resnet", tmp_path / "resnet")
    quick = replace(QUICK, max_steps=4, eval_steps=2)
    tuned = tune_classifier(str(resnet), corpus, tmp_path / "out", "colour", train="head", settings=quick, **PARTS)
    before, after = load_file(resnet / "model.safetensors"), load_file(tuned.folder / "model.safetensors")
    changed = {
        name for name in before if before[name].shape != after[name].shape or (before[name] != after[name]).any()
    }
    assert {name for name in changed if "running" not in name and "num_batches" not in name} == {
        "classifier.1.weight",
        "classifier.1.bias",
    }


@pytest.mark.parametrize("way", ["linear", "knn"])
def test_an_encoder_is_probed(way, corpus, tmp_path):
    tuned = tune_classifier("embedded", corpus, tmp_path / "out", "colour", train=way, k=3, **PARTS)
    assert tuned.metrics["test"]["accuracy"] == 1.0
    found = rv.classify(SQUARE, classifier=str(tuned.folder), alpha=0.2)
    assert found.top[0] == "red"
    assert found.calibrated
    assert tune_classifier("embedded", corpus, tmp_path / "out", "colour", train=way, k=3, **PARTS).card == tuned.card


def test_vilt_learns_answers_and_unseen_ones_are_wrong(tmp_path):
    records = [
        replace(r, extra={"questions": [{"question": "what is red", "answer": f"{r.labels['colour']}."}]})
        for r in make_corpus(tmp_path, 24)
    ]
    asked = of(tmp_path, [replace(r, extra={**r.extra}) for r in records])
    model = tinyvilt.build(tmp_path / "vilt")
    tuned = tune_classifier(
        str(model), asked, tmp_path / "out", settings=replace(QUICK, epochs=4, eval_steps=4), **PARTS
    )
    assert losses(tuned)[-1] < losses(tuned)[0]
    generator = rv.load_generator(str(tuned.folder))
    assert set(generator._net.config.id2label.values()) == set(COLOURS)
    strange = [replace(r, extra={"questions": [{"question": "what", "answer": r.id}]}) for r in records]
    with pytest.raises(InputError, match="no label of the validation part"):
        tune_classifier(str(model), of(tmp_path, strange), tmp_path / "other", settings=QUICK, **PARTS)


def test_labels_that_were_never_seen_count_as_wrong(corpus, tmp_path):
    split = tune_classifier("embedded", corpus, tmp_path / "all", "colour", **PARTS).card["data"]["split"]
    assert split["test"]["records"] == 8
    from ragvlm.tuning.split import labelled, split_by_subject

    parts = split_by_subject(labelled(corpus, "colour"), name="x", validation=0.2, test=0.2)
    new = {record.id for record in parts.test[:3]}
    records = [replace(r, labels={"colour": "violet" if r.id in new else r.labels["colour"]}) for r in corpus]
    tuned = tune_classifier("embedded", of(corpus.root, records), tmp_path / "out", "colour", **PARTS)
    assert tuned.metrics["test"]["unseen labels"] == 3
    assert tuned.metrics["test"]["accuracy"] == pytest.approx(5 / 8)


def test_what_cannot_be_is_one_line(vit, corpus, tmp_path):
    few = of(corpus.root, corpus.records[:4])
    for model, given, labels, more, says in (
        (vit, corpus, "modality", {}, "'modality' is 'paint' in all records"),
        (vit, corpus, "stain", {}, "no record has a picture and a value of 'stain'"),
        (vit, few, "colour", {}, "2 subjects can't be split into 3 parts"),
        (vit, corpus, None, {}, "labels: name the column to learn"),
        ("vilt", corpus, "colour", {}, "ViLT learns answers"),
        (vit, corpus, "colour", {"train": "knn"}, "train 'knn': give one of full, head"),
        ("embedded", corpus, "colour", {"train": "head"}, "train 'head': give one of linear, knn"),
        ("no-such", corpus, "colour", {}, "unknown encoder 'no-such'"),
    ):
        with pytest.raises(InputError) as caught:
            tune_classifier(model, given, tmp_path / "out", labels, settings=QUICK, **(more or PARTS))
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
