"""No caption, question or draft brings a special token into what a vision-language model reads."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import tinyvlm
from hostile import TOKENS, TURNS, prompt_of, texts
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ragvlm.generators.vlm_dialects import dialect_of
from ragvlm.prompt import clean

pytest.importorskip("transformers")

# SmolVLM2's tokenizer and chat template are SmolVLM's here
FAMILIES = {"smolvlm": "idefics3", "llava": "llava", "paligemma": "paligemma", "blip2-t5": "blip-2", "git": "git"}


@cache
def dialect_with_tokens(family: str) -> Any:
    """The family's way to ask, its tokenizer taught the special tokens of many others."""
    processor, _ = tinyvlm.BUILDERS[family]()
    processor.tokenizer.add_tokens(list(TOKENS), special_tokens=True)
    return dialect_of(processor, FAMILIES[family], family)(processor, family, neighbours=0, task=None)


def special_ids(dialect: Any, text: str) -> list[int]:
    """The special tokens of ``text``; a character that a tokenizer doesn't know steers nothing."""
    tokenizer = dialect.processor.tokenizer
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()} - {tokenizer.unk_token_id}
    return [i for i in tokenizer(text)["input_ids"] if i in special]


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=60, deadline=None)
@given(turn=st.sampled_from(TURNS), captions=st.lists(texts, max_size=3), question=texts, draft=texts)
@example(turn=TURNS[0], captions=list(TOKENS), question=" ".join(TOKENS), draft="")
@example(turn=("findings-impression", "then"), captions=[], question="", draft=" ".join(TOKENS))
def test_special_tokens_come_from_the_template_alone(family, turn, captions, question, draft):
    dialect = dialect_with_tokens(family)
    harmless = [text and "Two cells." for text in map(clean, [*captions, question, draft])]
    calm = prompt_of(*turn, harmless[:-2], *harmless[-2:])
    hostile = prompt_of(*turn, captions, question, draft)
    assert special_ids(dialect, dialect.text(hostile)) == special_ids(dialect, dialect.text(calm))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tokens_would_be_special_if_they_came_through(family):
    dialect = dialect_with_tokens(family)
    bare = len(special_ids(dialect, "Two cells"))
    assert all(len(special_ids(dialect, f"Two {token} cells")) == bare + 1 for token in TOKENS)
