"""Picture classifiers of transformers: against its own forward pass, on tiny checkpoints and real pictures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hubserver import COMMIT, the_only_hub
from PIL import Image
from tinyclassifiers import LABELS, build, edit

from ragvlm.classifiers import load_classifier
from ragvlm.classifiers.image import ImageClassifier
from ragvlm.errors import InputError, RagvlmError
from ragvlm.registry import entries
from ragvlm.types import Classifier

Family = Callable[[str], Path]


def load(folder: Path, **options: Any) -> ImageClassifier:
    found = load_classifier(f"image-classifier:{folder}", **options)
    assert isinstance(found, ImageClassifier)
    return found


def logits(folder: Path, pictures: list[Image.Image]) -> Any:
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=pictures, return_tensors="pt")
    with torch.inference_mode():
        return AutoModelForImageClassification.from_pretrained(folder).eval()(**pixels).logits


@pytest.mark.parametrize("family", ["vit", "resnet", "swin", "convnext", "deit"])
def test_the_probabilities_are_those_of_transformers(
    family: str, classifiers: Family, pictures: list[Image.Image]
) -> None:
    classifier = load(classifiers(family))
    assert isinstance(classifier, Classifier)
    found = classifier.classify(pictures)
    np.testing.assert_allclose(found, logits(classifiers(family), pictures).softmax(-1).numpy(), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert (found.dtype, classifier.labels, classifier.rule) == (np.float32, LABELS, "softmax")
    assert found.std() > 0.1
    np.testing.assert_allclose(load(classifiers(family), batch_size=1).classify(pictures), found, atol=1e-5)
    assert classifier.classify([]).shape == (0, 4)


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_several_labels_at_once_are_judged_each_by_itself(
    family: str, pictures: list[Image.Image], tmp_path: Path
) -> None:
    folder = build(family, tmp_path / family, problem_type="multi_label_classification")
    classifier = load(folder)
    assert classifier.rule == "sigmoid"
    np.testing.assert_allclose(classifier.classify(pictures), logits(folder, pictures).sigmoid().numpy(), atol=1e-5)


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_the_named_rows_come_from_the_hub_once(
    family: str, classifiers: Family, pictures: list[Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = str(entries("classifiers")[family].hub_id)
    with the_only_hub({repo: classifiers(family)}, tmp_path / "cache", monkeypatch) as hub:
        classifier = load_classifier(family, revision=COMMIT)
        assert classifier.name == f"image-classifier:{repo}@{COMMIT}"
        wanted = load(classifiers(family)).classify(pictures)
        np.testing.assert_array_equal(classifier.classify(pictures), wanted)
        asked = len(hub.requests)
        assert load_classifier(classifier.name).labels == LABELS
        assert ImageClassifier.fetch(f"{repo}@{COMMIT}")[0].is_dir()
        assert len(hub.requests) == asked
        with pytest.raises(RagvlmError, match=r"has no revision '3f49326|has no revision '34c2154"):
            load_classifier(family)  # the row pins a commit of the true hub


def test_what_cannot_be_is_one_line(classifiers: Family, tmp_path: Path) -> None:
    def altered(family: str, **changes: Any) -> Path:
        return edit(
            shutil.copytree(classifiers(family), tmp_path / f"{family}{len(list(tmp_path.iterdir()))}"), **changes
        )

    config = {"name": "config.json"}
    for folder, options, message in (
        (classifiers("dinov2"), {}, r"2 weights are missing, .+'classifier.bias'.+trained to classify"),
        (altered("vit", **config, problem_type="regression"), {}, "trained for regression"),
        (altered("vit", **config, model_type="vit_mae"), {}, "'vit_mae' model, not one that classifies pictures"),
        (altered("vit", **config, auto_map={"AutoModel": "x.X"}), {}, "brings Python code of its own"),
        (altered("resnet", **config, hidden_sizes=[16, 41]), {}, "can't be loaded"),
        (classifiers("vit"), {"batch_size": 0}, "batch_size is 0"),
        (classifiers("vit"), {"dtype": "int8"}, "dtype 'int8': give one of auto"),
        (classifiers("vit"), {"labels": ["a"]}, "has no option 'labels': it takes model"),
        (tmp_path / "none", {}, "neither a folder nor a hub id"),
    ):
        with pytest.raises(RagvlmError, match=message) as caught:
            load(folder, **options)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("images", ["a.png", [Image.new("L", (8, 8))], ["a.png"]])
def test_what_is_no_list_of_pictures_is_refused(images: Any, classifiers: Family) -> None:
    with pytest.raises(InputError, match=r"list of pictures|mode 'L'|is a str"):
        load(classifiers("vit")).classify(images)
