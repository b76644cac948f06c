"""What a folder of results holds of each system and item, whoever wrote it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias
from urllib.parse import unquote

from ragvlm.errors import InputError, one_line
from ragvlm.evaluation import folder as files
from ragvlm.evaluation.results import Results
from ragvlm.measures.base import TASKS, Item
from ragvlm.measures.trec import read_qrels

Row: TypeAlias = dict[str, Any]
_Rows: TypeAlias = dict[tuple[str, str], tuple[int, Row]]  # number of the line and object, by system and id
QRELS = "qrels.txt"
_PREDICTION = ("prediction", "text", "caption", "answer", "probabilities", "label", "boxes")
_REFERENCES = ("references", "caption", "answers", "answer", "label", "boxes")
_TEXTS = ("describe", "vqa")


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A folder of results.

    ``systems`` holds, by system and item id, the items' own ``scores`` by measure (NaN where a measure isn't defined
    for the item); ``items``, the same way, predictions with their references, where both are there. ``main`` are the
    systems that are neither baselines nor controls, ``clusters`` the subjects by item id, where they are known.
    """

    path: Path
    task: str | None
    main: tuple[str, ...]
    scores: Mapping[str, Mapping[str, Mapping[str, float]]]
    items: Mapping[str, Mapping[str, Item]]
    clusters: Mapping[str, str]
    measures: Mapping[str, bool | None]
    warning: str

    @property
    def systems(self) -> tuple[str, ...]:
        """All systems, those with predictions first."""
        return tuple(dict.fromkeys([*self.items, *self.scores]))

    def ids(self, system: str) -> list[str]:
        """The ids of the items that ``system`` answered."""
        return list(self.items.get(system) or self.scores[system])

    @classmethod
    def open(cls, path: str | Path, task: str | None = None) -> Recorded:
        """The results in the folder ``path``; ``task`` is asked for where no file names it.

        Needed: scores.jsonl, or predictions.jsonl with references.jsonl. Rows without a "system" are one system, called
        as the folder is. Raises InputError on one line for a folder without these, a line that is no object or
        holds no number where one belongs, an id that is there twice or in one of the files alone, and another task.
        """
        folder = Path(path)
        metrics = _metrics(folder)
        task = _task(folder, metrics, task)
        predicted = _rows(folder / files.PREDICTIONS)
        right = {_id(row): row for _, row in _rows(folder / files.REFERENCES).values()}
        scored = _rows(folder / files.SCORES)
        scores = _scores(folder, scored)
        _check_files(folder, scores=bool(scores), predicted=bool(predicted), right=bool(right))
        items = _items(folder, task, predicted, right) if predicted and right and task else {}
        for system in set(items) & set(scores):
            where = f"{folder}: {files.PREDICTIONS} and {files.SCORES}, system {one_line(system)!r}"
            _same(where, items[system], scores[system], "score the predictions anew")
        if not items and not scores:
            raise InputError(f"{folder}: no file names its task: give --task, one of {', '.join(TASKS)}")
        about = metrics.get("about", {})
        systems = list(dict.fromkeys([*items, *scores]))
        return cls(
            path=folder,
            task=task,
            main=tuple(name for name in systems if about.get(name, {}).get("role", "system") == "system"),
            scores=scores,
            items=items,
            clusters=_clusters([*right.values(), *(row for _, row in scored.values())]),
            measures=_measures(metrics, scores),
            warning=_warning(folder, metrics),
        )


def open_all(paths: Sequence[str | Path], task: str | None = None) -> list[Recorded]:
    """``Recorded.open`` of each of ``paths``; one that doesn't name its task has that of the others."""
    known = (_metrics(Path(path)).get("task") for path in paths)
    task = task or next((name for name in known if name), None)
    return [Recorded.open(path, task) for path in paths]


def first_five(ids: Iterable[str]) -> str:
    """The first five of ``ids``, and how many more there are."""
    names = list(ids)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(one_line(name)) for name in names[:5]) + more


