"""What the items of a classification say, in numbers; the confusion matrix and the figures of each class, as data.

An item's prediction is a mapping of label to probability, or a label; "" or an empty mapping where the system named
none. Its reference is the label. ``facts["classes"]``, where given, lists all labels in their order (grades of a
disease); else they are those that occur, in the order of their numbers, or of the alphabet where they are words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ragvlm.measures.areas import auroc, average_precision, ranks
from ragvlm.measures.base import Float64, Item, refuse
from ragvlm.types import Int64

NONE = -1  # the number of the class where a prediction names none


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What items of a classification say, in numbers.

    ``truth`` and ``predicted`` are int64 (n,), positions in ``labels``, NONE where the prediction names no label; of
    equal probabilities the first label wins. ``probabilities`` is float64 (n, labels) in [0, 1], NaN rows where there
    are none; a label that a mapping leaves out has 0. ``grades`` are float64 (labels,), the labels' places on a scale,
    or None where they are words without a given order.
    """

    labels: tuple[str, ...]
    truth: Int64
    predicted: Int64
    probabilities: Float64
    grades: Float64 | None

    @classmethod
    def of(cls, items: Sequence[Item]) -> Outcomes:
        """Read ``items``. Raises InputError naming those without a reference, with a probability outside [0, 1] or with
        a label that isn't among ``facts["classes"]``, and for items that give different classes."""
        for item in items:
            _check(item)
        labels, grades = _labels(items)
        place = {label: i for i, label in enumerate(labels)}
        probabilities = np.full((len(items), len(labels)), np.nan)
        predicted = np.full(len(items), NONE)
        for i, item in enumerate(items):
            if isinstance(item.prediction, Mapping) and item.prediction:
                probabilities[i] = 0.0
                for label, probability in item.prediction.items():
                    probabilities[i, place[str(label)]] = probability
                predicted[i] = int(probabilities[i].argmax())
            elif said := _said(item):
                predicted[i] = place[said[0]]
        truth = np.array([place[str(item.references)] for item in items], dtype=np.int64)
        return cls(labels, truth, predicted, probabilities, grades)


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class against the rest. ``support`` counts its items; the figures, in [0, 1], are those of ``Agreement`` and
    ``Area`` for this class alone, None where they aren't defined (no such item, no probabilities)."""

    label: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None
    auroc: float | None
    auprc: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Confusion:
    """``counts[i][j]`` items of label i were called label j, ``unnamed[i]`` were called nothing."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    unnamed: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        return {"labels": list(self.labels), "counts": [list(r) for r in self.counts], "unnamed": list(self.unnamed)}


def confusion(items: Sequence[Item]) -> Confusion:
    """The confusion matrix of ``items``. Raises InputError as ``Outcomes.of`` does."""
    found = Outcomes.of(items)
    table = count(found.truth, found.predicted, len(found.labels)).tolist()
    return Confusion(found.labels, tuple(tuple(row[:-1]) for row in table), tuple(row[-1] for row in table))


def per_class(items: Sequence[Item]) -> tuple[ClassFigures, ...]:
    """A row a label, in the labels' order. Raises InputError as ``Outcomes.of`` does."""
    found = Outcomes.of(items)
    counts = count(found.truth, found.predicted, len(found.labels))
    support, called = counts.sum(axis=1), counts[:, :-1].sum(axis=0)
    scored = ~np.isnan(found.probabilities).any(axis=1)
    rows = []
    for i, (label, *figures) in enumerate(zip(found.labels, *by_class(counts), strict=True)):
        precision, recall, f1 = figures
        positive, rank = found.truth[scored] == i, ranks(found.probabilities[scored, i])
        rows.append(
            ClassFigures(
                label,
                int(support[i]),
                float(precision) if called[i] else None,
                float(recall) if support[i] else None,
                float(f1) if support[i] or called[i] else None,
                _none(auroc(positive, rank)),
                _none(average_precision(positive, rank)),
            )
        )
    return tuple(rows)


def count(truth: Int64, predicted: Int64, labels: int) -> Int64:
    """The confusion matrix: int64 (labels, labels + 1), the last column for predictions that name no label."""
    named = np.where(predicted == NONE, labels, predicted)
    return np.bincount(truth * (labels + 1) + named, minlength=labels * (labels + 1)).reshape(labels, labels + 1)


def by_class(counts: Int64) -> tuple[Float64, Float64, Float64]:
    """Precision, recall and F1 of each class, float64 (labels,), from ``count``; 0 where a denominator is 0."""
    right, support, called = counts.diagonal(), counts.sum(axis=1), counts[:, :-1].sum(axis=0)
    return share(right, called), share(right, support), share(2 * right, called + support)


def share(part: Int64, whole: Int64) -> Float64:
    """``part / whole``, 0 where the whole is 0."""
    return np.asarray(part / np.maximum(whole, 1), dtype=np.float64)


def _none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _said(item: Item) -> tuple[str, ...]:
    """The labels that the prediction names."""
    if isinstance(item.prediction, Mapping):
        return tuple(str(label) for label in item.prediction)
    return () if item.prediction is None or item.prediction == "" else (str(item.prediction),)


def _check(item: Item) -> None:
    if item.references is None or str(item.references) == "":
        raise refuse([item], "no reference label; give one")
    if not isinstance(item.prediction, Mapping):
        return
    if len(set(_said(item))) < len(item.prediction):
        raise refuse([item], "two labels of the prediction are written alike")
    for label, probability in item.prediction.items():
        if not isinstance(probability, (int, float, np.number)) or not 0 <= probability <= 1:
            raise refuse([item], f"probability {probability!r} of label {label!r}: give a number from 0 to 1")


def _labels(items: Sequence[Item]) -> tuple[tuple[str, ...], Float64 | None]:
    """All labels in their order, and their grades."""
    given = {tuple(str(label) for label in item.facts["classes"]) for item in items if "classes" in item.facts}
    occurring = {str(item.references) for item in items}.union(*map(_said, items))
    if not given:
        grades = _numbers(occurring)
        ordered = sorted(occurring, key=lambda label: (grades.get(label, 0.0), label))
        return tuple(ordered), np.array([grades[label] for label in ordered]) if grades else None
    if len(given) > 1 or len(set(min(given))) < len(min(given)):
        raise refuse([item for item in items if "classes" in item.facts], "give one list of different classes for all")
    labels = min(given)
    if unknown := occurring - set(labels):
        wrong = [item for item in items if unknown & {str(item.references), *_said(item)}]
        raise refuse(wrong, f"label {min(unknown)!r} is none of the classes {', '.join(labels)}")
    return labels, np.arange(len(labels), dtype=np.float64)


def _numbers(labels: set[str]) -> dict[str, float]:
    """The labels as different finite numbers; empty where they aren't all such."""
    try:
        numbers = {label: float(label) for label in labels}
    except ValueError:
        return {}
    finite = all(map(np.isfinite, numbers.values())) and len(set(numbers.values())) == len(labels)
    return numbers if finite else {}
