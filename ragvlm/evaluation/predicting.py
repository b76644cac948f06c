"""What the systems of a run answer, kept as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

from ragvlm.errors import InputError, RagvlmError
from ragvlm.evaluation import folder as files
from ragvlm.evaluation.bench import PICTURES, Bench, System
from ragvlm.evaluation.controls import with_controls
from ragvlm.evaluation.journal import Journal, line_of
from ragvlm.types import Record

Progress: TypeAlias = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
CHUNK = 4
"""Cases that a system is asked at once, and that a kill can cost."""


def systems_of(bench: Bench, given: Sequence[Any], indexed: Sequence[Record], *, controls: bool) -> list[System]:
    """The systems of the suite's task: those given, the mandatory baselines, and the controls.

    ``indexed`` are the records of the index's side. Raises InputError for two systems of one name.
    """
    task = bench.suite.task
    # each task has its own models, which no other should load
    if task == "describe":
        from ragvlm.evaluation.describing import describe_systems

        found = describe_systems(bench, given)
    elif task == "vqa":
        from ragvlm.evaluation.answering import answer_systems

        found = answer_systems(bench, given, indexed)
    elif task == "classify":
        from ragvlm.evaluation.classifying import classify_systems

        found = classify_systems(bench, given, indexed)
    elif task == "ground":
        from ragvlm.evaluation.grounding import ground_systems

        found = ground_systems(bench, given, indexed)
    else:
        from ragvlm.evaluation.retrieving import retrieve_systems

        found = retrieve_systems(bench, given)
    if controls:
        found = with_controls(found, bench.suite.controls)
    names = [system.name for system in found]
    if doubles := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two systems are called {doubles[0]!r}: give each once")
    return found


def predict(
    bench: Bench,
    systems: Sequence[System],
    out: Path,
    progress: Progress,
    *,
    neighbours: str = files.NEIGHBOURS,
    predictions: str = files.PREDICTIONS,
) -> None:
    """Fill the files ``neighbours`` and ``predictions`` in ``out``, from where they end."""
    _retrieve(bench, systems, out, progress, neighbours)
    chunks = [bench.cases[start : start + CHUNK] for start in range(0, len(bench.cases), CHUNK)]
    jobs = [(system, chunk) for system in systems for chunk in chunks]
    plan = [[(system.name, case.id) for case in chunk] for system, chunk in jobs]
    journal = Journal(out / predictions, ("system", "id"), plan)
    total = len(systems) * len(bench.cases)
    with progress("Predicting") as update:
        update(len(journal.rows), total)
        for system, chunk in jobs[journal.done :]:
            started = time.perf_counter()
            asked = [bench.asked(case, system.given, system.k, look=system.looks) for case in chunk]
            answers = system.predict(asked)
            if len(answers) != len(chunk):
                raise RagvlmError(f"system {system.name!r} gave {len(answers)} answers to {len(chunk)} questions")
            heads = [{"id": case.id, "system": system.name} for case in chunk]
            journal.append([head | answer for head, answer in zip(heads, answers, strict=True)])
            _time(out, system.name, len(chunk), started)
            update(len(journal.rows), total)


def _retrieve(bench: Bench, systems: Sequence[System], out: Path, progress: Progress, name: str) -> None:
    needed = {PICTURES[system.given] for system in systems if system.k}
    pictures = [picture for picture in dict.fromkeys(PICTURES.values()) if picture in needed]
    if not pictures:
        return
    jobs = [(record, picture) for picture in pictures for record in bench.records]
    plan = [[(picture, record.id)] for record, picture in jobs]
    journal = Journal(out / name, ("picture", "id"), plan)
    with progress("Retrieving") as update:
        for record, picture in jobs[journal.done :]:
            started = time.perf_counter()
            journal.append([bench.retrieve(record, picture)])
            _time(out, f"retrieval, {picture} picture", 1, started)
            update(len(journal.rows), len(jobs))
    bench.know(journal.rows)


def _time(out: Path, what: str, items: int, started: float) -> None:
    seconds = round(time.perf_counter() - started, 4)
    with (out / files.TIMINGS).open("a", encoding="utf-8") as stream:
        stream.write(line_of({"what": what, "items": items, "seconds": seconds}))