def _check_files(folder: Path, *, scores: bool, predicted: bool, right: bool) -> None:
    if scores or (predicted and right):
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: name one that ragvlm eval or ragvlm score --out wrote")
    if predicted and (folder / files.SUITE).is_file():
        raise InputError(f"{folder}: the run isn't finished: give the same ragvlm eval again, then compare")
    raise InputError(
        f"{folder}: holds neither {files.SCORES} nor {files.PREDICTIONS} with {files.REFERENCES}: name a folder that "
        "ragvlm eval or ragvlm score --out wrote, or make one of these files"
    )


def _metrics(folder: Path) -> dict[str, Any]:
    path = folder / files.METRICS
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged: score the folder anew, or remove this file") from error
    if not isinstance(found, dict) or not all(_is_table(found.get(name, {})) for name in ("systems", "about")):
        raise InputError(f"{path}: not what ragvlm writes: score the folder anew, or remove this file")
    return found


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(of, dict) for of in value.values())


def _warning(folder: Path, metrics: Mapping[str, Any]) -> str:
    """The loud mark of a run with leaks in it."""
    leaks = metrics.get("leakage")
    there = isinstance(leaks, dict) and leaks.get("kept") and "queries" in leaks
    return Results(folder, dict(metrics)).warning if there else ""


def _task(folder: Path, metrics: Mapping[str, Any], asked: str | None) -> str | None:
    named = metrics.get("task")
    if asked is not None and asked not in TASKS:
        raise InputError(f"unknown task {asked!r}: choose one of {', '.join(TASKS)}")
    if named is not None and named not in TASKS:
        raise InputError(f"{folder / files.METRICS}: unknown task {one_line(str(named))!r}: score the folder anew")
    if named and asked and named != asked:
        raise InputError(f"{folder}: its task is {named}, not {asked}: compare runs of one task")
    return named or asked


def _rows(path: Path) -> _Rows:
    """Number of the line and object by (system, id). A file that isn't there is empty."""
    try:
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: give a folder that can be read") from error
    found: _Rows = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _row(line, f"{path}, line {number}")
        key = (str(row.get("system", path.parent.resolve().name)), _id(row))
        if key in found:
            raise InputError(
                f"{path}, line {number}: id {one_line(key[1])!r} is there twice for system {one_line(key[0])!r} "
                f"(line {found[key][0]}): keep one"
            )
        found[key] = (number, row)
    return found


def _row(line: bytes, where: str) -> Row:
    try:
        row = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, _ConstantError) else "no JSON"
        raise InputError(f"{where}: {why}; is the file damaged? write it anew, one JSON object a line") from error
    if not isinstance(row, dict) or not isinstance(row.get("id"), str | int) or isinstance(row["id"], bool):
        raise InputError(f'{where}: no object with an "id": give each item one')
    return row


class _ConstantError(ValueError):
    pass


def _refuse_constant(name: str) -> NoReturn:
    raise _ConstantError(f"holds {name}, which is no number (null where there is none)")


def _id(row: Row) -> str:
    return str(row["id"])


def _scores(folder: Path, rows: _Rows) -> dict[str, dict[str, dict[str, float]]]:
    path = folder / files.SCORES
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (system, name), (number, row) in rows.items():
        scores = row.get("scores")
        if not isinstance(scores, dict):
            raise InputError(f'{path}, line {number}: no "scores": give an object with a number by measure')
        wrong = [measure for measure, score in scores.items() if not _is_score(score)]
        if wrong:
            raise InputError(
                f"{path}, line {number}: {one_line(wrong[0])} is {one_line(str(scores[wrong[0]]))!r}: give a finite "
                "number, or null"
            )
        values = {measure: math.nan if score is None else float(score) for measure, score in scores.items()}
        found.setdefault(system, {})[name] = values
    return found


def _is_score(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))


