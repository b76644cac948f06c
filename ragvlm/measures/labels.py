"""Whether a description states the labels of its reference: the stain, the count of cells, the diagnosis."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ragvlm.language.conflicts import agrees, same_thing
from ragvlm.language.facts import Facts, Phrase, Quantity, facts_of, stem
from ragvlm.language.labels import label_words, without_tallies
from ragvlm.language.sentences import split_sentences
from ragvlm.measures.base import Item, Progress, Statistics, TextMeasure, refuse, texts_of, tracked
from ragvlm.measures.facts import of_counts, source
from ragvlm.types import Label

Vocabulary = Mapping[str, frozenset[Phrase]]
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class LabelAgreement(TextMeasure):
    """Micro-averaged precision, recall or F1 in [0, 1] of the labels that a description states.

    The reference's labels are ``item.facts["labels"]``, a mapping of name to text, number or boolean; the description's
    are ``item.facts["predicted_labels"]`` where the system gives such, else read from its text. Only names that the
    reference has are judged, since nothing is known of the others.

    Read from text: a label with texts is stated where one of the values that it has in the scored set occurs, the
    longest first ("moderately dense" isn't "dense"), and isn't denied; a comma parts several values. A value that
    several labels may have counts for those whose name the sentence says. A number is stated by a number with the
    label's name as its noun, and right where one of these is right; "no cells"
    says 0. A boolean is stated by the name, or its denial.

    NaN where no item has labels.
    """

    part: str = "F1"

    @property
    def name(self) -> str:
        """ "labels F1"."""
        return f"labels {self.part}"

    @property
    def source(self) -> str:
        """This package."""
        return source()

    def statistics(self, items: Sequence[Item], progress: Progress | None = None) -> Statistics:
        """Rows: right, stated, right, known; NaN for an item without labels. Raises InputError."""
        predictions, _ = texts_of(items)
        wrong = [i for i in items for key in _KEYS if not isinstance(i.facts.get(key) or {}, Mapping)]
        if wrong:
            raise refuse(wrong, f"{' and '.join(_KEYS)} must be objects of names and values")
        known = vocabulary(item.facts.get("labels") or {} for item in items)
        jobs = list(zip(predictions, items, strict=True))
        return of_counts([_count(text, item, known) for text, item in tracked(jobs, progress)], self.part)


_KEYS = ("labels", "predicted_labels")


def vocabulary(labels: Iterable[Mapping[str, Label]]) -> Vocabulary:
    """Name -> the texts that the label of this name has, as stems."""
    found: dict[str, set[Phrase]] = defaultdict(set)
    for mapping in labels:
        for name, value in mapping.items():
            found[name].update(_phrases(value))
    return {name: frozenset(values) for name, values in found.items()}


def _count(text: str, item: Item, known: Vocabulary) -> tuple[float, float, float, float]:
    labels = {name: value for name, value in (item.facts.get("labels") or {}).items() if _is_known(value)}
    if not labels:
        return (math.nan,) * 4
    truth = {(name, fact) for name, value in labels.items() for fact in _facts(value)}
    given = item.facts.get("predicted_labels")
    if given is not None:
        said = {(name, fact) for name, value in given.items() if name in labels for fact in _facts(value)}
    else:
        said = stated_labels(text, labels, known)
    right = len(said & truth)
    return right, len(said), right, len(truth)


def _is_known(value: Label | None) -> bool:
    return value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))


def _facts(value: Label) -> Iterable[Phrase | float | bool]:
    if isinstance(value, bool):
        return [value]
    return _phrases(value) if isinstance(value, str) else [float(value)]


def _phrases(value: Label) -> list[Phrase]:
    """The values that a label's text names, as stems; a number or a boolean names none."""
    parts = re.split(r"[,;]", value) if isinstance(value, str) else []
    return [phrase for part in parts if (phrase := _stems(part))]


@lru_cache(maxsize=1 << 15)
def _stems(text: str) -> Phrase:
    return tuple(stem(word) for word in _WORD.findall(text.lower().replace("_", " ")))


def stated_labels(text: str, labels: Mapping[str, Label], known: Vocabulary) -> set[tuple[str, Phrase | float | bool]]:
    """Which values of ``labels`` ``text`` states; a number that ``text`` gives another value is that value."""
    said: set[tuple[str, Phrase | float | bool]] = set()
    quantities: tuple[Quantity, ...] = ()
    texts = {name: known.get(name, frozenset()) for name, value in labels.items() if isinstance(value, str)}
    for sentence in split_sentences(without_tallies(text)):
        words, facts = _stems(sentence), facts_of(sentence)
        quantities += facts.quantities + tuple(Quantity(0, 0, phrase) for phrase in sorted(facts.negated))
        said.update((name, value) for name, value in _named(words, texts) if not _is_denied(value, facts))
        said.update((name, _truth(words, name, facts)) for name in _booleans(labels) if _follows(words, _stems(name)))
    for name, value in labels.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            said.update((name, number) for number in _number(name, float(value), quantities))
    return said


def _named(words: Phrase, texts: Mapping[str, frozenset[Phrase]]) -> Iterable[tuple[str, Phrase]]:
    """(label, value) for each value in a sentence, the longest first and no word twice."""
    longest = max((len(value) for values in texts.values() for value in values), default=0)
    i = 0
    while i < len(words):
        for n in range(min(longest, len(words) - i), 0, -1):
            names = [name for name, values in texts.items() if words[i : i + n] in values]
            if len(names) > 1:  # "normal", of one side or the other
                names = [name for name in names if _stems(name)[-1:] and _stems(name)[-1] in words]
            yield from ((name, words[i : i + n]) for name in names)
            if names:
                i += n - 1
                break
        i += 1


def _is_denied(value: Phrase, facts: Facts) -> bool:
    """Whether the sentence denies ``value`` and affirms it nowhere."""
    denied, affirmed = (
        {part for run in runs for word in run for part in word.split("-")} for runs in (facts.negated, facts.affirmed)
    )
    return value[-1] in denied and value[-1] not in affirmed


def _booleans(labels: Mapping[str, Label]) -> list[str]:
    return [name for name, value in labels.items() if isinstance(value, bool)]


def _follows(words: Phrase, phrase: Phrase) -> int:
    """The position behind ``phrase`` in ``words``; 0 where it doesn't occur."""
    ends = range(len(phrase), len(words) + 1)
    return next((end for end in ends if phrase and words[end - len(phrase) : end] == phrase), 0)


def _truth(words: Phrase, name: str, facts: Facts) -> bool:
    """What the sentence says of ``name``, which it has: "name: yes", "name: no", or it denies it or not."""
    phrase = _stems(name)
    after = words[_follows(words, phrase) :][:1]
    return after == ("yes",) or (after != ("no",) and not _is_denied(phrase, facts))


def _number(name: str, value: float, quantities: Iterable[Quantity]) -> list[float]:
    """``value`` where a number with the noun ``name`` bears it out, else such a number; none where there is none."""
    noun = _stems(label_words(name))
    named = [q for q in quantities if noun and q.noun and not q.article]
    rivals = [q for q in named if same_thing(q.noun, noun) or set(noun) <= set(q.noun)]
    truth = Quantity(value, value, noun)
    return [value if any(agrees(rival, truth) for rival in rivals) else rivals[0].low] if rivals else []
