"""``ragvlm tune head``: it learns, goes on, and its folder is an encoder; on plain colours and tiny checkpoints."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import BUILDERS
from PIL import Image
from safetensors.numpy import load_file
from tiny import COLOURS, make_corpus, of

import ragvlm as rv
from ragvlm.errors import InputError, RagvlmError
from ragvlm.tuning.head import DEFAULTS, HeadSettings, tune_head
from ragvlm.tuning.head_measure import Pair, figures, gains
from ragvlm.tuning.settings import TrainSettings

QUICK = TrainSettings(**{**DEFAULTS, "epochs": 12, "batch_size": 16, "lr": 1e-3, "device": "cpu", "eval_steps": 4})
SQUARE = Image.new("RGB", (12, 12), COLOURS["red"])


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    root = tmp_path_factory.mktemp("colours")
    return rv.Index.build(make_corpus(root, 40), root / "index", encoder="embedded", calibrate=False)


@pytest.fixture(scope="module")
def tuned(index, tmp_path_factory):
    return tune_head(index, tmp_path_factory.mktemp("head") / "mine", settings=QUICK)


def test_it_learns_and_the_folder_is_an_encoder(index, tuned, tmp_path):
    losses = [row["eval_loss"] for row in tuned.card["training"]["history"] if "eval_loss" in row]
    assert losses[-1] < losses[0]
    assert tuned.metrics["test"]["image to text mAP"] > 0
    assert {"test, before", "test, gain"} <= set(tuned.metrics)
    assert "bound to the captions of this corpus" in (tuned.folder / "README.md").read_text()
    encoder = rv.load_encoder(str(tuned.folder))
    assert encoder.shared_space
    assert encoder.image_dim == encoder.text_dim == 384
    assert encoder.encode_images([SQUARE]).shape == (1, 384)
    again = rv.Index.build(make_corpus(tmp_path, 8), tmp_path / "index", encoder=str(tuned.folder))
    assert rv.Index.open(again.path).search("a red square number 0", mode="image")[0].record.labels["colour"] == "red"
    found = rv.classify(SQUARE, ["a red square", "a blue square"], encoder=str(tuned.folder))
    assert found.rule == "softmax"


def test_the_fingerprint_is_the_weights_and_the_base(index, tuned, tmp_path):
    encoder = rv.load_encoder(f"head:{tuned.folder}")
    assert encoder.fingerprint == rv.load_encoder(str(tuned.folder)).fingerprint
    assert encoder.fingerprint != encoder.base.fingerprint
    other = tune_head(index, tmp_path / "other", settings=replace(QUICK, seed=1))
    assert rv.load_encoder(str(other.folder)).fingerprint != encoder.fingerprint
    facts = json.loads((other.folder / "head.json").read_text())
    (other.folder / "head.json").write_text(json.dumps(facts | {"base_fingerprint": "0" * 64}))
    with pytest.raises(RagvlmError, match="which is another one now"):
        rv.load_encoder(str(other.folder))
    (other.folder / "head.json").unlink()
    with pytest.raises(InputError, match="holds no head"):
        rv.load_encoder(f"head:{other.folder}")


def test_numpy_and_torch_agree(index, tuned):
    from ragvlm.encoders.head import mapped
    from ragvlm.tuning.head_net import HeadNet, Tower

    rng = np.random.default_rng(0)
    for first in (None, rng.normal(size=(12, 12)).astype(np.float32)):
        net = HeadNet(Tower(12, 12, 5, first), Tower(12, 12, 0, None), "sigmoid", 0.0)
        net.image.up.weight.data.normal_()
        vectors = rng.normal(size=(4, 12)).astype(np.float32)
        import torch

        theirs = net.image(torch.from_numpy(vectors)).detach().numpy()
        assert np.allclose(mapped(vectors, net.numbers(), "image"), theirs, atol=1e-5)


def test_what_was_interrupted_goes_on_to_the_same_weights(index, tuned, tmp_path):
    @contextmanager
    def broken(title):
        def update(done, total, note=""):
            if done == 10:
                raise KeyboardInterrupt

        yield update

    with pytest.raises(KeyboardInterrupt):
        tune_head(index, tmp_path / "cut", settings=QUICK, progress=broken)
    assert not (tmp_path / "cut").exists()
    found = tune_head(index, tmp_path / "cut", settings=QUICK)
    assert found.card["training"]["resumed"] == 8
    ours, theirs = load_file(found.folder / "head.safetensors"), load_file(tuned.folder / "head.safetensors")
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    assert tune_head(index, tmp_path / "cut", settings=QUICK).card == found.card
    with pytest.raises(InputError, match="choose another --out"):
        tune_head(index, tmp_path / "cut", settings=replace(QUICK, lr=1e-4))


@pytest.mark.parametrize("loss", ["infonce", "sigmoid"])
def test_an_adapter_shifts_both_towers_of_a_shared_space(loss, tmp_path):
    clip = BUILDERS["clip"](tmp_path / "clip")
    index = rv.Index.build(
        make_corpus(tmp_path, 24), tmp_path / "index", encoder=f"transformers:{clip}", calibrate=False
    )
    settings = replace(QUICK, epochs=4, lr=1e-2)
    tuned = tune_head(index, tmp_path / "head", head=HeadSettings(loss=loss), settings=settings)
    encoder = rv.load_encoder(str(tuned.folder))
    assert encoder.facts.form == "adapter"
    assert (encoder.facts.bias is not None) == (loss == "sigmoid")
    assert encoder.probability_rule == ("sigmoid" if loss == "sigmoid" else "softmax")
    for mine, base in (
        (encoder.encode_images([SQUARE]), encoder.base.encode_images([SQUARE])),
        (encoder.encode_texts(["red"]), encoder.base.encode_texts(["red"])),
    ):
        assert mine.shape == base.shape
        assert not np.allclose(mine, base, atol=1e-6)


def test_figures_are_counted_by_hand():
    eye = np.eye(4, dtype=np.float32)
    pair = Pair(eye, eye[[0, 2, 1, 3]], np.arange(4), tuple("abcd"), tuple("abcd"))
    found = figures(pair).values
    assert found["image to text R@1"].tolist() == [1, 0, 0, 1]
    assert found["image to text mAP"][0] == 1
    # the right one has no better score than two others, and is counted behind them
    assert found["image to text mAP"][1] == pytest.approx(1 / 4)
    same = figures(replace(pair, captions=np.array([0, 1, 1, 2]))).values
    assert same["image to text R@1"].tolist() == [1, 1, 1, 1]
    assert gains(figures(pair), figures(pair))["image to text mAP"] == 0
    through = figures(pair, replace(pair, texts=eye[[0, 2, 1, 3]])).values
    assert through["image to text R@1"].tolist() == [1, 1, 1, 1]


def test_what_cannot_be_learnt_is_one_line(tmp_path):
    records = make_corpus(tmp_path, 8).records
    cases = (
        ("one", [replace(r, caption="a square") for r in records], "all captions are equal"),
        ("none", [replace(r, caption=None) for r in records], "no record has a picture and a caption"),
        ("few", [replace(r, subject_id=f"s{i % 2}") for i, r in enumerate(records)], "2 subjects can't be split"),
    )
    for name, given, says in cases:
        index = rv.Index.build(of(tmp_path, given), tmp_path / name, encoder="embedded", calibrate=False)
        with pytest.raises(InputError) as caught:
            tune_head(index, tmp_path / "out", settings=QUICK)
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)
    for wrong in ({"loss": "hinge"}, {"negatives": -1}, {"dropout": 1.0}):
        with pytest.raises(InputError):
            HeadSettings(**wrong)
    assert not Path(tmp_path / "out").exists()
