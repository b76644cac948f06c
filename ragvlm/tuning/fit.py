"""One training: transformers' Trainer on a model and its items, stopped early, resumed after a kill."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ragvlm.encoders.torch_tools import import_package, memory_errors
from ragvlm.errors import InputError
from ragvlm.generators.quantize import hush
from ragvlm.generators.vlm_load import quiet
from ragvlm.tuning import checkpoints
from ragvlm.tuning.settings import Hardware, TrainSettings, choose_hardware

Progress: TypeAlias = Callable[[str], AbstractContextManager[Callable[..., None]]]
"""A title -> a bar: ``update(done, total, note)``."""
_LOGGED = 100


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a training came to.

    ``best`` is the value of ``metric`` on the validation part at ``best_step``, whose weights the model has now.
    ``history`` holds a mapping for each step that was logged and each evaluation: ``step``, ``epoch`` and ``loss``, or
    ``eval_loss`` and other ``eval_`` measures. ``seconds`` are those of this process; ``resumed`` is the step that it
    went on from, 0 where it began.
    """

    steps: int
    epochs: float
    best_step: int
    metric: str
    best: float
    stopped_early: bool
    seconds: float
    resumed: int
    trained: int
    parameters: int
    device: str
    precision: str
    note: str
    history: tuple[Mapping[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON types."""
        return {**asdict(self), "history": [dict(row) for row in self.history]}


def fit(
    net: Any,
    train: Any,
    validation: Any,
    *,
    place: Path,
    settings: TrainSettings,
    collate: Callable[[list[Any]], Mapping[str, Any]],
    score: Callable[[Any], Mapping[str, float]] | None = None,
    metric: str = "loss",
    higher: bool = False,
    labels: Sequence[str] = ("labels",),
    metrics: Callable[[Any], dict[str, float]] | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Train what of ``net`` has a gradient; afterwards ``net`` has the weights of the best evaluation.

    Args:
        net: a torch module whose output holds ``loss`` when it is given what ``collate`` makes.
        train, validation: items by number, as torch's Dataset; where ``train`` has ``set_epoch``, it is told the epoch
            (0, 1, ...), so that what it draws at random can be the same again after a kill.
        place: folder of the checkpoints; where it holds some of this training, it goes on from the newest whole one,
            to the same weights as without the kill.
        collate: a list of items -> the model's arguments.
        score: further measures of the model on the validation part (see SafeTrainer).
        metric: what chooses the best weights: "loss", or a name that ``score`` or ``metrics`` gives; ``higher``:
            whether more of it is better.
        labels: which of the arguments are the right answers; empty where the model finds its loss without
            (its ``forward`` then takes ``return_loss=True``).
        metrics: measures of transformers' EvalPrediction, where the logits of the whole part fit the memory.
        progress: a bar with steps, loss and time left.

    Random numbers are seeded as the training begins; first weights are the caller's (``transformers.set_seed``).
    Raises InputError where nothing is to be learnt or a part is empty, RagvlmError where the loss is no number or the
    memory runs out, MissingExtraError without ``ragvlm[tune]``.
    """
    hush()
    import_package("accelerate", "tune")
    transformers = import_package("transformers", "tune", "Trainer")
    from ragvlm.tuning.trainer import SafeTrainer, Watch

    if not len(train) or not len(validation):
        raise InputError("a training needs items to learn from and items to validate on")
    trained = sum(weights.numel() for weights in net.parameters() if weights.requires_grad)
    if not trained:
        raise InputError("no weight of the model is to be trained: look at the names of the layers")
    hardware = choose_hardware(settings)
    place.mkdir(parents=True, exist_ok=True)
    since = checkpoints.newest(place)
    began = time.monotonic()
    bar = progress("Training") if progress else nullcontext(lambda *_: None)
    with quiet(), memory_errors("a training step", hardware.device), bar as update:
        watch = Watch(train, update, settings.checkpoint_minutes)
        stop = [transformers.EarlyStoppingCallback(settings.patience)] if settings.patience else []
        trainer = SafeTrainer(
            model=net,
            args=_arguments(transformers, place, settings, hardware, len(train), metric, higher, labels),
            data_collator=collate,
            train_dataset=train,
            eval_dataset=validation,
            compute_metrics=metrics,
            callbacks=[watch, *stop],
            score=score,
        )
        trainer.remove_callback(transformers.PrinterCallback)
        if since is None or not _is_over(since):
            trainer.train(resume_from_checkpoint=str(since) if since else None)
        else:  # killed after its last step
            trainer._move_model_to_device(net, trainer.args.device)
            trainer.state = transformers.TrainerState.load_from_json(str(since / checkpoints.TRAINER))
    state = trainer.state
    if state.best_global_step:
        checkpoints.load_weights(checkpoints.at(place, state.best_global_step), net)
    net.eval()
    return FitResult(
        steps=state.global_step,
        epochs=round(float(state.epoch or 0), 4),
        best_step=state.best_global_step or state.global_step,
        metric=metric,
        best=float(state.best_metric if state.best_metric is not None else "nan"),
        stopped_early=state.global_step < state.max_steps,
        seconds=round(time.monotonic() - began, 1),
        resumed=_step(since) if since else 0,
        trained=trained,
        parameters=sum(weights.numel() for weights in net.parameters()),
        device=str(hardware.device),
        precision=hardware.precision,
        note=hardware.note,
        history=tuple(_plain(row) for row in state.log_history if "loss" in row or "eval_loss" in row),
    )


def _arguments(
    transformers: Any,
    place: Path,
    settings: TrainSettings,
    hardware: Hardware,
    items: int,
    metric: str,
    higher: bool,
    labels: Sequence[str],
) -> Any:
    every: dict[str, Any] = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    if settings.eval_steps is not None:
        n = min(settings.eval_steps, settings.steps(items))
        every = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": n, "save_steps": n}
    made = transformers.TrainingArguments(
        output_dir=str(place),
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps if settings.max_steps is not None else -1,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.lr,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip,
        bf16=hardware.precision == "bfloat16",
        fp16=hardware.precision == "float16",
        use_cpu=hardware.device.type == "cpu",
        seed=settings.seed,
        data_seed=settings.seed,
        logging_steps=max(settings.steps(items) // _LOGGED, 1),
        logging_nan_inf_filter=False,
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        greater_is_better=higher,
        restore_callback_states_from_checkpoint=True,
        remove_unused_columns=False,
        label_names=list(labels),
        dataloader_pin_memory=hardware.device.type == "cuda",
        disable_tqdm=True,
        report_to="none",
        **every,
    )
    made._n_gpu = min(made.n_gpu, 1)  # several would be DataParallel, which counts items otherwise
    return made


def _is_over(checkpoint: Path) -> bool:
    """Whether the training had come to its end: Trainer would take one more step."""
    state = json.loads((checkpoint / checkpoints.TRAINER).read_text(encoding="utf-8"))
    control = state["stateful_callbacks"].get("TrainerControl", {}).get("args", {})
    return bool(control.get("should_training_stop")) or state["global_step"] >= state["max_steps"]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _plain(row: Mapping[str, Any]) -> dict[str, float]:
    speed = ("_runtime", "_per_second")
    found = {name: float(value) for name, value in row.items() if not name.endswith(speed)}
    return {name: value for name, value in found.items() if math.isfinite(value)}  # a norm in float16 may not be
