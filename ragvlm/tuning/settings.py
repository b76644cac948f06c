"""How long, how fast and in which numbers to learn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ragvlm.encoders.torch_tools import choose_device
from ragvlm.errors import InputError

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
SCHEDULES = ("cosine", "linear", "constant")


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of a training; the same ones, corpus and seed give the same weights on the same machine.

    Args:
        epochs: passes over the training part, at most.
        max_steps: steps of the optimiser, at most; None sets no bound beside ``epochs``.
        batch_size: items that go through the model at a time.
        accumulate: batches whose gradients are summed for one step: ``batch_size * accumulate`` items a step.
        lr: the highest learning rate (AdamW, Loshchilov and Hutter 2019, arXiv:1711.05101).
        schedule: how it falls: "cosine", "linear" or "constant".
        warmup: share of the steps in which it rises from zero, in [0, 1).
        weight_decay: AdamW's.
        clip: the largest norm of a gradient; 0 doesn't clip.
        eval_steps: steps between evaluations on the validation part; None: once an epoch.
        patience: evaluations without a better one after which the training stops early; 0: never. The weights of the
            best evaluation are kept either way.
        precision: "float32", or mixed with "bfloat16" or "float16" where the hardware has it; "auto" chooses.
        device: "auto" (CUDA, else MPS, else the CPU) or one of torch's devices.
        seed: of the split, the order, dropout and first weights.
        checkpoint_minutes: minutes after which a checkpoint is written between evaluations.

    Raises InputError for a value that can't be.
    """

    epochs: float = 3.0
    max_steps: int | None = None
    batch_size: int = 8
    accumulate: int = 1
    lr: float = 2e-4
    schedule: str = "cosine"
    warmup: float = 0.03
    weight_decay: float = 0.0
    clip: float = 1.0
    eval_steps: int | None = None
    patience: int = 3
    precision: str = "auto"
    device: str = "auto"
    seed: int = 0
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        wrong = (
            ("epochs", self.epochs > 0, "more than 0"),
            ("max_steps", self.max_steps is None or self.max_steps >= 1, "1 or more"),
            ("batch_size", self.batch_size >= 1, "1 or more"),
            ("accumulate", self.accumulate >= 1, "1 or more"),
            ("lr", 0 < self.lr < math.inf, "more than 0"),
            ("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
            ("warmup", 0 <= self.warmup < 1, "a share from 0 to below 1"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more"),
            ("clip", 0 <= self.clip < math.inf, "0 or more"),
            ("eval_steps", self.eval_steps is None or self.eval_steps >= 1, "1 or more"),
            ("patience", self.patience >= 0, "0 or more"),
            ("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            ("seed", 0 <= self.seed < 2**32, "0 to 4294967295"),
            ("checkpoint_minutes", self.checkpoint_minutes > 0, "more than 0"),
        )
        for name, good, what in wrong:
            if not good:
                raise InputError(f"{name} is {getattr(self, name)!r}: give {what}")

    def steps(self, items: int) -> int:
        """Steps of a whole training on ``items`` items."""
        epoch = math.ceil(math.ceil(items / self.batch_size) / self.accumulate)
        return min(math.ceil(self.epochs * epoch), self.max_steps or math.ceil(self.epochs * epoch))

    def identity(self) -> dict[str, Any]:
        """What decides the weights; how often a checkpoint is written doesn't."""
        return {name: value for name, value in asdict(self).items() if name != "checkpoint_minutes"}


def settings_of(given: Mapping[str, Any], **defaults: Any) -> TrainSettings:
    """Settings from options: those of ``given`` that aren't None, over ``defaults``, over those above."""
    return TrainSettings(**{**defaults, **{name: value for name, value in given.items() if value is not None}})


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where a training runs and in which numbers; ``note`` says why not in those that were asked for, else ""."""

    device: Any
    precision: str
    note: str = ""


def choose_hardware(settings: TrainSettings) -> Hardware:
    """bfloat16 needs a CUDA device of capability 8 or a CPU with AVX512-BF16 (which "auto" doesn't choose), float16
    any CUDA device; elsewhere float32.

    Raises InputError for a device that isn't there.
    """
    import torch

    device = choose_device(settings.device)
    has = {"float32"}
    if device.type == "cuda":
        has |= {"float16", "bfloat16"} if torch.cuda.get_device_capability(device) >= (8, 0) else {"float16"}
    if settings.precision in has:
        return Hardware(device, settings.precision)
    if settings.precision == "bfloat16" and device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return Hardware(device, "bfloat16")  # where it is asked for: it rounds more, and is faster for linear layers
    best = next(name for name in ("bfloat16", "float16", "float32") if name in has)
    if settings.precision == "auto":
        return Hardware(device, best)
    return Hardware(device, best, f"{device} doesn't train in {settings.precision}; {best} is used")
