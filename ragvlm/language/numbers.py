"""Numbers in words and digits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from ragvlm.language.sentences import language

_DIGITS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
_SPELT_UP_TO = 12


@cache
def _values() -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    table: dict[str, Any] = language()["numbers"]
    return table["units"], table["tens"], table["scales"]


def spell(n: int) -> str:
    """``n`` as captions write it: 0 to 12 in words ("zero" .. "twelve"), other numbers in digits."""
    if not 0 <= n <= _SPELT_UP_TO:
        return str(n)
    return next(word for word, value in _values()[0].items() if value == n)


@lru_cache(maxsize=1 << 15)
def is_number_word(token: str) -> bool:
    """Whether ``token`` (lower case) is digits, a number word, or number words with hyphens ("twenty-one")."""
    if _DIGITS.fullmatch(token):
        return True
    units, tens, scales = _values()
    return all(part in units or part in tens or part in scales for part in token.split("-"))


def parse_number(tokens: Sequence[str]) -> tuple[float, int] | None:
    """The number at the start of ``tokens`` (lower case) and how many of them it takes; None where there is none.

    ``["two", "hundred", "and", "five", "cells"]`` -> (205.0, 4); ``["1,200"]`` -> (1200.0, 1).
    """
    if not tokens or not is_number_word(tokens[0]):
        return None
    if _DIGITS.fullmatch(tokens[0]):
        value, taken = float(tokens[0].replace(",", "")), 1
        while taken < len(tokens) and tokens[taken] in _values()[2]:
            value, taken = value * _values()[2][tokens[taken]], taken + 1
        return value, taken
    return _spelt(tokens)


def _spelt(tokens: Sequence[str]) -> tuple[float, int]:
    units, tens, scales = _values()
    total, group, taken, last = 0, 0, 0, 0
    while taken < len(tokens):
        joined = tokens[taken] == "and" and last in scales.values() and taken + 1 < len(tokens)
        token = tokens[taken + 1] if joined else tokens[taken]
        if _DIGITS.fullmatch(token) or not is_number_word(token) or not _may_follow(last, token):
            break
        for part in token.split("-"):
            last = units.get(part) or tens.get(part) or scales.get(part) or 0
            if part in scales or (last == 12 and part == "dozen"):
                group = max(group, 1) * last
            else:
                group += last
            if last >= 1000:
                total, group = total + group, 0
        taken += 2 if joined else 1
    return float(total + group), taken


def _may_follow(last: int, token: str) -> bool:
    """Whether ``token`` goes on with a number whose last part was ``last``: "two hundred" yes, "one two" no."""
    units, tens, scales = _values()
    first = token.split("-", maxsplit=1)[0]
    if last == 0 or first in scales or first == "dozen":
        return True
    if first in tens:
        return last in scales.values()
    return last in scales.values() or (last in tens.values() and 0 < units.get(first, 0) < 10)
