"""Classify pictures: by a model that was trained to, or by any labels in an encoder's shared space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import ragvlm
from ragvlm.classifiers import load_classifier
from ragvlm.errors import InputError, RagvlmError
from ragvlm.queries import as_query
from ragvlm.results import Classification
from ragvlm.types import Classifier, Encoder

if TYPE_CHECKING:
    from ragvlm.labelsets import LabelSet


@overload
def classify(
    images: list[Any] | tuple[Any, ...], labels: Any = None, *, classifier: str | Classifier = ..., **options: Any
) -> list[Classification]: ...
@overload
def classify(
    images: Any, labels: Any = None, *, classifier: str | Classifier = ..., **options: Any
) -> Classification: ...
def classify(
    images: Any,
    labels: str | Path | Sequence[str] | LabelSet | None = None,
    *,
    classifier: str | Classifier = "zero-shot",
    encoder: str | Encoder | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    templates: str | Sequence[str] | None = None,
    rule: str | None = None,
    **options: Any,
) -> Classification | list[Classification]:
    """Classify one picture (a path, a PIL image, an array) or a list of them.

    ``labels`` (words, a .toml or .txt file, or the name of a label set such as "diabetic-retinopathy"), ``encoder``
    (default: "biomedclip"), ``encoder_options``, ``templates`` and ``rule`` are those of the zero-shot classifier. Any
    other ``classifier`` has labels of its own; ``options`` are its options. To load a model once for many calls, give
    a Classifier: ``ragvlm.load_classifier(...)``.

    Raises ImageError where a picture can't be decoded, InputError for options that don't go together, and what
    ``load_classifier`` raises.
    """
    zero_shot = {
        "labels": labels, "encoder": encoder, "encoder_options": encoder_options, "templates": templates, "rule": rule
    }  # fmt: skip
    given = {name: value for name, value in zero_shot.items() if value is not None} | options
    if isinstance(classifier, str):
        classifier = load_classifier(classifier, **given)
    elif given:
        raise InputError(f"classifier {classifier.name!r} is loaded: give {', '.join(given)} to load_classifier")
    many = isinstance(images, (list, tuple))
    found = [item for batch in batches(classifier, images if many else [images]) for item in batch]
    return found if many else found[0]


def batches(classifier: Classifier, images: Sequence[Any], *, size: int = 16) -> Iterator[list[Classification]]:
    """Classify many pictures with bounded memory: yields the results of ``size`` pictures at a time."""
    for start in range(0, len(images), size):
        yield _batch(classifier, images[start : start + size])


def _batch(classifier: Classifier, images: Sequence[Any]) -> list[Classification]:
    queries = [as_query(item, picture=True) for item in images]
    pictures = []
    for query in queries:
        if query.image is None:
            raise InputError(f"{query.id!r} is words: give a picture to classify")
        pictures.append(query.image)
    probabilities = classifier.classify(pictures)
    if probabilities.shape != (len(pictures), len(classifier.labels)):
        raise RagvlmError(f"classifier {classifier.name!r} gave probabilities of shape {probabilities.shape}")
    provenance = {"encoder": None, "templates": None, **getattr(classifier, "provenance", {})}
    return [
        Classification(
            query_id=query.id,
            labels=classifier.labels,
            probabilities=tuple(row.tolist()),
            rule=classifier.rule,
            classifier=classifier.name,
            provenance=provenance | {"ragvlm": ragvlm.__version__},
        )
        for query, row in zip(queries, probabilities, strict=True)
    ]
