"""Batches, checks and normalisation, on an encoder that can be checked by eye."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ragvlm.encoders import load_encoder
from ragvlm.encoders.base import BaseEncoder, fingerprint
from ragvlm.errors import InputError, RagvlmError
from ragvlm.types import Encoder, Float32


class Ruler(BaseEncoder):
    """Pictures become (width, height); texts become (length, 1, number of a's)."""

    def __init__(self, batch_size: int = 16) -> None:
        super().__init__(batch_size=batch_size)
        self.name = "ruler"
        self.fingerprint = fingerprint({"weights": "none"})
        self.image_dim, self.text_dim, self.shared_space = 2, 3, False
        self.batches: list[int] = []

    def image_batch(self, images: Sequence[Image.Image]) -> Float32:
        self.batches.append(len(images))
        return np.array([image.size for image in images], dtype=np.float32)

    def text_batch(self, texts: Sequence[str]) -> Float32:
        self.batches.append(len(texts))
        return np.array([[len(t), 1, t.count("a")] for t in texts], dtype=np.float32)


def test_rows_are_of_length_one_and_keep_their_direction() -> None:
    vectors = Ruler().encode_images([Image.new("RGB", (3, 4)), Image.new("RGB", (8, 6))])
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0.8, 0.6]], rtol=1e-6)
    assert vectors.dtype == np.float32


def test_batches_are_filled_to_the_batch_size() -> None:
    ruler = Ruler(batch_size=2)
    ruler.encode_images([Image.new("RGB", (1, 1))] * 5)
    assert ruler.batches == [2, 2, 1]


@given(st.lists(st.text(min_size=1).filter(lambda t: bool(t.strip())), max_size=12), st.integers(1, 5))
def test_texts_come_back_in_their_order_whatever_the_batch_size(texts: list[str], batch_size: int) -> None:
    wanted = np.array([[len(t), 1, t.count("a")] for t in texts], dtype=np.float64).reshape(-1, 3)
    wanted /= np.maximum(np.linalg.norm(wanted, axis=1, keepdims=True), 1)
    found = Ruler(batch_size).encode_texts(texts)
    assert found.shape == (len(texts), 3)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_it_fulfils_the_protocol() -> None:
    assert isinstance(Ruler(), Encoder)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (Image.new("RGB", (2, 2)), "list of pictures"),
        ("cells.png", "list of pictures"),
        ([Image.new("RGB", (2, 2)), "cells.png"], "picture 1 is a str"),
        ([Image.new("I;16", (2, 2))], "picture 0 has mode 'I;16'"),
        ([Image.new("RGB", (0, 5))], "picture 0 has no pixels"),
    ],
)
def test_what_is_no_rgb_picture_is_refused_by_position(images: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Ruler().encode_images(images)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("texts", "message"),
    [("nuclei", "list of texts"), (["a", None], "text 1 is a NoneType"), (["a", "b", " \n"], "text 2 is empty")],
)
def test_what_is_no_text_is_refused_by_position(texts: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Ruler().encode_texts(texts)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [np.zeros((1, 2)), np.full((1, 2), np.nan), np.array([[np.inf, 1]])])
def test_a_vector_without_direction_is_an_error(bad: Float32, monkeypatch: pytest.MonkeyPatch) -> None:
    ruler = Ruler()
    monkeypatch.setattr(ruler, "image_batch", lambda images: bad)
    with pytest.raises(RagvlmError, match="zero or not finite"):
        ruler.encode_images([Image.new("RGB", (2, 2))])


def test_a_plug_in_that_gives_another_shape_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ruler = Ruler()
    monkeypatch.setattr(ruler, "image_batch", lambda images: np.ones((1, 7)))
    with pytest.raises(RagvlmError, match=r"'ruler' gave vectors of shape \(1, 7\), not \(1, 2\)"):
        ruler.encode_images([Image.new("RGB", (2, 2))])


def test_batch_size_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="batch_size is 0"):
        Ruler(batch_size=0)


def test_fingerprint_ignores_order_and_sees_every_value() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1, "b": [2]}) != fingerprint({"a": 1, "b": [3]})


def test_unknown_names_and_options_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown encoder 'clop': choose one of .*embedded"):
        load_encoder("clop")
    with pytest.raises(InputError, match=r"'embedded' has no option 'treads': it takes .*threads"):
        load_encoder("embedded", treads=2)
    with pytest.raises(InputError, match="'embedded' has no option 'model'"):
        load_encoder("embedded:other")
