"""The systems of a classify suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ragvlm.classifiers import load_classifier
from ragvlm.classifiers.zero_shot import ZeroShotClassifier
from ragvlm.errors import InputError
from ragvlm.evaluation.bench import NOTHING, Asked, Bench, System
from ragvlm.evaluation.split import label_of, value_of
from ragvlm.labelsets import as_label_set
from ragvlm.registry import takes
from ragvlm.tasks.classify import judge
from ragvlm.types import Classifier, Record

ZERO_SHOT = "zero-shot"


def classify_systems(bench: Bench, classifiers: Sequence[str | Classifier], records: Sequence[Record]) -> list[System]:
    """The given classifiers ("zero-shot" takes the index's encoder, "knn" and "probe" its records), and the baselines.

    ``records`` are those of the index's side. A classifier's label counts as the one of the same name, or of the same
    id in the suite's label set. Raises InputError for a classifier that knows none of the labels, and what
    ``load_classifier`` raises.
    """
    known = {record.id: label_of(value_of(record, str(bench.suite.label))) for record in records}
    there = sorted({*known.values(), *(str(case.references) for case in bench.cases)})
    labels = bench.suite.classes or tuple(there)
    if other := [label for label in there if label not in labels]:
        raise InputError(
            f"{bench.suite.file}: a record is labelled {other[0]!r}, none of the classes {', '.join(labels)}"
        )
    names = _names(bench.suite.label_set, labels)
    systems = [_system(bench, classifier, labels, names) for classifier in classifiers]
    counts = Counter(known.values())
    shares = {label: round(counts[label] / len(known), 6) for label in labels}
    return [
        *systems,
        System("majority label", lambda asked: [{"prediction": shares} for _ in asked], "baseline", given=NOTHING,
               looks=False, note="each label as probable as it is frequent on the index's side, the picture unseen"),
        System("nearest labels", _vote(known, labels), "baseline", k=bench.k, looks=False,
               note=f"the labels of the {bench.k} nearest pictures, weighted by similarity"),
    ]  # fmt: skip


def _names(label_set: str | None, labels: Sequence[str]) -> dict[str, str]:
    """Names by which a classifier may call the labels -> the labels."""
    names = {label: label for label in labels}
    if label_set is not None:
        of_set = as_label_set(label_set)
        for name, id_ in zip(of_set.names, of_set.ids, strict=True):
            label = id_ if id_ in names else name if name in names else None
            if label is not None:
                names |= {name: label, id_: label}
    return names


def _loaded(bench: Bench, classifier: str | Classifier, labels: Sequence[str]) -> Classifier:
    """A classifier by name; one that compares with words, or learns, does so with the index's side."""
    if not isinstance(classifier, str):
        return classifier
    if classifier == ZERO_SHOT:
        words = bench.suite.label_set or list(labels)
        return cast("Classifier", ZeroShotClassifier(words, encoder=bench.index.encoder))
    if takes("classifiers", classifier, "index"):
        return load_classifier(classifier, index=bench.index, labels=str(bench.suite.label))
    return load_classifier(classifier)


def _system(bench: Bench, classifier: str | Classifier, labels: Sequence[str], names: Mapping[str, str]) -> System:
    model = _loaded(bench, classifier, labels)
    if not any(label in names for label in model.labels):
        raise InputError(
            f"classifier {model.name!r} knows none of the labels of {bench.suite.name!r} ({', '.join(labels[:5])})"
            ": give another one, or name the labels by label_set"
        )

    def predict(asked: Sequence[Asked]) -> list[dict[str, Any]]:
        found = judge(model, [item.found.context.query for item in asked])
        rows = [one.probabilities.tolist() for one in found]
        return [{"prediction": _of_labels(dict(zip(model.labels, row, strict=True)))} for row in rows]

    def _of_labels(found: Mapping[str, float]) -> dict[str, float]:
        out = dict.fromkeys(labels, 0.0)
        for name, probability in found.items():
            if name in names:
                out[names[name]] += probability
        return {label: round(min(probability, 1.0), 6) for label, probability in out.items()}

    return System(classifier if isinstance(classifier, str) else model.name, predict, given=NOTHING)


def _vote(known: Mapping[str, str], labels: Sequence[str]) -> Callable[[Sequence[Asked]], list[dict[str, Any]]]:
    def one(item: Asked) -> dict[str, float]:
        weights = dict.fromkeys(labels, 0.0)
        for hit in item.found.context.hits:
            if hit.record.id in known:
                weights[known[hit.record.id]] += max(hit.score, 0.0)
        total = sum(weights.values())
        return {label: round(w / total if total else 1 / len(labels), 6) for label, w in weights.items()}

    return lambda asked: [{"prediction": one(item)} for item in asked]
