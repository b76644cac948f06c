"""The base of all trainings: it learns, stops early, and goes on after a kill to the same weights."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import tinytraining as tiny
import torch

from ragvlm.errors import InputError, RagvlmError, StoreError
from ragvlm.tuning import checkpoints
from ragvlm.tuning.settings import TrainSettings, choose_hardware


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return tiny.train(tmp_path_factory.mktemp("unbroken"))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_it_learns_and_says_how(unbroken):
    net, result = unbroken
    losses = [row["eval_loss"] for row in result.history if "eval_loss" in row]
    assert len(losses) == 4
    assert result.steps == 4 * 4 == tiny.SETTINGS.steps(30)
    assert min(losses) == result.best < losses[0] * 0.8
    assert result.trained == 16 + 9
    assert result.parameters == result.trained + 32
    assert (result.device, result.precision, result.resumed) == ("cpu", "float32", 0)
    assert not net.training
    assert len({row["loss"] for row in result.history if "loss" in row}) == 16


def test_the_same_seed_gives_the_same_weights_and_another_others(unbroken, tmp_path):
    assert same(unbroken[0], tiny.train(tmp_path / "a")[0])
    assert not same(unbroken[0], tiny.train(tmp_path / "b", replace(tiny.SETTINGS, seed=1))[0])


@pytest.mark.parametrize(("step", "when"), [(8, "before"), (8, "middle"), (12, "after"), (16, "after")])
def test_a_killed_training_goes_on_to_the_same_weights(step, when, unbroken, tmp_path):
    assert tiny.killed(tmp_path, step, when) == -9
    net, result = tiny.train(tmp_path)
    assert result.resumed == (step if when == "after" else step - 4)
    assert same(net, unbroken[0])
    assert result.best == unbroken[1].best
    assert [r for r in result.history if "eval_loss" in r] == [r for r in unbroken[1].history if "eval_loss" in r]


def test_one_goes_on_from_the_middle_of_an_epoch(tmp_path):
    settings = replace(tiny.SETTINGS, eval_steps=3)
    whole = tiny.train(tmp_path / "whole", settings)[0]

    @contextmanager
    def broken(title):
        def update(done, total, note):
            if done == 11:
                raise KeyboardInterrupt

        yield update

    with pytest.raises(KeyboardInterrupt):
        tiny.train(tmp_path / "cut", settings, progress=broken)
    net, result = tiny.train(tmp_path / "cut", settings)
    assert result.resumed == 9
    assert same(net, whole)


def test_a_torn_checkpoint_is_passed_over(unbroken, tmp_path):
    tiny.train(tmp_path)
    last = checkpoints.at(tmp_path, 16)
    data = (last / checkpoints.TENSORS).read_bytes()
    (last / checkpoints.TENSORS).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert not checkpoints.is_whole(last)
    assert checkpoints.newest(tmp_path) is None or checkpoints.newest(tmp_path) != last
    assert not last.exists()
    assert same(tiny.train(tmp_path)[0], unbroken[0])


def test_checkpoints_hold_no_pickle_and_no_more_than_two_are_kept(tmp_path):
    tiny.train(tmp_path)
    assert len(list(tmp_path.iterdir())) <= 2
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"tensors.safetensors", "state.json", "trainer_state.json", "whole.json"}
    assert not any("base" in name for name in checkpoints.learnt(tiny.Net()))  # frozen weights come with the base


def test_it_stops_early_and_keeps_the_best_weights(tmp_path):
    settings = replace(tiny.SETTINGS, epochs=30, patience=2, lr=0.3)
    net, result = tiny.train(tmp_path, settings)
    assert result.stopped_early
    assert result.steps == result.best_step + 2 * 4 < 30 * 4
    with torch.no_grad():
        loss = net(**tiny.collate([tiny.Sums(8, 1)[i] for i in range(8)]))["loss"].item()
    assert loss == pytest.approx(result.best, rel=1e-5)
    again, over = tiny.train(tmp_path, settings)
    assert over.stopped_early
    assert over.steps == result.steps
    assert same(again, net)


def test_a_score_of_ones_own_chooses_the_weights(tmp_path):
    seen = []

    def score(net):
        assert not net.training
        assert not torch.is_grad_enabled()
        seen.append(len(seen))
        return {"liking": [0.1, 0.9, 0.5, 0.2][len(seen) - 1]}

    _, result = tiny.train(tmp_path, score=score, metric="liking", higher=True)
    assert (result.best, result.best_step) == (0.9, 8)


def test_gradients_are_summed_over_batches(tmp_path):
    """Eight at a time, and two times four, are one step of the same size, but for batch norm and dropout."""
    net, again = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
    again.load_state_dict(net.state_dict())

    class Plain(torch.nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x, labels):
            return {"loss": ((self.layer(x)[:, 0] - labels) ** 2).mean()}

    data = {"collate": tiny.collate}
    options = [
        (net, replace(tiny.SETTINGS, batch_size=8, accumulate=1)),
        (again, replace(tiny.SETTINGS, batch_size=4, accumulate=2)),
    ]
    for i, (layer, settings) in enumerate(options):
        tiny.fit(
            Plain(layer), tiny.Sums(32, 0), tiny.Sums(8, 1), place=tmp_path / str(i), settings=settings, **data
        )  # fmt: skip
    assert torch.allclose(net.weight, again.weight, atol=1e-6)


def test_the_bar_shows_the_loss(tmp_path):
    shown = []

    @contextmanager
    def progress(title):
        yield lambda *told: shown.append((title, *told))

    tiny.train(tmp_path, progress=progress)
    assert [row[:3] for row in shown] == [("Training", i, 16) for i in range(1, 17)]
    assert shown[-1][3].startswith("loss ")


def test_a_checkpoint_is_written_when_the_time_is_up(tmp_path):
    written = []
    real = checkpoints.write
    checkpoints.write = lambda place, step, *rest: written.append(step) or real(place, step, *rest)
    try:
        tiny.train(tmp_path, replace(tiny.SETTINGS, checkpoint_minutes=1e-9))
    finally:
        checkpoints.write = real
    assert set(written) == set(range(1, 17))


def test_nothing_is_printed(tmp_path, capfd):
    tiny.train(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_loss_that_is_no_number_is_one_clear_error(tmp_path):
    class Bad(tiny.Net):
        def forward(self, x, labels=None):
            return {"loss": super().forward(x, labels)["loss"] * float("nan")}

    with pytest.raises(RagvlmError, match="the loss is nan at step 1: give a lower learning rate"):
        tiny.fit(Bad(), tiny.Sums(8, 0), tiny.Sums(4, 1), place=tmp_path, settings=tiny.SETTINGS, collate=tiny.collate)


def test_what_can_not_be_trained_is_refused(tmp_path):
    options = {"place": tmp_path, "settings": tiny.SETTINGS, "collate": tiny.collate}
    with pytest.raises(InputError, match="items to learn from"):
        tiny.fit(tiny.Net(), tiny.Sums(0, 0), tiny.Sums(4, 1), **options)
    with pytest.raises(InputError, match="no weight of the model"):
        tiny.fit(tiny.Net().requires_grad_(False), tiny.Sums(8, 0), tiny.Sums(4, 1), **options)


def test_weights_of_another_model_are_refused(tmp_path):
    tiny.train(tmp_path)
    with pytest.raises(StoreError, match="is of another model"):
        checkpoints.load_weights(checkpoints.at(tmp_path, 16), torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("lr", 0), ("lr", float("nan")), ("schedule", "wavy"), ("warmup", 1), ("precision", "int2"),
     ("batch_size", 0), ("patience", -1), ("seed", -1), ("max_steps", 0)],
)  # fmt: skip
def test_settings_that_can_not_be_are_refused(name, value):
    with pytest.raises(InputError, match=f"{name} is "):
        TrainSettings(**{name: value})


def test_mixed_precision_is_used_where_the_hardware_has_it():
    found = choose_hardware(TrainSettings(precision="float16", device="cpu"))
    assert found.precision == "float32"
    assert found.note == "cpu doesn't train in float16; float32 is used"
    assert choose_hardware(TrainSettings(device="cpu")).note == ""
