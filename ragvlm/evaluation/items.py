"""PREDICTIONS and REFERENCES of any program -> items, each checked, so that a wrong file is one line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.errors import ImageError, InputError, one_line
from ragvlm.evaluation.filerows import Row, Rows, read_rows
from ragvlm.evaluation.recorded import first_five
from ragvlm.images import SUPPORTED_SUFFIXES, open_image
from ragvlm.measures.base import TASKS, Item
from ragvlm.readers import values

PREDICTED: Mapping[str, tuple[str, ...]] = {
    "describe": ("prediction", "text", "caption"),
    "vqa": ("prediction", "answer", "text"),
    "classify": ("probabilities", "prediction", "label"),
    "retrieve": ("prediction",),
    "ground": ("prediction", "boxes", "masks", "mask"),
    "pictures": ("prediction", "image"),
}
"""Where a prediction may stand, by task: the first of these columns that the file has."""
RIGHT: Mapping[str, tuple[str, ...]] = {
    "describe": ("references", "captions", "caption"),
    "vqa": ("references", "answers", "answer"),
    "classify": ("references", "label"),
    "retrieve": ("references",),
    "ground": ("references", "boxes", "masks", "mask"),
    "pictures": ("references", "image"),
}
"""Where what is right may stand."""
_GENERAL = ("prediction", "references")
_GROUPS = ("group", "answer_type")
_SUBJECT = "subject_id"


@dataclass(frozen=True, slots=True)
class Given:
    """What two files say: of each system the items, the same ones in the order of the references.

    ``left_out`` counts the ids that only one file has, ``silent`` the queries for which a TREC run found nothing.
    """

    task: str
    systems: Mapping[str, tuple[Item, ...]]
    left_out: int = 0
    silent: int = 0


def read_items(
    predictions: str | Path, references: str | Path, task: str | None = None, *, common: bool = False
) -> Given:
    """Items of both files, by the columns PREDICTED and RIGHT; ``task`` is guessed from these where one alone fits.

    Texts are strings, a list of them where several are right; "" is a prediction of a system that abstained. Classes
    are a label, or probabilities by label; rankings [document, score] pairs and gains by document; regions boxes,
    mask pictures, or these by label; pictures paths from the file's folder. In CSV, lists and objects are JSON in a
    cell. ``subject_id`` and ``group`` (or ``answer_type``) may stand beside the references; other columns become the
    items' facts. ``common``: leave out ids that only one file has.

    Raises InputError on one line, naming the file and the first five ids or the row: for what ``read_rows`` refuses,
    predictions that are missing or that nobody asked for, and values that are absent, NaN or of another type.
    """
    predicted, right = read_rows(predictions, "predictions"), read_rows(references, "references")
    task = _task(predicted, right, task)
    by_id = {row.id: row for row in right.rows}
    systems: dict[str, dict[str, Row]] = {}
    for row in predicted.rows:
        systems.setdefault(row.system, {})[row.id] = row
    ids, left_out, silent = _matched(predicted, right, systems, list(by_id), common)
    truth = {name: _right(task, right, by_id[name]) for name in ids}
    found = {}
    for system, rows in systems.items():
        found[system] = tuple(_item(task, predicted, rows.get(name), by_id[name], truth[name]) for name in ids)
    return Given(task, found, left_out, silent)


def _task(predicted: Rows, right: Rows, asked: str | None) -> str:
    if asked is not None:
        if asked not in TASKS:
            raise InputError(f"unknown task {asked!r}: choose one of {', '.join(TASKS)}")
        return asked
    if predicted.trec or right.trec:
        return "retrieve"
    fits = [task for task in TASKS if set(PREDICTED[task]) & set(predicted.columns)
            and set(RIGHT[task]) & set(right.columns) - set(_GENERAL)]  # fmt: skip
    if len(fits) == 1:
        return fits[0]
    # an answer may be called a text, and a picture stands beside what is said of it
    said = [task for task in fits if set(PREDICTED[task]) & set(predicted.columns) - {*_GENERAL, "text", "image"}]
    if len(said) == 1:
        return said[0]
    why = f"fit {' and '.join(fits)}" if fits else "don't say it"
    raise InputError(f"{predicted.path} and {right.path}: which task? their columns {why}: give --task, one of "
                     f"{', '.join(TASKS)}")  # fmt: skip


def _matched(
    predicted: Rows, right: Rows, systems: Mapping[str, Mapping[str, Row]], ids: Sequence[str], common: bool
) -> tuple[list[str], int, int]:
    """The ids that are scored, how many are left out, and how many have no answer that need none."""
    known = set(ids)
    unasked = dict.fromkeys(row.id for row in predicted.rows if row.id not in known)
    missing = {system: [name for name in ids if name not in rows] for system, rows in systems.items()}
    absent = dict.fromkeys(name for names in missing.values() for name in names)
    if len(unasked) == len({row.id for row in predicted.rows}):
        raise InputError(f"{predicted.path} and {right.path} share no id: {first_five(unasked)} in the one, "
                         f"{first_five(ids)} in the other")  # fmt: skip
    silent = len(absent) if predicted.trec else 0
    told = []
    if absent and not predicted.trec:
        of = next(
            f" of system {one_line(system)!r}" if len(systems) > 1 else "" for system in missing if missing[system]
        )
        told.append(f"no prediction{of} for {first_five(absent)}")
    if unasked:
        told.append(f"predictions for {first_five(unasked)}, which {right.path} doesn't have")
    if told and not common:
        raise InputError(f"{predicted.path}: {'; '.join(told)}: complete the files, or leave these out with --common")
    kept = list(ids) if predicted.trec else [name for name in ids if name not in absent]
    return kept, len(unasked) + len(ids) - len(kept), silent


def _item(task: str, predicted: Rows, row: Row | None, right: Row, truth: Any) -> Item:
    if row is None:  # a run of TREC has no line for a query that found nothing
        row = Row(right.id, "", {"prediction": []}, str(predicted.path))
    field = _field(PREDICTED[task], predicted, row)
    prediction = _value(task, predicted, row, field)
    subject = values.text(right.cells.get(_SUBJECT, row.cells.get(_SUBJECT)))
    group = next((found for name in _GROUPS if (found := values.text(right.cells.get(name))) is not None), None)
    return Item(right.id, subject or right.id, prediction, truth, group, _facts(task, right, row, field))


def _facts(task: str, right: Row, row: Row, field: str) -> dict[str, Any]:
    named = {*RIGHT[task], _SUBJECT, "group"}
    facts = {name: cell for name, cell in right.cells.items() if name not in named}
    facts |= {name: cell for name, cell in row.cells.items() if name not in (field, _SUBJECT)}
    try:
        return {name: value for name, value in values.jsonable(facts).items() if value is not None}
    except ValueError as error:
        raise InputError(f"{row.where}: {error}") from error


def _field(names: Sequence[str], rows: Rows, row: Row) -> str:
    """The column of the value: the first that the row has, else the first that the file has."""
    for cells in (row.cells, rows.columns):
        if found := next((name for name in names if name in cells), None):
            return found
    shown = " or ".join(repr(name) for name in names)
    raise InputError(f"{rows.path}: no column {shown}: it has {first_five(rows.columns)}")


def _right(task: str, rows: Rows, row: Row) -> Any:
    field = _field(RIGHT[task], rows, row)
    if task not in ("describe", "vqa"):
        value = _value(task, rows, row, field, right=True)
        if task == "classify" and (not isinstance(value, str) or not value):
            raise InputError(f"{row.where}: {field} of {one_line(row.id)!r} is no label")
        return value
    cell = _decoded(rows, row, field)
    texts = tuple(_text(row, field, one) for one in (cell if isinstance(cell, list) else [cell]))
    if not any(texts):
        raise InputError(f"{row.where}: {field} of {one_line(row.id)!r} is empty: say what is right")
    return texts


def _value(task: str, rows: Rows, row: Row, field: str, *, right: bool = False) -> Any:
    """A prediction, or what is right where that is of the same kind."""
    if task in ("describe", "vqa"):
        text = row.cells.get(field)
        return "" if text is None and not rows.typed else _text(row, field, text)
    cell = _decoded(rows, row, field)
    if task == "classify":
        return _class(rows, row, field, cell)
    if task == "retrieve":
        return _gains(row, field, cell) if right else _ranking(row, field, cell)
    if task == "ground":
        return _regions(rows, row, field, cell)
    if not isinstance(cell, str):
        raise _wrong(row, field, cell, "a picture's path")
    return _picture(rows, row, cell)


def _decoded(rows: Rows, row: Row, field: str) -> Any:
    """The cell; of a CSV file the list or object that is written in it."""
    cell = row.cells.get(field)
    if rows.typed or not isinstance(cell, str) or cell.strip()[:1] not in ("[", "{"):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _wrong(row: Row, field: str, cell: Any, wanted: str) -> InputError:
    shown = "missing" if cell is None else one_line(json.dumps(cell, default=str))[:60]
    return InputError(f"{row.where}: {field} of {one_line(row.id)!r} is {shown}: give {wanted}")


def _text(row: Row, field: str, cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell):
        return str(cell)
    raise _wrong(row, field, cell, 'text, "" where there is none')


def _class(rows: Rows, row: Row, field: str, cell: Any) -> Any:
    if isinstance(cell, Mapping):
        if bad := [name for name, p in cell.items() if not _number(p) or not 0 <= p <= 1]:
            raise _wrong(row, f"{field}, label {one_line(bad[0])!r}", cell[bad[0]], "a probability from 0 to 1")
        return {str(name): float(p) for name, p in cell.items()}
    if isinstance(cell, bool):
        return str(cell).lower()
    if cell is None and not rows.typed:
        return ""
    if field == "probabilities":
        raise _wrong(row, field, cell, "probabilities by label")
    return _text(row, field, cell)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _ranking(row: Row, field: str, cell: Any) -> list[tuple[str, float]]:
    pairs = list(cell.items()) if isinstance(cell, Mapping) else cell
    wanted = "[document, score] pairs with finite scores, each document once"
    if not isinstance(pairs, list):
        raise _wrong(row, field, cell, wanted)
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str) or not _number(pair[1]):
            raise _wrong(row, field, pair, wanted)
    if len({document for document, _ in pairs}) < len(pairs):
        raise InputError(f"{row.where}: {field} of {one_line(row.id)!r} has a document twice: give {wanted}")
    return [(document, float(score)) for document, score in pairs]


def _gains(row: Row, field: str, cell: Any) -> dict[str, int]:
    documents = {name: 1 for name in cell if isinstance(name, str)} if isinstance(cell, list) else cell
    if not isinstance(documents, Mapping) or not all(_number(g) and int(g) == g for g in documents.values()):
        raise _wrong(row, field, cell, "whole gains by document, or a list of the relevant ones")
    return {str(name): int(gain) for name, gain in documents.items()}


def _regions(rows: Rows, row: Row, field: str, cell: Any) -> Any:
    if isinstance(cell, str):
        return _mask(rows, row, cell)
    if isinstance(cell, Mapping) and cell and all(isinstance(path, str) for path in cell.values()):
        return {str(label): _mask(rows, row, path) for label, path in cell.items()}
    if isinstance(cell, list):
        return cell  # boxes, which the measures check one by one
    raise _wrong(row, field, cell, "a list of boxes [xmin, ymin, xmax, ymax], or the path of a mask")


def _mask(rows: Rows, row: Row, path: str) -> Any:
    return np.asarray(_picture(rows, row, path).convert("L"))


def _picture(rows: Rows, row: Row, path: str) -> Any:
    file = rows.path.parent / path
    if file.suffix.lower() not in SUPPORTED_SUFFIXES:
        raise InputError(f"{row.where}: {one_line(path)!r} of {one_line(row.id)!r} doesn't end like a picture's name")
    try:
        return open_image(file)
    except ImageError as error:
        raise InputError(f"{row.where}, {one_line(row.id)!r}: {error}") from error
