"""Zero-shot: against the logits of transformers' own CLIP and SigLIP, on real pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ragvlm.classifiers import load_classifier
from ragvlm.classifiers.zero_shot import CHOICES, ZeroShotClassifier
from ragvlm.encoders import load_encoder
from ragvlm.errors import InputError
from ragvlm.registry import entries
from ragvlm.types import Classifier, Encoder

LABELS = ["white cell", "red cell", "nuclei"]
FAMILIES = ("clip", "siglip")


def forward(folder: Path, pictures: list[Image.Image], texts: Sequence[str]) -> Any:
    """transformers' own forward pass, padded as each family was trained."""
    import torch
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    padding = {"padding": "max_length", "max_length": 64} if folder.name == "siglip" else {"padding": True}
    tokens = AutoTokenizer.from_pretrained(folder)(list(texts), return_tensors="pt", **padding)
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=pictures, return_tensors="pt")
    with torch.inference_mode():
        return AutoModel.from_pretrained(folder).eval()(**tokens, **pixels)


def load(folder: Path, labels: Any = LABELS, **options: Any) -> ZeroShotClassifier:
    found = load_classifier("zero-shot", labels=labels, encoder=f"transformers:{folder}", **options)
    assert isinstance(found, ZeroShotClassifier)
    assert isinstance(found, Classifier)
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("template", [None, "a light micrograph of a {label}."])
def test_the_probabilities_are_those_of_the_models_own_logits(
    family: str, template: str | None, dual: dict[str, Path], pictures: list[Image.Image]
) -> None:
    classifier = load(dual[family], templates=template)
    texts = [(template or "{label}").replace("{label}", label) for label in LABELS]
    wanted = forward(dual[family], pictures, texts).logits_per_image
    wanted = wanted.softmax(-1) if family == "clip" else wanted.sigmoid()
    found = classifier.classify(pictures)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
    assert found.dtype == np.float32
    assert np.ptp(found, axis=1).max() > 0.01
    assert classifier.rule == ("softmax" if family == "clip" else "sigmoid")
    assert classifier.classify([]).shape == (0, 3)


def test_a_sigmoid_model_may_share_one_among_the_labels(dual: dict[str, Path], pictures: list[Image.Image]) -> None:
    found = load(dual["siglip"], rule="softmax").classify(pictures)
    wanted = forward(dual["siglip"], pictures, LABELS).logits_per_image.softmax(-1).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert load(dual["siglip"], ["white cell"]).classify(pictures).shape == (3, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_templates_and_phrases_make_an_ensemble(
    family: str, dual: dict[str, Path], pictures: list[Image.Image], tmp_path: Path
) -> None:
    (tmp_path / "cells.toml").write_text(
        'name = "cells"\ntemplates = ["a {label}", "many {label}"]\n'
        '[[labels]]\nname = "White"\nprompts = ["white cell", "nuclei"]\n[[labels]]\nname = "Red"\n'
    )
    classifier = load(dual[family], tmp_path / "cells.toml")
    encoder = classifier.encoder
    groups = [["a white cell", "a nuclei", "many white cell", "many nuclei"], ["a Red", "many Red"]]
    means = []
    for group in groups:
        vectors = forward(dual[family], pictures[:1], group).text_embeds.numpy()
        mean = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(axis=0)
        means.append(mean / np.linalg.norm(mean))
    cosines = encoder.encode_images(pictures) @ np.array(means).T
    logits = cosines * np.exp(1.5) - (2.0 if family == "siglip" else 0.0)
    wanted = 1 / (1 + np.exp(-logits)) if family == "siglip" else np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(classifier.classify(pictures), wanted, atol=1e-5)
    assert classifier.labels == ("White", "Red")
    assert classifier.provenance["templates"] == ["a {label}", "many {label}"]
    assert classifier.provenance["label_set"] == "cells"
    one = load(dual[family], tmp_path / "cells.toml", templates="a {label}")
    assert not np.allclose(one.classify(pictures), wanted, atol=1e-3)


def test_the_shipped_set_goes_through_any_encoder(dual: dict[str, Path], pictures: list[Image.Image]) -> None:
    classifier = load(dual["clip"], "diabetic-retinopathy")
    assert len(classifier.labels) == 5
    np.testing.assert_allclose(classifier.classify(pictures).sum(axis=1), 1, atol=1e-6)


def test_an_encoder_object_is_taken_as_it_is(dual: dict[str, Path]) -> None:
    encoder = load_encoder(f"transformers:{dual['clip']}")
    assert load_classifier(labels=LABELS, encoder=encoder).encoder is encoder  # type: ignore[attr-defined]


class Wordless:
    """A shared space, and nothing that makes probabilities of it."""

    name, fingerprint, image_dim, text_dim, shared_space = "wordless", "0" * 64, 2, 2, True

    def encode_images(self, images: Sequence[Image.Image]) -> Any:
        return np.ones((len(images), 2), np.float32)

    def encode_texts(self, texts: Sequence[str]) -> Any:
        return np.ones((len(texts), 2), np.float32)


def test_what_cannot_be_is_one_line(dual: dict[str, Path]) -> None:
    clip: str | Encoder = f"transformers:{dual['clip']}"
    for labels, options, message in (
        (LABELS, {"encoder": "embedded"}, "encoder 'embedded' has no common space .+ such as biomedclip, medsiglip"),
        (LABELS, {"encoder": Wordless()}, "encoder 'wordless' has no rule that makes probabilities"),
        (LABELS, {"encoder": clip, "rule": "sigmoid"}, "rule 'sigmoid' needs a learnt bias"),
        (LABELS, {"encoder": clip, "rule": "argmax"}, "rule 'argmax': give softmax, sigmoid, or none"),
        (["cell"], {"encoder": clip}, "one label, 'cell', has probability 1 .+diabetic-retinopathy"),
        ((), {"encoder": clip}, "there are none: give two or more words"),
        (LABELS, {"encoder": clip, "templates": ["a cell"]}, r"template 'a cell' has no \{label\}"),
        (LABELS, {"encoder": "no-such"}, "unknown encoder 'no-such'"),
        (LABELS, {"encoder": clip, "encoder_options": {"dtype": "int8"}}, "dtype 'int8'"),
        (LABELS, {"encoder": clip, "device": "cpu"}, "has no option 'device': it takes labels, encoder"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            load_classifier("zero-shot", labels=labels, **options)
        assert "\n" not in str(caught.value)


def test_the_encoders_that_an_error_names_are_there() -> None:
    assert set(CHOICES) <= set(entries("encoders"))
