"""A template's turns, asked of one generator: the chain, the budget, and what a generator can't do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from texts import context_of

from ragvlm.errors import InputError
from ragvlm.generators import load_generator
from ragvlm.templates import template_names
from ragvlm.types import Prompt, Query
from ragvlm.writing import Writer

CHAIN = "findings-impression"


class Scripted:
    """Answers each call with the next of ``script``; keeps the prompts of each call."""

    name = "scripted"

    def __init__(self, *script: Sequence[str], **abilities: Any) -> None:
        self.script, self.calls = list(script), list[list[Prompt]]()
        for name, ability in abilities.items():
            setattr(self, name, ability)

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        self.calls.append(list(prompts))
        return list(self.script.pop(0))


def both_turns(writer, *captions):
    return writer.second_turn(writer.first_turn([context_of(caption) for caption in captions]))


def test_the_impression_follows_the_findings_in_two_batched_calls():
    generator = Scripted(["Two cells", "", "Three cells."], ["Normal.", "Many."])
    written = both_turns(Writer(generator, CHAIN), "Two.", "None.", "Three.")
    assert [w.text for w in written] == ["Two cells\n\nNormal.", "", "Three cells.\n\nMany."]
    assert [len(w.prompts) for w in written] == [2, 1, 2]
    assert [len(call) for call in generator.calls] == [3, 2]
    assert 'Findings of the new image: "Two cells"' in generator.calls[1][0].user
    assert "Two." not in generator.calls[1][0].user
    assert generator.calls[1][1].context == context_of("Three.")


def test_what_the_impression_repeats_is_said_once():
    generator = Scripted(["Two cells. One nucleus."], ["two cells.  Normal. One nucleus"])
    assert both_turns(Writer(generator, CHAIN), "Two.")[0].text == "Two cells. One nucleus.\n\nNormal."
    echo = Scripted(["Two cells."], ["Two cells."])
    assert both_turns(Writer(echo, CHAIN), "Two.")[0].text == "Two cells."


def test_nothing_said_first_is_nothing_asked_second():
    generator = Scripted(["", " \u200b\n"])
    assert [w.text.strip() for w in both_turns(Writer(generator, CHAIN), "Two.", "Three.")] == ["", "\u200b"]
    assert len(generator.calls) == 1


def test_references_are_dropped_until_the_generators_own_count_is_met():
    generator = Scripted(["x"], ["x"], fits=lambda prompt: len(prompt.cited_ids) <= 2)
    prompt = Writer(generator).first_turn([context_of("One.", "Two.", "Three.", "Four.")])[0].prompts[0]
    assert (prompt.cited_ids, prompt.dropped) == (("a", "b"), 2)
    both = Writer(generator, max_chars=500).first_turn([context_of("One.", "Two. " * 20, "Three.")])[0].prompts[0]
    assert (both.cited_ids, both.dropped) == (("a",), 2)
    with pytest.raises(InputError, match="with the nearest reference alone is too long for this generator"):
        Writer(Scripted(fits=lambda prompt: False)).first_turn([context_of("One.")])
    with pytest.raises(InputError, match="max_chars is 0"):
        Writer(generator, max_chars=0)


@pytest.mark.parametrize("name", ["consensus", "nearest", "template"])
def test_generators_that_read_no_prompt_take_no_template(name):
    generator = load_generator(name)
    for template in set(template_names()) - {"describe"}:
        with pytest.raises(InputError, match=f"generator '{name}' reads no prompt, so template '{template}'"):
            Writer(generator, template)
    with pytest.raises(InputError, match="hears no question"):
        Writer(generator).check_question()
    assert len(Writer(generator).first_turn([context_of("One cell.")])) == 1


@pytest.mark.parametrize(
    ("abilities", "template", "says"),
    [
        ({}, "few-shot-pictures", "takes one picture a prompt, but template 'few-shot-pictures' shows several"),
        ({"pictures": 0}, "few-shot-pictures", "takes no pictures"),
        ({"pictures": 0}, "zero-shot", "sees no pictures"),
        ({"reads": "question"}, "zero-shot", "reads no prompt"),
        ({"reads": "question"}, CHAIN, "reads no prompt"),
        ({"pictures": 2}, "few-shot-pictures", None),
        ({"pictures": None}, "few-shot-pictures", None),
        ({"pictures": 0}, "few-shot", None),
        ({}, "zero-shot", None),
    ],
)
def test_a_template_that_a_generator_can_not_follow_is_one_clear_line(abilities, template, says):
    generator = Scripted(**abilities)
    if says is None:
        assert Writer(generator, template).template.name == template
        return
    with pytest.raises(InputError, match=says) as told:
        Writer(generator, template)
    assert "\n" not in str(told.value)


def test_a_generator_that_hears_is_asked():
    Writer(Scripted(reads="question")).check_question()
    generator = Scripted(["x"])
    Writer(generator).first_turn([context_of("One cell.", text="How many?")])
    assert 'Asked: "How many?"' in generator.calls[0][0].user
    assert generator.calls[0][0].context.query == Query("query", text="How many?")
