"""Anybody's predictions and references -> figures with intervals, and the folder that ``ragvlm compare`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ragvlm
from ragvlm.errors import InputError, one_line
from ragvlm.evaluation import folder as files
from ragvlm.evaluation.items import Given, read_items
from ragvlm.evaluation.journal import line_of
from ragvlm.evaluation.tables import Draw, tabulate
from ragvlm.measures import Item, Measure, measure, measures
from ragvlm.paths import sha256_file
from ragvlm.statistics import RESAMPLES

WRITTEN = (files.PREDICTIONS, files.REFERENCES, files.SCORES, files.METRICS)


@dataclass(frozen=True, slots=True)
class Scored:
    """``metrics`` is what metrics.json holds; ``undefined`` names the task's measures that are defined for no item,
    and ``remarks`` what a reader must know."""

    metrics: dict[str, Any] = field(repr=False)
    undefined: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One object for each system, measure and group ("" for all items): value, low, high, n, clusters, ..."""
        names = ("value", "low", "high", "n", "clusters", "note")
        return [
            {"system": system, "measure": name, "group": group, "higher_is_better": figure["higher_is_better"]}
            | {key: values.get(key) for key in names}
            for system, of_system in self.metrics["systems"].items()
            for name, figure in of_system.items()
            for group, values in {"": figure, **figure.get("by_group", {})}.items()
        ]


def score(
    predictions: str | Path,
    references: str | Path,
    *,
    task: str | None = None,
    measures: Sequence[str] = (),
    common: bool = False,
    out: str | Path | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """Score the file ``predictions`` against the file ``references``: see ``read_items`` for what these may be.

    ``measures`` are names; default: all of the task that are defined here. ``out`` is a folder for predictions.jsonl,
    references.jsonl (neither for pictures and masks), scores.jsonl and metrics.json, the same bytes for the same files.
    ``progress`` is called with the measures done and all.

    Raises InputError as ``read_items`` does, for an unknown measure, for a seed below 0 and for ``out`` where it holds
    something else; MissingExtraError for a measure whose package is absent.
    """
    if seed < 0:
        raise InputError(f"seed is {seed}: give 0 or more")
    folder = None if out is None else _free(Path(out))
    given = read_items(predictions, references, task, common=common)
    chosen = _chosen(given.task, measures)
    figures, scores = tabulate(given.systems, chosen, (), Draw(seed, resamples), (), progress)
    undefined = () if measures else _drop_undefined(figures["systems"], scores)
    metrics = _head(given, Path(predictions), Path(references)) | {"seed": seed, "resamples": resamples} | figures
    if folder is not None:
        _write(folder, given, scores, metrics)
    return Scored(metrics, undefined, _remarks(given))


def _chosen(task: str, names: Sequence[str]) -> tuple[Measure, ...]:
    return tuple(measure(name, task) for name in dict.fromkeys(names)) or measures(task)


def _drop_undefined(
    systems: Mapping[str, dict[str, Any]], scores: Mapping[str, dict[str, Sequence[float | None]]]
) -> tuple[str, ...]:
    """Take out of all systems the measures that none of them has: files without labels have no score of labels."""
    names = list(dict.fromkeys(name for of_system in systems.values() for name in of_system))
    dropped = tuple(name for name in names if all(of[name]["value"] is None for of in systems.values()))
    for table in (*systems.values(), *scores.values()):
        for name in dropped:
            table.pop(name, None)
    return dropped


def _head(given: Given, predictions: Path, references: Path) -> dict[str, Any]:
    items = next(iter(given.systems.values()))
    of_files = {"predictions": predictions, "references": references}
    return {
        "suite": predictions.stem,
        "title": f"{predictions.name} against {references.name}",
        "task": given.task,
        "ragvlm": ragvlm.__version__,
        "files": {side: {"name": path.name, "sha256": sha256_file(path)} for side, path in of_files.items()},
        "n": len(items),
        "left_out": given.left_out,
        "clusters": len({item.cluster for item in items}),
        "leakage": {"checked": False, "kept": 0},
        "about": {name: {"role": "system", "of": None, "given": None, "note": ""} for name in given.systems},
    }


def _remarks(given: Given) -> tuple[str, ...]:
    found = []
    if given.left_out:
        found.append(f"{given.left_out} ids that only one file has were left out")
    if given.silent:
        found.append(f"{given.silent} queries without documents: their ranking is empty")
    return tuple(found)


def _free(folder: Path) -> Path:
    """``folder``, which may hold what an earlier call wrote there, and nothing else."""
    if folder.is_file():
        raise InputError(f"{folder}: is a file: choose another --out")
    if folder.is_dir():
        other = sorted(path.name for path in folder.iterdir() if path.name not in WRITTEN)
        if other:
            raise InputError(f"{folder} holds {one_line(other[0])!r}, no scores: choose another --out")
    return folder


def _write(
    folder: Path, given: Given, scores: Mapping[str, Mapping[str, Sequence[float | None]]], metrics: dict[str, Any]
) -> None:
    items = next(iter(given.systems.values()))
    if _plain(given):
        right = "".join(line_of(_reference(item)) for item in items)
        said = "".join(line_of(_prediction(name, item)) for name, of in given.systems.items() for item in of)
        files.write_text(folder / files.REFERENCES, right)
        files.write_text(folder / files.PREDICTIONS, said)
    else:
        for name in (files.REFERENCES, files.PREDICTIONS):
            (folder / name).unlink(missing_ok=True)
    rows = [
        {"id": item.id, "system": system, "subject_id": item.cluster}
        | {"scores": {name: values[place] for name, values in of_system.items()}}
        for system, of_system in scores.items()
        for place, item in enumerate(items)
    ]
    files.write_text(folder / files.SCORES, "".join(map(line_of, rows)))
    files.write_json(folder / files.METRICS, metrics)


def _plain(given: Given) -> bool:
    """Whether predictions and references are JSON types: no pictures and no masks."""
    if given.task not in ("ground", "pictures"):
        return True
    sides = (side for items in given.systems.values() for item in items for side in (item.prediction, item.references))
    return all(isinstance(side, list) for side in sides)


def _reference(item: Item) -> dict[str, Any]:
    group = {} if item.group is None else {"group": item.group}
    return {"id": item.id, "subject_id": item.cluster, **group, "references": item.references}


def _prediction(system: str, item: Item) -> dict[str, Any]:
    facts = {name: value for name, value in item.facts.items() if name not in ("id", "system", "prediction")}
    return {"id": item.id, "system": system, "prediction": item.prediction, **facts}
