"""What a training needs to go on after a kill, as safetensors and JSON: nothing in it is unpickled.

A checkpoint is a folder ``checkpoint-STEP`` that is made under another name and renamed once it is whole; a list of its
files with their SHA-256 stands in it, so that one that was torn or half removed is known and passed over.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.errors import StoreError
from ragvlm.paths import sha256_file, sync_path

TENSORS, STATE, TRAINER, WHOLE = "tensors.safetensors", "state.json", "trainer_state.json", "whole.json"
_PREFIX = "checkpoint-"


def learnt(net: Any) -> dict[str, Any]:
    """Name -> tensor of all that training changes: parameters with a gradient, and saved buffers (batch norm's)."""
    found = {name: tensor for name, tensor in net.named_parameters() if tensor.requires_grad}
    buffers = dict(net.named_buffers())
    return found | {name: buffers[name] for name in net.state_dict() if name in buffers}


def write(place: Path, step: int, net: Any, optimizer: Any, scheduler: Any, scaler: Any, trainer: Any) -> Path:
    """Write the checkpoint of ``step`` into the folder ``place``; one of the same step is replaced.

    ``trainer`` is transformers' TrainerState. Raises StoreError where the disk is full or can't be written.
    """
    from safetensors.torch import save_file

    target, made = place / f"{_PREFIX}{step}", place / f".{_PREFIX}{step}.tmp"
    kept = optimizer.state_dict()
    moments, scalars = _parted(kept["state"])
    rng, dice = _rng()
    tensors = {f"model/{name}": tensor for name, tensor in learnt(net).items()} | moments | rng
    state = {
        "optimizer": {"groups": kept["param_groups"], "scalars": scalars},
        "scheduler": scheduler.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else None,
        "dice": dice,
    }
    try:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, made / TENSORS)
        (made / STATE).write_text(json.dumps(state), encoding="utf-8")
        trainer.save_to_json(str(made / TRAINER))
        sums = {name: sha256_file(made / name) for name in (TENSORS, STATE, TRAINER)}
        (made / WHOLE).write_text(json.dumps(sums), encoding="utf-8")
        for name in (*sums, WHOLE):
            sync_path(made / name)
        if target.exists():
            old = place / f".{_PREFIX}{step}.old"
            shutil.rmtree(old, ignore_errors=True)
            target.rename(old)
        made.rename(target)
        sync_path(place)
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror or error}; make room and run the same command again") from error
    shutil.rmtree(place / f".{_PREFIX}{step}.old", ignore_errors=True)
    return target


def is_whole(folder: Path) -> bool:
    """Whether all files of a checkpoint are there as they were written."""
    try:
        sums = json.loads((folder / WHOLE).read_text(encoding="utf-8"))
        return set(sums) == {TENSORS, STATE, TRAINER} and all(sha256_file(folder / n) == s for n, s in sums.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def newest(place: Path) -> Path | None:
    """The newest whole checkpoint in ``place`` whose best one is whole too; what isn't whole is removed."""
    steps = {_step(path): path for path in place.glob(f"{_PREFIX}*")}
    for path in place.glob(f".{_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in [path for path in steps.values() if not is_whole(path)]:
        shutil.rmtree(path, ignore_errors=True)
    whole = {step: path for step, path in steps.items() if path.is_dir()}
    for step in sorted(whole, reverse=True):
        best = json.loads((whole[step] / TRAINER).read_text(encoding="utf-8")).get("best_global_step")
        if best is None or best in whole:
            return whole[step]
    return None


def rotate(place: Path, keep: set[int]) -> None:
    """Remove all checkpoints but those of the steps ``keep``."""
    for path in place.glob(f"{_PREFIX}*"):
        if _step(path) not in keep:
            shutil.rmtree(path, ignore_errors=True)


def at(place: Path, step: int) -> Path:
    """Where the checkpoint of ``step`` lies."""
    return place / f"{_PREFIX}{step}"


def load_weights(folder: Path, net: Any) -> None:
    """Put the weights of a checkpoint into ``net``. Raises StoreError where they are of another model."""
    import torch

    saved = _tensors(folder, "model/")
    own = learnt(net)
    if saved.keys() != own.keys() or any(saved[name].shape != own[name].shape for name in own):
        raise StoreError(f"{folder}: is of another model: remove {folder.parent}, or choose another --out")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(saved[name])


def load_optimizer(folder: Path, optimizer: Any, scheduler: Any, scaler: Any) -> None:
    """Bring optimiser, schedule and scaler of the gradients to where the checkpoint left them."""
    state = _state(folder)
    moments: dict[int, dict[str, Any]] = {int(i): dict(values) for i, values in state["optimizer"]["scalars"].items()}
    for name, tensor in _tensors(folder, "optimizer/").items():
        index, _, key = name.partition("/")
        moments.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": state["optimizer"]["groups"]})
    scheduler.load_state_dict(state["scheduler"])
    if scaler is not None and state["scaler"] is not None:
        scaler.load_state_dict(state["scaler"])


def load_rng(folder: Path) -> None:
    """Set all generators of random numbers as the checkpoint found them."""
    import torch

    dice, tensors = _state(folder)["dice"], _tensors(folder, "rng/")
    version, words, gauss = dice["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *rest = dice["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(tensors["cpu"])
    if torch.cuda.is_available() and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"])


def _rng() -> tuple[dict[str, Any], dict[str, Any]]:
    import torch

    kind, keys, *rest = np.random.get_state()
    dice = {"python": random.getstate(), "numpy": [kind, np.asarray(keys).tolist(), *rest]}
    tensors = {"rng/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    return tensors, dice


def _parted(moments: Mapping[int, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """The optimiser's state: its tensors by name, and its plain numbers."""
    import torch

    tensors: dict[str, Any] = {}
    scalars: dict[int, dict[str, Any]] = {}
    for index, values in moments.items():
        scalars[index] = {key: value for key, value in values.items() if not torch.is_tensor(value)}
        tensors |= {f"optimizer/{index}/{key}": value for key, value in values.items() if torch.is_tensor(value)}
    return tensors, scalars


def _tensors(folder: Path, prefix: str) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(folder / TENSORS, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - it is no dictionary
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}


def _state(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / STATE).read_text(encoding="utf-8")))


def _step(path: Path) -> int:
    number = path.name.removeprefix(_PREFIX)
    return int(number) if number.isdecimal() else -1
