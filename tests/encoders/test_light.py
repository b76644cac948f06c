"""Preprocessing without transformers says what transformers says, to the bit of a token and 1e-5 of a pixel."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from checkpoints import LETTERS, WORDS, gemma
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ragvlm.encoders.light import PixelRule, TokenRule
from ragvlm.encoders.tokenizer_json import tokenizer_json
from ragvlm.errors import RagvlmError

SQUARE = {"height": 20, "width": 24}
SETTINGS: dict[str, dict[str, Any]] = {
    "CLIP": {"size": {"shortest_edge": 21}, "crop_size": SQUARE},
    "CLIP, crop larger than the picture": {"size": {"shortest_edge": 9}, "crop_size": SQUARE},
    "CLIP without resizing": {"do_resize": False, "crop_size": SQUARE},
    "CLIP to a square, nearest pixel": {"size": SQUARE, "do_center_crop": False, "resample": 0},
    "SigLIP": {"size": SQUARE},
    "SigLIP, bilinear, no scaling": {"size": SQUARE, "resample": 2, "do_rescale": False},
    "SigLIP, numbers as they are": {"size": SQUARE, "do_normalize": False, "image_std": [0.1, 0.2, 0.3]},
    "SigLIP, other statistics": {"size": SQUARE, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
}


def processor(name: str) -> Any:
    from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

    kind = CLIPImageProcessorPil if name.startswith("CLIP") else SiglipImageProcessorPil
    return kind(**SETTINGS[name])


@pytest.mark.parametrize("name", list(SETTINGS))
@settings(max_examples=25, deadline=None)
@given(size=st.tuples(st.integers(1, 70), st.integers(1, 70)), seed=st.integers(0, 9))
def test_pixels_are_those_of_transformers(name: str, size: tuple[int, int], seed: int) -> None:
    theirs = processor(name)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    pictures = [Image.fromarray(pixels), Image.fromarray(pixels[::-1].copy())]
    rule = PixelRule.of_processor(theirs.to_dict())
    found = PixelRule.from_dict(json.loads(json.dumps(asdict(rule)))).pixels(pictures)
    wanted = np.asarray(theirs(images=pictures, return_tensors="np")["pixel_values"])
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"do_resize": True, "size": {"shortest_edge": 20, "longest_edge": 40}},
        {"do_resize": True, "size": {"shortest_edge": 20}},
        {"do_resize": True, "size": {"height": 20, "width": 20}, "do_pad": True},
        {"do_resize": True, "size": {"max_height": 20, "max_width": 20}},
        {"do_resize": False},
    ],
    ids=str,
)
def test_pictures_of_changing_shape_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(RagvlmError, match="its pictures"):
        PixelRule.of_processor(settings)


@pytest.fixture(scope="module")
def siglip_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """SigLIP's tokenizer around a SentencePiece model of some hundred pieces."""
    sentencepiece = pytest.importorskip("sentencepiece")
    from transformers import SiglipTokenizer

    stream, folder = io.BytesIO(), tmp_path_factory.mktemp("spm")
    sentences = [WORDS, *WORDS.split(), *(f"{a} {b}" for a in WORDS.split() for b in WORDS.split()), LETTERS]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=stream, vocab_size=300, hard_vocab_limit=False, pad_id=-1,
        bos_id=-1, eos_id=1, unk_id=2, control_symbols=["<pad>"], minloglevel=2,
    )  # fmt: skip
    (folder / "spiece.model").write_bytes(stream.getvalue())
    return SiglipTokenizer(str(folder / "spiece.model"), model_input_names=["input_ids"])


TEXTS = st.text(
    alphabet=st.one_of(st.sampled_from(WORDS + ".,-_▁A"), st.characters(exclude_categories=["Cs"])), max_size=60
)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
@pytest.mark.parametrize("lower", [True, False])
def test_siglips_tokens_are_those_of_sentencepiece(siglip_tokenizer: Any, lower: bool, text: str) -> None:
    from tokenizers import Tokenizer

    siglip_tokenizer.do_lower_case = lower
    found = Tokenizer.from_str(tokenizer_json(siglip_tokenizer)).encode(text).ids
    assert found == siglip_tokenizer(text)["input_ids"]


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=3), full=st.booleans())
@pytest.mark.parametrize("side", ["left", "right"])
def test_cutting_and_padding_are_those_of_transformers(
    side: str, full: bool, texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    theirs, path = gemma(), tmp_path_factory.getbasetemp() / "tokenizer.json"
    theirs.padding_side = theirs.truncation_side = side
    path.write_text(tokenizer_json(theirs), encoding="utf-8")
    inputs = ("input_ids", "attention_mask")
    rule = TokenRule(12, full, theirs.pad_token_id, theirs.pad_token, side, side, inputs)
    again = TokenRule.from_dict(json.loads(json.dumps(asdict(rule))))
    found = again.tokens(again.open(path), texts)
    padding = "max_length" if full else "longest"
    wanted = theirs(
        texts, padding=padding, truncation=True, max_length=12, return_tensors="np", return_attention_mask=True
    )
    for name in inputs:
        np.testing.assert_array_equal(found[name], wanted[name])


def test_a_tokenizer_without_a_counterpart_is_refused() -> None:
    with pytest.raises(RagvlmError, match=r"its tokenizer \(object\) runs in Python alone"):
        tokenizer_json(object())
