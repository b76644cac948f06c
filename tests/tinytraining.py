"""A training that takes a second: a net with dropout and batch norm learns a sum, in a process that may be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import killing
import numpy as np

from ragvlm.encoders.vision_ops import import_torchvision
from ragvlm.tuning import checkpoints
from ragvlm.tuning.fit import FitResult, fit
from ragvlm.tuning.settings import TrainSettings

import_torchvision()
import torch  # noqa: E402

torch.set_num_threads(1)
SETTINGS = TrainSettings(epochs=4, batch_size=4, accumulate=2, lr=0.02, device="cpu", patience=0)


class Sums(torch.utils.data.Dataset[dict[str, Any]]):
    """Rows of three numbers and their sum, with noise that is drawn anew in each epoch."""

    def __init__(self, n: int, seed: int, noise: float = 0.0) -> None:
        self.x = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
        self.noise, self.epoch, self.epochs_told = noise, -1, []

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.epochs_told.append(epoch)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> dict[str, Any]:
        noise = np.random.default_rng((self.epoch + 1, i)).normal(size=3) * self.noise
        return {"x": (self.x[i] + noise).astype(np.float32), "y": self.x[i].sum()}


class Net(torch.nn.Module):
    """A frozen layer below, as a base is below an adapter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.base = torch.nn.Linear(3, 8).requires_grad_(False)
        self.norm = torch.nn.BatchNorm1d(8)
        self.head = torch.nn.Linear(8, 1)

    def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
        drop = torch.nn.functional.dropout(self.norm(self.base(x)), 0.2, self.training)
        y = self.head(drop)[:, 0]
        return {"loss": ((y - labels) ** 2).mean(), "logits": y}


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    x = torch.tensor(np.stack([item["x"] for item in items]))
    return {"x": x, "labels": torch.tensor([float(item["y"]) for item in items])}


def train(place: Path, settings: TrainSettings = SETTINGS, **options: Any) -> tuple[Net, FitResult]:
    net = Net()
    return net, fit(net, Sums(30, 0, 0.1), Sums(8, 1), place=place, settings=settings, collate=collate, **options)


def die_at(step: int, when: str) -> None:
    """Kill this process at the checkpoint of ``step``: as it begins ("before"), in its middle, or when it is whole."""
    write, move = checkpoints.write, Path.rename

    def watched(place: Path, at: int, *rest: Any) -> Path:
        if at == step and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if at == step and when == "middle":
            Path.rename = lambda self, to: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
        done = write(place, at, *rest)
        if at == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    assert move is Path.rename
    checkpoints.write = watched  # type: ignore[assignment]


def killed(place: Path, step: int, when: str) -> int:
    """Train in a process that is killed so; its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tinytraining", "transformers.trainer", *killing.PRELOADED])
    process = context.Process(target=_killed, args=(place, step, when))
    process.start()
    process.join()
    return process.exitcode or 0


def _killed(place: Path, step: int, when: str) -> None:
    die_at(step, when)
    train(place)
