"""Whether a description states the facts of its reference: numbers, sides and other places, what is denied.

Words in common tell little here: "19 red cells and no platelets" and "12 red cells and two platelets" share most of
theirs. Facts are read by rule from English sentences (``ragvlm.language``), shallowly: what the rules don't see, on
either side, doesn't count. Neither do tallies of references ("4 of 5 references"), which say nothing of the picture.
The figures are micro-averages over all facts of all items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from operator import or_
from typing import Any

import numpy as np

from ragvlm.language.conflicts import agrees, same_thing
from ragvlm.language.facts import Facts, Phrase, Quantity, facts_of
from ragvlm.language.labels import without_tallies
from ragvlm.language.places import is_stated, places_of
from ragvlm.language.sentences import split_sentences
from ragvlm.measures.base import Float64, Item, Progress, Statistics, TextMeasure, texts_of, tracked

Counts = tuple[int, int, int, int]
"""Stated facts that the reference bears out, stated facts, facts of the reference that are stated, its facts."""


@dataclass(frozen=True, slots=True)
class Agreement(TextMeasure):
    """Micro-averaged precision, recall or F1 in [0, 1] of the facts of one ``kind``.

    numbers: a count or measure with its noun, as the claim's range allows ("about 20" is borne out by 19). laterality:
    left and right, with the words that they stand with where both sides have such. places: all words for a place that
    exclude each other (left, upper, central, anterior, distal ...), likewise. negation: what is denied. facts: numbers,
    places and negation together.

    Precision is the share of the description's facts that the reference states, recall the share of the reference's
    that the description states. Of several references the one with the highest F1 counts. An item without a fact on
    either side adds nothing; NaN where no item has one.
    """

    kind: str = "facts"
    part: str = "F1"

    @property
    def name(self) -> str:
        """ "numbers F1"."""
        return f"{self.kind} {self.part}"

    @property
    def source(self) -> str:
        """This package."""
        return source()

    def statistics(self, items: Sequence[Item], progress: Progress | None = None) -> Statistics:
        """Rows: the four ``Counts``. Raises InputError."""
        pairs = list(zip(*texts_of(items), strict=True))
        return of_counts([_best(self.kind, *pair) for pair in tracked(pairs, progress)], self.part)


def source() -> str:
    """What reads the facts."""
    from ragvlm import __version__

    return f"ragvlm {__version__}, rules for English, micro-average, 0 to 1"


def of_counts(counts: Sequence[Sequence[float]], part: str) -> Statistics:
    """The statistics of a ``part`` ("precision", "recall" or "F1") of counts of facts."""
    rows = np.array(counts, dtype=np.float64).reshape(-1, 4)
    share = partial(_share, part=part)
    return Statistics(rows, lambda chosen: share(chosen.sum(axis=0)), np.array([share(r) for r in rows]), additive=True)


def _share(counts: Float64, part: str) -> float:
    right, said, found, known = counts.tolist()
    precision = right / said if said else float("nan")
    recall = found / known if known else float("nan")
    if part == "precision":
        return precision
    if part == "recall":
        return recall
    if not said and not known:
        return float("nan")
    return 2 * precision * recall / (precision + recall) if right and found else 0.0


@lru_cache(maxsize=1 << 16)
def _best(kind: str, prediction: str, references: tuple[str, ...]) -> Counts:
    """The counts against the reference with the highest F1; one without facts on either side beats none in common."""
    mine = _read(prediction)
    found = [_compare(kind, mine, _read(reference)) for reference in references]
    scores = [_share(np.array(counts), "F1") for counts in found]
    return found[max(range(len(found)), key=lambda i: 1e-9 if np.isnan(scores[i]) else scores[i])]


@lru_cache(maxsize=1 << 15)
def _read(text: str) -> Facts:
    return reduce(or_, map(facts_of, split_sentences(without_tallies(text))), Facts())


def _compare(kind: str, mine: Facts, theirs: Facts) -> Counts:
    if kind == "facts":
        parts = [_compare(k, mine, theirs) for k in ("numbers", "places", "negation")]
        right, said, found, known = (sum(column) for column in zip(*parts, strict=True))
        return right, said, found, known
    take, match = _KINDS[kind]
    claims, truths = (dict.fromkeys(take(facts)) for facts in (mine, theirs))
    pairs = [(c, t) for c in claims for t in truths if (_counts(c) or _counts(t)) and match(c, t)]
    right, found = {c for c, _ in pairs}, {t for _, t in pairs}
    said, known = (right | set(filter(_counts, claims))), (found | set(filter(_counts, truths)))
    return len(right), len(said), len(found), len(known)


def _counts(fact: Any) -> bool:
    """The 1 of "a cell" bears out "one cell", and is no number by itself."""
    return not (isinstance(fact, Quantity) and fact.article)


def _numbers(facts: Facts) -> Iterable[Quantity]:
    return facts.quantities


def _same_number(claim: Quantity, truth: Quantity) -> bool:
    named = same_thing(claim.noun, truth.noun) if claim.noun and truth.noun else _counts(claim) and _counts(truth)
    return named and agrees(claim, truth)


Place = tuple[str, str, Phrase]


def _sides(facts: Facts) -> Iterable[Place]:
    return (place for place in _places(facts) if place[0] == "side")


def _places(facts: Facts) -> Iterable[Place]:
    return (place for run in sorted(facts.affirmed | facts.negated) for place in _places_in(run))


@lru_cache(maxsize=1 << 15)
def _places_in(run: Phrase) -> tuple[Place, ...]:
    """Axis and value of each place word of a noun phrase, with the phrase's other words."""
    found = [place for place in places_of(" ".join(run)) if is_stated(place[0])]
    if not found:
        return ()
    noun = tuple(word for word in run if not any(is_stated(axis) for axis, _ in places_of(word)))
    return tuple((axis, value, noun) for axis, value in found)


def _same_place(claim: Place, truth: Place) -> bool:
    nouns = not claim[2] or not truth[2] or bool(set(claim[2]) & set(truth[2]))
    return claim[:2] == truth[:2] and nouns


def _denied(facts: Facts) -> Iterable[Phrase]:
    return sorted(facts.negated)


_KINDS: dict[str, tuple[Callable[[Facts], Iterable[Any]], Callable[[Any, Any], bool]]] = {
    "numbers": (_numbers, _same_number),
    "laterality": (_sides, _same_place),
    "places": (_places, _same_place),
    "negation": (_denied, same_thing),
}
