"""Words that exclude each other, by axis: left and right, sparse and crowded (tables in ``data/language.toml``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache

from ragvlm.language.sentences import language

_WORD = re.compile(r"\w+")


@cache
def _axes() -> list[tuple[str, re.Pattern[str], dict[str, tuple[str, ...]], frozenset[str]]]:
    """For each axis: its name, the pattern of its words (longest first), the values that a word stands for, and what
    its words begin with."""
    out = []
    for axis, table in language()["axes"].items():
        groups = {value: words for value, words in table.items() if isinstance(words, list)}
        values = tuple(value for value in groups if value != "all")
        known = {word: values if value == "all" else (value,) for value, words in groups.items() for word in words}
        choice = "|".join(re.escape(word) for word in sorted(known, key=len, reverse=True))
        starts = frozenset(match.group() for word in known if (match := _WORD.match(word)))
        out.append((axis, re.compile(rf"(?<![\w-])(?:{choice})(?![\w-])"), known, starts))
    return out


def places_of(text: str) -> Iterable[tuple[str, str]]:
    """(axis, value) of each such word in ``text`` (lower case)."""
    words = frozenset(_WORD.findall(text))
    for axis, pattern, known, starts in _axes():
        if words.isdisjoint(starts):  # as in most sentences, and the pattern is slow
            continue
        for match in pattern.finditer(text):
            for value in known[match.group()]:
                yield axis, value


@lru_cache(maxsize=1 << 15)
def _stated_values(token: str) -> tuple[str, ...]:
    return next((known[token] for axis, _, known, _ in _axes() if token in known and is_stated(axis)), ())


def positions_of(tokens: Sequence[str]) -> Iterable[frozenset[str]]:
    """What place words that stand side by side say together: "right lower", "upper middle"."""
    run: list[str] = []
    for token in [*tokens, "."]:
        if values := _stated_values(token):
            run.extend(values)
            continue
        if len(run) > 1:
            yield frozenset(run)
        run = []


def is_stated(axis: str) -> bool:
    """Whether a word of ``axis`` must stand in the reference itself."""
    return bool(language()["axes"][axis].get("stated"))
