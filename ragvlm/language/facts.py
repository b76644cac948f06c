"""The checkable facts of an English sentence: numbers with their nouns, negations, places, names.

A shallow reading by tables (``data/language.toml``), not a parser: it is there to catch what sentence embeddings
miss, since "right lower lobe" and "right upper lobe" have almost equal vectors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from ragvlm.language.numbers import parse_number
from ragvlm.language.places import places_of, positions_of
from ragvlm.language.sentences import language

Phrase = tuple[str, ...]

_TOKEN = re.compile(
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+[A-Z][A-Za-z0-9]+|\d+(?:\.\d+)?|[^\W\d_][\w'’&+]*(?:-[\w'’&+]+)*|[<>]=|[^\s\w]"
)
_CONTENT = re.compile(r"[^\W_]|%|×")
_FILLERS = frozenset({"of", "the", "these", "those", "its", "their", "any", "a", "an", "all"})
_LINKS = frozenset({":", "=", "is", "are", "was", "were", "of", "~", "about", "approximately"})


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number or a range with the noun phrase that it counts or measures (empty where none is found).

    ``about``: the sentence itself widens it; ``article``: it is only the 1 that "a" or "an" implies.
    """

    low: float
    high: float
    noun: Phrase
    about: bool = False
    article: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What one or several sentences state; noun phrases are stems in order, the head last.

    ``places`` are (axis, value), ``positions`` the values that stand side by side.
    """

    quantities: tuple[Quantity, ...] = ()
    affirmed: frozenset[Phrase] = frozenset()
    negated: frozenset[Phrase] = frozenset()
    places: frozenset[tuple[str, str]] = frozenset()
    positions: frozenset[frozenset[str]] = frozenset()
    names: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()

    def __or__(self, other: Facts) -> Facts:
        """The facts of both."""
        return Facts(
            self.quantities + other.quantities,
            self.affirmed | other.affirmed,
            self.negated | other.negated,
            self.places | other.places,
            self.positions | other.positions,
            self.names | other.names,
            self.words | other.words,
        )


_WORDS = 1 << 15
"""Words that are kept: the same few thousand occur in every text of a corpus."""


@cache
def _tables() -> dict[str, frozenset[str]]:
    text: dict[str, Any] = language()
    spread = {f"{part}.{key}": text[part][key] for part in ("phrases", "negation", "numbers") for key in text[part]}
    return {key: frozenset(value) for key, value in spread.items() if isinstance(value, list)}


@lru_cache(maxsize=8192)
def facts_of(sentence: str) -> Facts:
    """The facts of one English ``sentence``."""
    raw = [token.replace("’", "'") for token in _TOKEN.findall(sentence)]
    tokens = [token.lower() for token in raw]
    reader = _Reader(tokens)
    names = {low for i, (token, low) in enumerate(zip(raw, tokens, strict=True)) if _is_name(token, first=i == 0)}
    return Facts(
        tuple(reader.quantities),
        frozenset(run for start, run in reader.runs.items() if start not in reader.denied),
        frozenset(reader.negated),
        frozenset(places_of(" ".join(tokens))),
        frozenset(positions_of(tokens)),
        frozenset() if sentence.isupper() else frozenset(names),
        frozenset().union(*map(_forms, tokens)),
    )


@lru_cache(maxsize=_WORDS)
def stem(word: str) -> str:
    """The singular of ``word`` (lower case), by rule; units get one name."""
    nouns, units = language()["nouns"], language()["phrases"]["units"]
    single = str(nouns["singular"].get(word, ""))
    if not single:
        single = word if word in nouns["same"] else _strip(word)
    return str(units.get(single, single))


@cache
def _units() -> frozenset[str]:
    return frozenset(language()["phrases"]["units"].values())


def _strip(word: str) -> str:
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "xes", "ches", "shes")) else word[:-1]


@lru_cache(maxsize=_WORDS)
def squash(word: str) -> str:
    """Letters and digits of ``word`` alone, lower case: "Ki-67" -> "ki67"."""
    return re.sub(r"[\W_]", "", word).lower()


@lru_cache(maxsize=_WORDS)
def _is_name(token: str, *, first: bool) -> bool:
    """Whether ``token`` is a code such as DAPI or p53 or, not at the start of its sentence, a name such as Giemsa."""
    letters = re.sub(r"[\W\d_]", "", token)
    code = sum(c.isupper() for c in letters) > 1 or (bool(letters) and bool(re.search(r"\d", token)))
    return code or (not first and len(letters) > 1 and letters[0].isupper())


@lru_cache(maxsize=_WORDS)
def _parts_runs(token: str) -> bool:
    """Whether ``token`` belongs to no run of content words."""
    parts = ("phrases.stop", "negation.before", "negation.not", "negation.after", "numbers.vague")
    return any(token in _tables()[part] for part in parts) or token.endswith("n't") or not _CONTENT.match(token)


@lru_cache(maxsize=_WORDS)
def _forms(token: str) -> frozenset[str]:
    return frozenset((stem(token), squash(token), *token.split("-")))


class _Reader:
    """One pass for numbers, one for noun phrases, one for negations; positions are indices of ``tokens``."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tokens
        self.quantities: list[Quantity] = []
        self.negated: list[Phrase] = []
        self.denied: set[int] = set()
        self._numbers, self._bounds = self._find_numbers()
        self._counted = {i for start, (_, _, end) in self._numbers.items() for i in range(start, end)} | self._bounds
        self.runs, self._length = self._find_runs()
        self._read_negations()
        self._read_quantities()

    def _find_numbers(self) -> tuple[dict[int, tuple[float, float, int]], set[int]]:
        """Start -> (low, high, end) of each number or range, and the positions of words that bound a number."""
        found: dict[int, tuple[float, float, int]] = {}
        i = 0
        while i < len(self.tokens):
            first = parse_number(self.tokens[i:])
            if first is None:
                i += 1
                continue
            start, low, end = i, first[0], i + first[1]
            high = low
            if end < len(self.tokens) and self.tokens[end] in {"-", "–", "to", "and"}:
                second = parse_number(self.tokens[end + 1 :])
                between = self.tokens[end] != "and" or self.tokens[i - 1 : i] == ["between"]
                if second and between and second[0] >= low:
                    high, end = second[0], end + 1 + second[1]
            if self.tokens[max(i - 1, 0)] not in _tables()["numbers.vague"]:
                found[start] = (low, high, end)
            i = end
        bounds = {i for start in found for i in self._bound_before(start)[1]}
        return found, bounds

    def _bound_before(self, start: int) -> tuple[str, range]:
        """Which kind of bound ("about", "at_least", "at_most", "") stands before ``start``, and where."""
        for length in (3, 2, 1):
            words = " ".join(self.tokens[max(start - length, 0) : start])
            for kind in ("about", "at_most", "at_least"):
                if words in _tables()[f"numbers.{kind}"]:
                    return kind, range(max(start - length, 0), start)
        return "", range(0)

    def _find_runs(self) -> tuple[dict[int, Phrase], dict[int, int]]:
        """Start -> stems of each run of content words, and start -> end."""
        runs: dict[int, list[str]] = {}
        start = -1
        for i, token in enumerate(self.tokens):
            if i in self._counted or _parts_runs(token):
                start = -1
                continue
            start = i if start < 0 else start
            runs.setdefault(start, []).append(stem(token))
        return {i: tuple(run) for i, run in runs.items()}, {i: i + len(run) for i, run in runs.items()}

    def _run_after(self, i: int) -> int | None:
        """Start of the run at ``i``, over at most three filler words."""
        return self._run_over(i, i + 4, lambda j: self.tokens[j] in _FILLERS)

    def _run_over(self, i: int, stop: int, passes: Callable[[int], bool]) -> int | None:
        """Start of the first run from ``i`` before ``stop``, where ``passes`` lets each token until there pass."""
        for j in range(i, min(stop, len(self.tokens))):
            if j in self.runs:
                return j
            if not passes(j):
                return None
        return None

    def _run_before(self, i: int, links: frozenset[str]) -> int | None:
        """Start of the run that ends before ``i``, over ``links`` alone."""
        j = i
        while j > 0 and self.tokens[j - 1] in links:
            j -= 1
        return next((start for start, end in self._length.items() if end == j), None)

    def _read_quantities(self) -> None:
        for start, (low, high, end) in self._numbers.items():
            kind, words = self._bound_before(start)
            after = self._run_after(end)
            where = after if after is not None else self._run_before(words.start if words else start, _LINKS)
            if where in self.denied:
                continue
            if high == 0 and where is not None:
                self._deny(where)
                continue
            noun = () if where is None else self._noun(where, plural=high > 1 and where == after)
            least, most = 0.0 if kind == "at_most" else low, math.inf if kind == "at_least" else high
            self.quantities.append(Quantity(least, most, noun, about=kind == "about"))
        for i, token in enumerate(self.tokens[:-1]):
            if token in {"a", "an"} and i + 1 in self.runs:
                self.quantities.append(Quantity(1, 1, self.runs[i + 1], article=True))

    def _noun(self, start: int, *, plural: bool) -> Phrase:
        """The run at ``start`` up to its head: a unit, after a number above one the first plural, else all of it."""
        run = self.runs[start]
        for n, word in enumerate(run):
            if word in _units() or (plural and word != self.tokens[start + n]):
                return run[: n + 1]
        return run

    def _read_negations(self) -> None:
        text = _tables()
        for i, token in enumerate(self.tokens):
            if i in self._bounds:
                continue
            pair = " ".join(self.tokens[i : i + 2])
            if pair in text["negation.before"] or token in text["negation.before"]:
                self._deny_after(i + (2 if pair in text["negation.before"] else 1))
            elif token in text["negation.not"] or token.endswith("n't"):
                self._deny_not(i)
            elif token in text["negation.after"]:
                self._deny(self._run_before(i, _LINKS))

    def _deny(self, start: int | None) -> None:
        if start is not None and start not in self.denied:
            self.denied.add(start)
            self.negated.append(self.runs[start])

    def _deny_after(self, i: int) -> None:
        """Deny the run at ``i``, over a number, and those that "or" adds; "no sign of X" denies X."""
        light = _FILLERS | _tables()["numbers.vague"]
        start = self._run_over(i, i + 6, lambda j: self.tokens[j] in light or j in self._counted)
        while start is not None:
            end = self._length[start]
            if set(self.runs[start]) <= _tables()["phrases.light"]:
                self.denied.add(start)
                start = self._run_after(end)
                continue
            self._deny(start)
            start = self._run_after(end + 1) if self.tokens[end : end + 1] == ["or"] else None

    def _deny_not(self, i: int) -> None:
        rest = [token for token in self.tokens[i + 1 : i + 4] if token not in {"be", "been", "clearly"}]
        if rest and rest[0] in _tables()["negation.seen"]:
            self._deny(self._run_before(i, frozenset(_tables()["phrases.stop"]) - {"with", "in", "of"}))
        else:
            following = [start for start in self.runs if start > i]
            self._deny(following[0] if following and following[0] <= i + 4 else None)
