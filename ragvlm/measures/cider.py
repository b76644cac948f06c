"""CIDEr-D: how much of the references' telling n-grams a caption has."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from ragvlm.measures.base import Item, Progress, Statistics, TextMeasure, texts_of, tracked
from ragvlm.measures.ptb import ptb_tokens

_ORDERS = 4
_SIGMA = 6.0
_SCALE = 10.0
Ngram = tuple[str, ...]
Grams = tuple[Counter[Ngram], ...]
"""A text's n-grams and how often it has each, by order."""


@dataclass(frozen=True, slots=True)
class CiderD(TextMeasure):
    """Mean CIDEr-D in [0, 10]. Vedantam, Zitnick and Parikh, CVPR 2015, arXiv:1411.5726, section 3 and 7.

    Cosine of n-gram counts up to 4, weighted by how few items' references have the n-gram, clipped to the reference's
    count, with a Gaussian penalty (sigma 6) on the difference in length; the mean over orders and references, times 10.

    The weights come from the references of the very items that are scored, so that figures on different sets, or on a
    part of a set, can't be compared; a bootstrap over ``scores`` keeps the weights of the whole set. It isn't defined
    for fewer than two items, whose n-grams all weigh nothing.
    """

    @property
    def name(self) -> str:
        """ "CIDEr-D"."""
        return "CIDEr-D"

    @property
    def source(self) -> str:
        """This package: pycocoevalcap, which has it in Python, brings 100 MB of Java."""
        from ragvlm import __version__

        return f"ragvlm {__version__}, sigma 6, weights of the scored set, PTB tokens, 0 to 10"

    def statistics(self, items: Sequence[Item], progress: Progress | None = None) -> Statistics:
        """One score an item, NaN with fewer than two items. Raises InputError."""
        predictions, references = texts_of(items)
        known = [[_ngrams(text) for text in texts] for texts in references]
        found_in = Counter(ngram for counts in known for ngram in set().union(*chain.from_iterable(counts)))
        pairs = list(zip(map(_ngrams, predictions), known, strict=True))
        if len(items) < 2:
            return Statistics.of_scores(np.full(len(items), np.nan))
        weigh = _Weights(found_in, len(items))
        return Statistics.of_scores([weigh.score(*pair) for pair in tracked(pairs, progress)])


def _ngrams(text: str) -> Grams:
    words = ptb_tokens(text)
    return tuple(Counter(zip(*(words[i:] for i in range(n)), strict=False)) for n in range(1, _ORDERS + 1))


class _Weights:
    """n-grams' weights in a set of ``items``: log of items by items that have it in a reference."""

    def __init__(self, found_in: Mapping[Ngram, int], items: int) -> None:
        self._most = math.log(items)
        self._weight = {ngram: self._most - math.log(n) for ngram, n in found_in.items()}

    def score(self, prediction: Grams, references: Sequence[Grams]) -> float:
        """CIDEr-D of one item."""
        mine = self._vector(prediction)
        return _SCALE * sum(_similarity(mine, self._vector(r)) for r in references) / len(references)

    def _vector(self, counts: Grams) -> _Vector:
        known, most = self._weight, self._most
        weights = [{ngram: n * known.get(ngram, most) for ngram, n in of.items()} for of in counts]
        norms = [math.sqrt(sum(weight * weight for weight in of.values())) for of in weights]
        return _Vector(weights, norms, counts[0].total())


@dataclass(frozen=True, slots=True)
class _Vector:
    """Weights of a text's n-grams and their lengths, by order, and the number of words."""

    weights: Sequence[Mapping[Ngram, float]]
    norms: Sequence[float]
    words: int


def _similarity(mine: _Vector, theirs: _Vector) -> float:
    """The mean over orders of the clipped cosine, times the penalty on the difference in length."""
    products = [
        sum(min(weight, of_theirs[ngram]) * of_theirs[ngram] for ngram, weight in of_mine.items() if ngram in of_theirs)
        for of_mine, of_theirs in zip(mine.weights, theirs.weights, strict=True)
    ]
    norms = [a * b for a, b in zip(mine.norms, theirs.norms, strict=True)]
    cosines = [product / norm if norm else 0.0 for product, norm in zip(products, norms, strict=True)]
    return math.exp(-((mine.words - theirs.words) ** 2) / (2 * _SIGMA**2)) * sum(cosines) / _ORDERS
