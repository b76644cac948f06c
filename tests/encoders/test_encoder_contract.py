"""What every usable encoder must keep: one suite for all, on real pictures."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragvlm.types import Encoder

TEXTS = [
    "nuclei",
    "Light micrograph of a stained peripheral blood smear showing one white blood cell and no platelets.",
    "coffee cup",
    "cell nucleus",
    "Fluorescence micrograph of many single nucleosomes as small bright spots scattered over a dark field. " * 30,
]


@pytest.fixture(
    params=[
        "embedded",
        "tiny_openclip",
        "tiny_clip",
        "tiny_siglip",
        "tiny_siglip2",
        "tiny_vit",
        "tiny_resnet",
        "tiny_onnx",
        "tiny_int8",
    ]
)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    """Each encoder in turn; one whose packages are absent skips."""
    found: Encoder = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def pictures(shared_data: Path) -> list[Image.Image]:
    folder = shared_data / "blood-cells"
    rows = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()[:5]
    smears = [Image.open(folder / json.loads(row)["file_name"]).convert("RGB") for row in rows]
    return [*smears, smears[0].crop((0, 0, 640, 90)), Image.new("RGB", (1, 1), "white")]


def test_it_fulfils_the_protocol(encoder: Encoder) -> None:
    assert isinstance(encoder, Encoder)
    assert len(encoder.fingerprint) == 64
    assert int(encoder.fingerprint, 16) > 0


def test_pictures_become_unit_rows(encoder: Encoder, pictures: list[Image.Image]) -> None:
    vectors = encoder.encode_images(pictures)
    assert vectors.shape == (len(pictures), encoder.image_dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_inputs_made_one_by_one_give_the_same_vectors(encoder: Encoder, pictures: list[Image.Image]) -> None:
    with ThreadPoolExecutor(3) as pool:
        inputs = list(pool.map(encoder.image_input, pictures))  # type: ignore[attr-defined]
    found = encoder.encode_inputs(inputs)  # type: ignore[attr-defined]
    np.testing.assert_allclose(found, encoder.encode_images(pictures), atol=1e-5)


def test_the_input_size_is_that_of_the_tower(encoder: Encoder, request: pytest.FixtureRequest) -> None:
    known = {"embedded": 224, "tiny_openclip": 32, "tiny_clip": 32, "tiny_siglip": 32, "tiny_onnx": 32, "tiny_int8": 32}
    assert encoder.input_size == known.get(request.node.callspec.params["encoder"])  # type: ignore[attr-defined]


def test_texts_become_unit_rows(encoder: Encoder) -> None:
    vectors = encoder.encode_texts(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.text_dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_nothing_becomes_no_rows(encoder: Encoder) -> None:
    assert encoder.encode_images([]).shape == (0, encoder.image_dim)
    assert encoder.encode_texts([]).shape == (0, encoder.text_dim)


def test_the_vectors_do_not_depend_on_the_batch_size(
    encoder: Encoder, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, texts = encoder.encode_images(pictures), encoder.encode_texts(TEXTS)
    for batch_size in (1, 3):
        monkeypatch.setattr(encoder, "batch_size", batch_size)
        np.testing.assert_allclose(encoder.encode_images(pictures), images, atol=1e-5)
        np.testing.assert_allclose(encoder.encode_texts(TEXTS), texts, atol=1e-5)


def test_the_same_input_gives_the_same_bits(encoder: Encoder, pictures: list[Image.Image]) -> None:
    np.testing.assert_array_equal(encoder.encode_images(pictures), encoder.encode_images(pictures))
    np.testing.assert_array_equal(encoder.encode_texts(TEXTS), encoder.encode_texts(TEXTS))


def test_different_inputs_give_different_vectors(encoder: Encoder, pictures: list[Image.Image]) -> None:
    for vectors in (encoder.encode_images(pictures), encoder.encode_texts(TEXTS)):
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, 0)
        assert cosines.max() < 0.9999


def test_towers_of_one_space_have_one_width(encoder: Encoder) -> None:
    assert not encoder.shared_space or encoder.image_dim == encoder.text_dim
