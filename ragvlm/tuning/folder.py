"""Where a training lies while it runs, and how its result appears: whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ragvlm.errors import InputError, StoreError
from ragvlm.evaluation.folder import first_difference, read_json, write_json, write_text
from ragvlm.paths import sync_path
from ragvlm.tuning.card import Card, render_card
from ragvlm.tuning.fit import FitResult
from ragvlm.tuning.page import render_page

CARD, IDENTITY, CHECKPOINTS, _LOCK = "card.json", "identity.json", "checkpoints", ".lock"
_PICKLED = {".bin", ".pt", ".pth", ".pkl", ".ckpt"}


@dataclass(frozen=True, slots=True)
class Tuned:
    """The result of a training on disk. ``card`` is its card.json."""

    folder: Path
    card: Mapping[str, Any] = field(repr=False)

    @classmethod
    def open(cls, folder: Path | str) -> Tuned:
        """Raises InputError where ``folder`` holds no result of a training."""
        if not (Path(folder) / CARD).is_file():
            raise InputError(f"{folder}: holds no {CARD}: give the folder that `ragvlm tune` wrote")
        return cls(Path(folder), read_json(Path(folder) / CARD))

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Part ("validation", "test", ...) -> measure -> value."""
        return dict(self.card["metrics"])

    def to_dict(self) -> dict[str, Any]:
        """The object that ``--json`` prints: all of the card but the curve."""
        training = {name: value for name, value in self.card["training"].items() if name != "history"}
        return {"folder": str(self.folder), **self.card, "training": training}


@dataclass(frozen=True, slots=True)
class Work:
    """A training that runs. ``place`` is its own hidden folder beside ``out``; features that cost much may be kept
    there. ``tuned`` is the result where the training was over already.
    """

    out: Path
    place: Path
    identity: Mapping[str, Any] = field(repr=False)
    tuned: Tuned | None = None

    @property
    def checkpoints(self) -> Path:
        """For ``fit``."""
        return self.place / CHECKPOINTS

    def finish(self, write: Callable[[Path], None], card: Card, fitted: FitResult) -> Tuned:
        """Let ``write`` put the weights into a folder, add card and report, and rename it to ``out``.

        Raises StoreError where the disk is full, or where ``write`` wrote what would have to be unpickled.
        """
        facts, name = card.to_dict(fitted, self.identity), self.out.name
        pages = {"README.md": render_card(facts, name), "report.html": render_page(facts, name)}
        return self.publish(write, facts, pages)

    def publish(self, write: Callable[[Path], None], facts: Mapping[str, Any], pages: Mapping[str, str]) -> Tuned:
        """As ``finish``, with a card.json and pages made elsewhere."""
        made = self.place / "result"
        shutil.rmtree(made, ignore_errors=True)
        try:
            made.mkdir(parents=True)
            write(made)
            write_json(made / CARD, facts)
            for name, text in pages.items():
                write_text(made / name, text)
            if pickled := [path.name for path in made.rglob("*") if path.suffix in _PICKLED]:
                raise StoreError(f"{pickled[0]} holds pickle: weights are written as safetensors alone")
            for path in made.rglob("*"):
                sync_path(path)
            if self.out.is_dir():
                self.out.rmdir()  # empty: ``training`` looked
            made.rename(self.out)
            sync_path(self.out.parent)
        except OSError as error:
            raise StoreError(f"{self.out}: {error.strerror or error}; run the same command again") from error
        return Tuned(self.out, facts)


@contextmanager
def training(out: Path | str, identity: Mapping[str, Any]) -> Iterator[Work]:
    """Begin or take up the training whose result will be the folder ``out``, and hold it against other processes.

    ``identity`` (JSON types) is what decides the result: model, settings, the corpus's fingerprint. Until the end all
    lies in a hidden folder beside ``out``; it stays where the training is interrupted, and goes once it is finished.
    Raises InputError where ``out`` holds something else, and where there is a training of another identity (the first
    difference is named); StoreError where another process is at it, or where nothing can be written.
    """
    from filelock import FileLock, Timeout

    out = Path(out).absolute()
    wanted = json.loads(json.dumps(identity))
    tuned = _finished(out, wanted)
    place = out.parent / f".{out.name}.training"
    if tuned is not None:
        yield Work(out, place, wanted, tuned)
        return
    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / _LOCK, timeout=0):
            begun = place / IDENTITY
            if begun.is_file() and (other := first_difference(read_json(begun), wanted)):
                raise InputError(f"{place}: an unfinished training {other}: go on with that, or remove this folder")
            write_json(begun, wanted)
            yield Work(out, place, wanted, _finished(out, wanted))
            if (out / CARD).is_file():
                shutil.rmtree(place, ignore_errors=True)
    except Timeout as error:
        raise StoreError(f"{out}: another process is at this training; wait until it ends") from error
    except OSError as error:
        raise StoreError(f"{error.filename or out}: {error.strerror or error}") from error


def _finished(out: Path, wanted: Mapping[str, Any]) -> Tuned | None:
    if not os.path.lexists(out):
        return None
    if not out.is_dir():
        raise InputError(f"{out}: is a file; choose another --out")
    if (out / CARD).is_file():
        tuned = Tuned.open(out)
        if other := first_difference(tuned.card["identity"], wanted):
            raise InputError(f"{out}: holds a training {other}: choose another --out")
        return tuned
    if any(out.iterdir()):
        raise InputError(f"{out}: holds something else; choose another --out")
    return None
