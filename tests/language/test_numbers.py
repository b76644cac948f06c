"""Numbers in words and digits, against an independent speller."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragvlm.language.numbers import is_number_word, parse_number, spell

ONES = re.findall(
    r"\w+",
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen""",
)
TENS = re.findall(r"\w+", "twenty thirty forty fifty sixty seventy eighty ninety")


def in_words(n: int) -> str:
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f"-{ONES[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{ONES[n // 100]} hundred" + (f" and {in_words(n % 100)}" if n % 100 else "")
    rest = n % 1000
    return f"{in_words(n // 1000)} thousand" + (f"{' and' if rest < 100 else ''} {in_words(rest)}" if rest else "")


@given(st.integers(0, 999_999))
def test_words_and_digits_are_one_number(n):
    words = in_words(n).split()
    assert parse_number([*words, "cells"]) == (n, len(words))
    assert parse_number([str(n), "cells"]) == (n, 1)
    assert parse_number([f"{n:,}"]) == (n, 1)


@pytest.mark.parametrize(
    ("text", "value", "taken"),
    [
        ("two dozen cells", 24, 2),
        ("a", None, 0),
        ("dozen", 12, 1),
        ("0.5 um", 0.5, 1),
        ("3 million reads", 3e6, 2),
        ("one two", 1, 1),
        ("twenty one", 21, 2),
        ("two and three", 2, 1),
        ("cells", None, 0),
        ("", None, 0),
    ],
)
def test_examples(text, value, taken):
    assert parse_number(text.split()) == (None if value is None else (value, taken))


def test_spelling_stops_at_twelve():
    assert [spell(n) for n in (0, 1, 12, 13, -1)] == ["zero", "one", "twelve", "13", "-1"]
    assert all(parse_number([spell(n)]) == (n, 1) for n in range(40))


def test_number_words():
    assert is_number_word("twenty-one")
    assert not is_number_word("two-cell")
