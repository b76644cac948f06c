"""Classifiers: pictures to probabilities of labels. Importing this costs milliseconds; a model loads on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ragvlm.registry import create

if TYPE_CHECKING:
    from ragvlm.types import Classifier

__all__ = ["load_classifier"]


def load_classifier(name: str = "zero-shot", **options: Any) -> Classifier:
    """The classifier ``name``, ready to classify.

    ``name`` is a plug-in's name ("zero-shot", "knn", "probe", "vit", "resnet"), or name and model joined by a colon:
    "image-classifier:ORG/NAME[@REVISION]", "image-classifier:FOLDER". ``options`` go to the plug-in: ``labels``,
    ``encoder``, ``encoder_options``, ``templates`` and ``rule`` to "zero-shot"; ``index``, ``labels``, ``alpha`` and
    ``seed`` to "knn" (with ``k`` and ``calibrate``), "probe" (``strength``, ``calibrate``), "generator" (``generator``,
    ``k``, ``records``) and "zero-shot" (``calibrate``); ``model``, ``revision``, ``device``, ``dtype``, ``batch_size``,
    ``trust_remote_code`` and ``alpha`` to the others.

    Raises InputError for an unknown name or option, MissingExtraError (with the pip command) for an absent
    package, and RagvlmError for weights that can't be had.
    """
    if name == "zero-shot" and options.get("index"):
        from ragvlm.classifiers.zero_shot_index import zero_shot

        return zero_shot(**options)
    return cast("Classifier", create("classifiers", name, options))