def _items(folder: Path, task: str, predicted: _Rows, right: Mapping[str, Row]) -> dict[str, dict[str, Item]]:
    references = _references(folder, task, predicted, right)
    found: dict[str, dict[str, Item]] = {}
    for (system, name), (number, row) in predicted.items():
        answered = found.setdefault(system, {})
        if name in right:
            where = f"{folder / files.PREDICTIONS}, line {number}"
            answered[name] = _item(task, name, right[name], references[name], row, where)
    for system in found:
        where = f"{folder}: {files.PREDICTIONS} and {files.REFERENCES}, system {one_line(system)!r}"
        _same(where, [name for of, name in predicted if of == system], right, "give each item both")
    return found


def _item(task: str, name: str, right: Row, references: Any, row: Row, where: str) -> Item:
    field = next((field for field in _PREDICTION if field in row), None)
    if field is None:
        raise InputError(f'{where}: no "prediction" of {one_line(name)!r}: give one, "" for a text that is none')
    facts = {key: value for key, value in right.items() if key not in ("id", "record_id", "subject_id", "group")}
    facts = {key: value for key, value in facts.items() if key != "references"}
    facts |= {key: value for key, value in row.items() if key not in ("id", "system", "subject_id", field)}
    group = right.get("group", right.get("answer_type"))
    return Item(name, name, row[field], references, None if group is None else str(group), facts)


def _references(folder: Path, task: str, predicted: _Rows, right: Mapping[str, Row]) -> dict[str, Any]:
    """What is right by id: from references.jsonl, and for retrieval from qrels.txt where it doesn't say."""
    path = folder / files.REFERENCES
    fields = {name: next((field for field in _REFERENCES if field in row), None) for name, row in right.items()}
    missing = [name for name, field in fields.items() if field is None]
    judged = {}
    if missing and task == "retrieve" and (folder / QRELS).is_file():
        judged = _judged(folder / QRELS, right, predicted)
        missing = [name for name in missing if name not in judged]
    if missing:
        raise InputError(f'{path}: no "references" of {first_five(missing)}: say what is right')
    return {name: judged[name] if field is None else _texts(task, right[name][field]) for name, field in fields.items()}


def _texts(task: str, value: Any) -> Any:
    if task not in _TEXTS:
        return value
    return tuple(value) if isinstance(value, list) else (value,)


def _judged(path: Path, right: Mapping[str, Row], predicted: _Rows) -> dict[str, dict[str, int]]:
    """Gains by query and document. ``ragvlm eval`` percent-encodes the ids that can't stand in such a file."""
    found = {
        str(pair[0])
        for _, row in predicted.values()
        for pair in (row["prediction"] if isinstance(row.get("prediction"), list) else ())
        if isinstance(pair, list) and pair
    }
    return {
        query if query in right else unquote(query): {
            document if document in found else unquote(document): gain for document, gain in of.items()
        }
        for query, of in read_qrels(path).items()
    }


def _same(where: str, a: Iterable[str], b: Iterable[str], advice: str) -> None:
    one, two = dict.fromkeys(a), dict.fromkeys(b)
    for these, those, side in ((one, two, "first"), (two, one, "second")):
        if alone := [name for name in these if name not in those]:
            raise InputError(f"{where}: {first_five(alone)} only in the {side}: {advice}")


def _clusters(rows: Iterable[Row]) -> dict[str, str]:
    named = [row for row in rows if row.get("subject_id") is not None]
    return {_id(row): str(row["subject_id"]) for row in reversed(named)}


def _measures(metrics: Mapping[str, Any], scores: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Names in the order of the table, and whether higher is better, where that is known."""
    found: dict[str, Any] = {}
    for of_system in metrics.get("systems", {}).values():
        for name, figure in of_system.items():
            found.setdefault(name, figure.get("higher_is_better") if isinstance(figure, dict) else None)
    for of_item in (item for items in scores.values() for item in items.values()):
        for name in of_item:
            found.setdefault(name, None)
    return found
