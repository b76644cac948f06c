"""CIDEr-D: how much of the references' telling n-grams a caption has."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ragvlm.measures.base import Item, Progress, Statistics, TextMeasure, texts_of, tracked
from ragvlm.measures.ptb import ptb_tokens

_ORDERS = 4
_SIGMA = 6.0
_SCALE = 10.0
Ngram = tuple[str, ...]


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
        found_in = Counter(ngram for counts in known for ngram in set().union(*counts))
        pairs = list(zip(map(_ngrams, predictions), known, strict=True))
        if len(items) < 2:
            return Statistics.of_scores(np.full(len(items), np.nan))
        weigh = _Weights(found_in, len(items))
        return Statistics.of_scores([weigh.score(*pair) for pair in tracked(pairs, progress)])


def _ngrams(text: str) -> Counter[Ngram]:
    words = ptb_tokens(text)
    return Counter(words[i : i + n] for n in range(1, _ORDERS + 1) for i in range(len(words) - n + 1))


class _Weights:
    """n-grams' weights in a set of ``items``: log of items by items that have it in a reference."""

    def __init__(self, found_in: Mapping[Ngram, int], items: int) -> None:
        self._most = math.log(items)
        self._weight = {ngram: self._most - math.log(n) for ngram, n in found_in.items()}

    def score(self, prediction: Counter[Ngram], references: Sequence[Counter[Ngram]]) -> float:
        """CIDEr-D of one item."""
        mine = self._vector(prediction)
        return _SCALE * sum(_similarity(mine, self._vector(r)) for r in references) / len(references)

    def _vector(self, counts: Counter[Ngram]) -> _Vector:
        weights = {}
        squares = [0.0] * _ORDERS
        for ngram, n in counts.items():
            weights[ngram] = weight = n * self._weight.get(ngram, self._most)
            squares[len(ngram) - 1] += weight * weight
        words = sum(n for ngram, n in counts.items() if len(ngram) == 1)
        return _Vector(weights, tuple(map(math.sqrt, squares)), words)


@dataclass(frozen=True, slots=True)
class _Vector:
    """Weights of a text's n-grams, their lengths by order, and the number of words."""

    weights: Mapping[Ngram, float]
    norms: tuple[float, ...]
    words: int


def _similarity(mine: _Vector, theirs: _Vector) -> float:
    """The mean over orders of the clipped cosine, times the penalty on the difference in length."""
    products = [0.0] * _ORDERS
    for ngram, weight in mine.weights.items():
        other = theirs.weights.get(ngram)
        if other is not None:
            products[len(ngram) - 1] += min(weight, other) * other
    norms = [a * b for a, b in zip(mine.norms, theirs.norms, strict=True)]
    cosines = [product / norm if norm else 0.0 for product, norm in zip(products, norms, strict=True)]
    return math.exp(-((mine.words - theirs.words) ** 2) / (2 * _SIGMA**2)) * sum(cosines) / _ORDERS
