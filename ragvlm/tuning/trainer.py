"""transformers' Trainer, with checkpoints that hold no pickle, and the measures of one's own beside the loss.

Imported inside functions alone: it loads torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback

from ragvlm.errors import RagvlmError
from ragvlm.tuning import checkpoints

Score = Callable[[Any], Mapping[str, float]]


class SafeTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose checkpoints are those of ``checkpoints``.

    ``score`` takes the model, in evaluation mode and without gradients, after each pass over the validation part, and
    gives further measures of it.
    """

    def __init__(self, *args: Any, score: Score | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.score = score
        self.place = Path(self.args.output_dir)

    def evaluation_loop(self, *args: Any, **options: Any) -> Any:
        import torch

        output = super().evaluation_loop(*args, **options)
        if self.score is not None:
            self.model.eval()
            with torch.no_grad():
                found = self.score(self.model)
            output.metrics.update({f"eval_{name}": float(value) for name, value in found.items()})
        return output

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        state, step = self.state, self.state.global_step
        if best := state.best_global_step:
            state.best_model_checkpoint = str(checkpoints.at(self.place, best))
        for item in (*self.callback_handler.callbacks, self.control):
            if hasattr(item, "state"):  # early stopping counts
                state.stateful_callbacks[type(item).__name__] = item.state()
        scaler = getattr(self.accelerator, "scaler", None)
        checkpoints.write(self.place, step, self.model, self.optimizer, self.lr_scheduler, scaler, state)
        checkpoints.rotate(self.place, {step, *([best] if best else [])})

    def _load_from_checkpoint(self, resume_from_checkpoint: Any, model: Any = None) -> None:
        checkpoints.load_weights(Path(resume_from_checkpoint), self.model if model is None else model)

    def _load_best_model(self) -> None:
        """``fit`` does that, for a training that was over before it went on, too."""

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        if checkpoint is not None:
            scaler = getattr(self.accelerator, "scaler", None)
            checkpoints.load_optimizer(Path(checkpoint), self.optimizer, self.lr_scheduler, scaler)

    def _load_scaler(self, checkpoint: Any) -> None:
        """It came with the optimiser."""

    def _load_rng_state(self, checkpoint: Any) -> None:
        if checkpoint is not None:
            checkpoints.load_rng(Path(checkpoint))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        raise RagvlmError("the Trainer's own way of saving writes pickle")


class Watch(TrainerCallback):  # type: ignore[misc]
    """Shows where the training is, tells the items the epoch, ends it where the loss is no number, and has a checkpoint
    written now and then.
    """

    def __init__(self, items: Any, update: Callable[..., None], minutes: float) -> None:
        self.items, self.update, self.pause = items, update, minutes * 60
        self.note, self.last = "", time.monotonic()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        # accelerate doesn't where it goes on in the middle of an epoch
        if hasattr(self.items, "set_epoch"):
            self.items.set_epoch(int(state.epoch or 0))

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.update(state.global_step, state.max_steps, self.note)
        if time.monotonic() - self.last > self.pause:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.last = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **rest: Any) -> None:
        for name in ("loss", "eval_loss"):
            value = (logs or {}).get(name)
            if value is not None and not math.isfinite(value):
                raise RagvlmError(f"the loss is {value} at step {state.global_step}: give a lower learning rate (lr)")
        if logs and "loss" in logs:
            self.note = f"loss {logs['loss']:.3f}"
