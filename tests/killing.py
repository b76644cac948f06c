"""Operations on an index in a process of its own, which can be killed at any moment or at any step on the disk.

A fork server that has imported everything, and has no threads, forks a child for each: that costs milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tiny import COLOURS, ColourEncoder, build, make_corpus, of

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError, RagvlmError
from ragvlm.index import Index
from ragvlm.index.upkeep import compact_index
from ragvlm.types import Record

# pyarrow imports pandas where it is installed
PRELOADED = [
    "killing",
    "pandas",
    "pyarrow.compute",
    "pyarrow.parquet",
    "numpy.random",
    "ragvlm.index.writer",
    "filelock",
]
N = 12
DELETED = ("a02", "a09")
SETTINGS: dict[str, Any] = {"segment_rows": 3, "merge_rows": 6, "store": "numpy"}


def corpora(place: Path) -> dict[str, Corpus]:
    """The corpora of the operations: some records, all, and all with changes, of which a07 is gone."""
    if not place.exists():
        make_corpus(place, N)
    names = list(COLOURS)
    records = [Record(f"a{i:02d}", f"p{i:02d}.png", f"a {names[i % 4]} square number {i}") for i in range(N)]
    changed = {"a01": {"caption": "grey"}, "a05": {"image": "p00.png"}, "a10": {"caption": "blue", "licence": "CC0"}}
    updated = [replace(record, **changed.get(record.id, {})) for record in records if record.id != "a07"]
    return {"some": of(place, records[:7]), "all": of(place, records), "updated": of(place, updated)}


def operate(name: str, place: Path, out: Path) -> None:
    """Do one of the operations; again after it was done, it changes nothing."""
    if name == "compact":
        compact_index(out)
    elif name == "delete":
        try:
            Index.open(out).delete(DELETED, calibrate=False)
        except InputError as error:
            if "has no record" not in str(error):
                raise
    else:
        corpus = corpora(place)[{"index": "all", "add": "all", "update": "updated"}[name]]
        build(corpus, out, ColourEncoder(), prune=True, **SETTINGS)


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the disk: its name and the paths it was done to."""

    name: str
    paths: tuple[str, ...]


def watch(seen: Callable[[Step], None]) -> None:
    """Call ``seen`` before each step on the disk that this process does from now on."""
    for owner, name in (
        (Path, "replace"),
        (Path, "unlink"),
        (tempfile, "mkstemp"),
        (os, "fsync"),
    ):
        setattr(owner, name, _watched(name, getattr(owner, name), seen))


def _watched(name: str, real: Callable[..., Any], seen: Callable[[Step], None]) -> Callable[..., Any]:
    def step(*args: Any, **options: Any) -> Any:
        paths = [str(Path(f"/proc/self/fd/{args[0]}").readlink())] if name == "fsync" else [str(arg) for arg in args]
        seen(Step(name, tuple(paths)))
        return real(*args, **options)

    return step


def _child(pipe: Connection, task: Callable[..., None], args: tuple[Any, ...], die_at: int, limit: int | None) -> None:
    if die_at >= 0:
        left = iter(range(die_at))

        def count(step: Step) -> None:
            if step.name != "fsync" and next(left, None) is None:  # a kill loses nothing that was not synced
                os.kill(os.getpid(), signal.SIGKILL)

        watch(count)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    pipe.send("")
    try:
        task(*args)
        pipe.send("")
    except RagvlmError as error:
        pipe.send(str(error))


class Child:
    """A started operation; it has begun when this returns."""

    def __init__(self, task: Callable[..., None], *args: Any, die_at: int = -1, limit: int | None = None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._pipe, other = context.Pipe()
        self.process = context.Process(target=_child, args=(other, task, args, die_at, limit))
        self.process.start()
        other.close()
        try:
            self._pipe.recv()
        except EOFError:
            self.process.join()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def end(self) -> str | None:
        """The error's message, "" without one; None where it was killed."""
        try:
            said: str | None = self._pipe.recv()
        except EOFError:
            said = None
        self.process.join()
        self._pipe.close()
        return said
