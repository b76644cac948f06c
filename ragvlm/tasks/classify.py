"""Classify pictures: by an index's labelled references, by a model that was trained to, or by any labels' words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

import ragvlm
from ragvlm.classifiers import load_classifier
from ragvlm.classifiers.calibrate import prediction_sets
from ragvlm.classifiers.indexed import Judgement
from ragvlm.errors import ImageError, InputError, RagvlmError
from ragvlm.queries import as_query
from ragvlm.results import Classification
from ragvlm.types import Classifier, Encoder, Float32, Query

if TYPE_CHECKING:
    from ragvlm.index import Index
    from ragvlm.labelsets import LabelSet


@overload
def classify(
    images: list[Any] | tuple[Any, ...],
    labels: Any = None,
    *,
    classifier: str | Classifier | None = ...,
    **options: Any,
) -> list[Classification]: ...
@overload
def classify(
    images: Any, labels: Any = None, *, classifier: str | Classifier | None = ..., **options: Any
) -> Classification: ...
def classify(
    images: Any,
    labels: str | Path | Sequence[str] | LabelSet | None = None,
    *,
    classifier: str | Classifier | None = None,
    index: Index | str | Path | None = None,
    encoder: str | Encoder | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    templates: str | Sequence[str] | None = None,
    rule: str | None = None,
    alpha: float | None = None,
    subject_id: str | None = None,
    **options: Any,
) -> Classification | list[Classification]:
    """Classify one picture (a path, a PIL image, an array, a volume's path) or a list of them.

    ``classifier`` is a name, which is loaded with ``labels``, ``index``, ``encoder``, ``encoder_options``,
    ``templates``, ``rule``, ``alpha`` and ``options``, those that are given (see ``ragvlm.load_classifier``), or a
    Classifier, so that a model is loaded once for many calls. None is "knn" where an ``index`` is given and ``labels``
    is one of its columns, else "zero-shot"; a folder that ``ragvlm tune classifier`` wrote is a name too.
    ``subject_id``: the pictures' subject, whose own references have no part
    in the result. Of a volume each slice is classified, and the probabilities are averaged.

    Raises ImageError where a picture can't be decoded, InputError for options that don't go together, and what
    ``load_classifier`` raises.
    """
    known = {
        "labels": labels, "index": index, "encoder": encoder, "encoder_options": encoder_options,
        "templates": templates, "rule": rule, "alpha": alpha,
    }  # fmt: skip
    given = {name: value for name, value in known.items() if value is not None} | options
    if classifier is None or isinstance(classifier, str):
        classifier = load_classifier(classifier or default_classifier(labels, index), **given)
    elif given:
        raise InputError(f"classifier {classifier.name!r} is loaded: give {', '.join(given)} to load_classifier")
    many = isinstance(images, (list, tuple))
    asked = images if many else [images]
    found = [item for batch in batches(classifier, asked, subject_id=subject_id) for item in batch]
    return found if many else found[0]


def default_classifier(labels: Any, index: Index | str | Path | None) -> str:
    """The classifier that ``labels`` and ``index`` suggest."""
    if index is None:
        return "zero-shot"
    from ragvlm.classifiers.labelled import column_of
    from ragvlm.index import Index

    opened = index if isinstance(index, Index) else Index.open(index)
    return "zero-shot" if column_of(opened, labels) is None else "knn"


def batches(
    classifier: Classifier,
    images: Sequence[Any],
    *,
    subject_id: str | None = None,
    size: int = 16,
    skip: Callable[[Any, ImageError], None] | None = None,
) -> Iterator[list[Classification]]:
    """Classify many pictures with bounded memory: yields the results of ``size`` pictures at a time.

    A picture that can't be decoded goes to ``skip`` with its error, where that is given, and has no result.
    """
    for start in range(0, len(images), size):
        queries = []
        for item in images[start : start + size]:
            try:
                queries.append(as_query(item, picture=True, subject_id=subject_id))
            except ImageError as error:
                if skip is None:
                    raise
                skip(item, error)
        if queries:
            yield _results(classifier, queries)


def judge(classifier: Classifier, queries: Sequence[Query]) -> list[Judgement]:
    """What ``classifier`` says of queries with a picture; of a volume the mean over its slices."""
    slices: list[list[Any]] = [list(query.slices.values()) or [query.image] for query in queries]
    flat = [replace(q, image=image, slices={}) for q, own in zip(queries, slices, strict=True) for image in own]
    if hasattr(classifier, "judge"):
        each = list(classifier.judge(flat))
        rows = np.array([one.probabilities for one in each], np.float32)
    else:
        rows = classifier.classify([image for own in slices for image in own])
        each = [Judgement(row) for row in rows]
    if rows.shape != (len(flat), len(classifier.labels)):
        raise RagvlmError(f"classifier {classifier.name!r} gave probabilities of shape {rows.shape}")
    ends = np.cumsum([len(own) for own in slices])
    return [_pooled(each[end - len(own) : end], query) for end, own, query in zip(ends, slices, queries, strict=True)]


def _pooled(each: Sequence[Judgement], query: Query) -> Judgement:
    if len(each) == 1:
        return each[0]
    rows = np.array([one.probabilities for one in each], np.float32)
    mean = np.asarray(rows.mean(axis=0), np.float32)
    deciding = int(rows[:, int(mean.argmax())].argmax())
    return Judgement(mean, each[deciding].neighbours, list(query.slices)[deciding])


def _results(classifier: Classifier, queries: Sequence[Query]) -> list[Classification]:
    for query in queries:
        if query.image is None:
            raise InputError(f"{query.id!r} is words: give a picture to classify")
    found = judge(classifier, queries)
    provenance = {"encoder": None, "templates": None, **getattr(classifier, "provenance", {})}
    return [
        Classification(
            query_id=query.id,
            labels=classifier.labels,
            probabilities=tuple(one.probabilities.tolist()),
            rule=classifier.rule,
            classifier=classifier.name,
            provenance=provenance | {"ragvlm": ragvlm.__version__},
            temperature=getattr(classifier, "temperature", None),
            alpha=getattr(classifier, "alpha", None),
            prediction_set=_set(classifier, one.probabilities),
            neighbours=one.neighbours,
            slice=one.slice,
        )
        for query, one in zip(queries, found, strict=True)
    ]


def _set(classifier: Classifier, row: Float32) -> tuple[str, ...] | None:
    threshold = getattr(classifier, "threshold", None)
    if threshold is None:
        return None
    inside = prediction_sets(row[None], threshold)[0]
    return tuple(label for label, there in zip(classifier.labels, inside, strict=True) if there)
