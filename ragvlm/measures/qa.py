"""Answers to questions: Exact Match and token F1 by the rules of SQuAD v2, closed questions, one group of questions."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ragvlm.measures.base import Item, Measure, Statistics, TextMeasure, texts_of

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_RULES = "ragvlm, normalised by the rules of SQuAD v2"
_YES_NO = {"yes", "no"}


@dataclass(frozen=True, slots=True)
class ExactMatch(TextMeasure):
    """Share of items whose answer equals a right one after normalisation: 0 or 1 an item, higher is better.

    Normalised by the rules of SQuAD v2 (Rajpurkar, Jia and Liang 2018, doi 10.18653/v1/P18-2124): lower case; without
    ASCII punctuation, then without the words a, an and the; single spaces. So "5.5 cm" equals "55 cm" and "x-ray"
    "xray". A right answer that normalises to nothing counts only where all do. Other than there, an empty prediction
    (abstention) scores 0 where a right answer has text, also if that is "A".
    """

    task: str = "vqa"

    @property
    def name(self) -> str:
        """ "Exact Match"."""
        return "Exact Match"

    @property
    def source(self) -> str:
        """ragvlm's own code, and whose rules."""
        return _RULES

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """One score an item. Raises InputError naming items that are no texts."""
        return _scored(items, _exact)


@dataclass(frozen=True, slots=True)
class TokenF1(TextMeasure):
    """Mean of the best F1 of the words shared with a right answer, each word as often as both have it.

    2 P R / (P + R) after the normalisation of ``ExactMatch``, P and R the shared words over those of the prediction
    and of the right answer; 1 or 0 where either has none. In [0, 1], higher is better.
    """

    task: str = "vqa"

    @property
    def name(self) -> str:
        """ "token F1"."""
        return "token F1"

    @property
    def source(self) -> str:
        """ragvlm's own code, and whose rules."""
        return _RULES

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """One score an item. Raises InputError naming items that are no texts."""
        return _scored(items, _f1)


@dataclass(frozen=True, slots=True)
class ClosedAccuracy(TextMeasure):
    """Accuracy on closed questions: 0 or 1 an item, higher is better.

    Closed are the items of the group "closed" (upper or lower case), and those without a group whose right answers
    are all yes or no; for all others it isn't defined. Where a right answer is yes or no, the first word of the
    normalised prediction counts ("Yes, on the left." is yes, "not sure" is neither); else the whole, as in
    ``ExactMatch``. Papers differ here: some look for "yes" anywhere in the answer, some call the Exact Match of closed
    questions their accuracy.
    """

    task: str = "vqa"

    @property
    def name(self) -> str:
        """ "closed accuracy"."""
        return "closed accuracy"

    @property
    def source(self) -> str:
        """ragvlm's own code, and its rule."""
        return "ragvlm, first word for yes and no, else exact match by the rules of SQuAD v2"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """One score an item, NaN where the question isn't closed. Raises InputError naming items that are no texts."""
        triples = zip(items, *texts_of(items), strict=True)
        return Statistics.of_scores(
            [_best(_agrees, text, answers) if _closed(item, answers) else np.nan for item, text, answers in triples]
        )


@dataclass(frozen=True, slots=True)
class OfGroup:
    """``measure`` on the items of one ``group`` (upper or lower case) alone, not defined for the others."""

    measure: Measure
    group: str

    @property
    def name(self) -> str:
        """Such as "Exact Match (open)"."""
        return f"{self.measure.name} ({self.group})"

    @property
    def task(self) -> str:
        """The measure's."""
        return self.measure.task

    @property
    def higher_is_better(self) -> bool:
        """The measure's."""
        return self.measure.higher_is_better

    @property
    def source(self) -> str:
        """The measure's."""
        return self.measure.source

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """The measure's rows, NaN for items of other groups. Raises what the measure raises."""
        inside = np.array([(item.group or "").casefold() == self.group.casefold() for item in items], dtype=bool)
        of = self.measure.statistics([item for item, chosen in zip(items, inside, strict=True) if chosen])
        rows = np.full((len(items), of.rows.shape[1]), np.nan)
        rows[inside] = of.rows
        scores = None
        if of.scores is not None:
            scores = np.full(len(items), np.nan)
            scores[inside] = of.scores
        return replace(of, rows=rows, scores=scores)


def of_group(figure: str, group: str) -> OfGroup:
    """The measure named ``figure`` of the task "vqa" on one ``group``. Raises InputError for an unknown name."""
    from ragvlm.measures import measure

    return OfGroup(measure(figure, "vqa"), group.lower())


def normalise(answer: str) -> str:
    """``answer`` by SQuAD's rules: see ``ExactMatch``."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def _best(score: Callable[[str, str], float], prediction: str, answers: Sequence[str]) -> float:
    if not prediction.strip():
        return float(not any(answer.strip() for answer in answers))
    told = [answer for answer in answers if normalise(answer)]
    return max(score(prediction, answer) for answer in told or answers)


def _scored(items: Sequence[Item], score: Callable[[str, str], float]) -> Statistics:
    return Statistics.of_scores([_best(score, *pair) for pair in zip(*texts_of(items), strict=True)])


def _exact(prediction: str, answer: str) -> float:
    return float(normalise(prediction) == normalise(answer))


def _f1(prediction: str, answer: str) -> float:
    said, right = normalise(prediction).split(), normalise(answer).split()
    if not said or not right:
        return float(said == right)
    shared = (Counter(said) & Counter(right)).total()
    return 2 * shared / (len(said) + len(right))


def _closed(item: Item, answers: Sequence[str]) -> bool:
    if item.group is None:
        return all(normalise(answer) in _YES_NO for answer in answers)
    return item.group.casefold() == "closed"


def _agrees(prediction: str, answer: str) -> float:
    said, right = normalise(prediction), normalise(answer)
    return float((said.split() or [""])[0] == right if right in _YES_NO else said == right)
