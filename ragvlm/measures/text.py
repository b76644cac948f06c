"""How alike two texts are, by the words and letters that they share: BLEU, ROUGE-L, chrF, METEOR.

All lie in [0, 1]. An empty prediction, with which a system abstains, scores 0 and stays in the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ragvlm.errors import require
from ragvlm.measures.base import Float64, Item, Progress, Statistics, TextMeasure, library, texts_of, tracked
from ragvlm.measures.ptb import ptb_tokens

_ORDERS = 4
_BETA = 1.2


@dataclass(frozen=True, slots=True)
class Bleu(TextMeasure):
    """Corpus BLEU with n-grams up to ``order``: no smoothing, the closest reference length, PTB tokens.

    Papineni et al., ACL 2002, doi 10.3115/1073083.1073135. An item's own score is the same formula on the item alone:
    0 for a text without a matching n-gram of each order.
    """

    order: int = 4

    @property
    def name(self) -> str:
        """ "BLEU-4"."""
        return f"BLEU-{self.order}"

    @property
    def source(self) -> str:
        """sacrebleu, scaled to 0..1."""
        return f"{library('sacrebleu')}, no smoothing, closest reference length, PTB tokens, 0 to 1"

    def statistics(self, items: Sequence[Item], progress: Progress | None = None) -> Statistics:
        """Rows: length, reference length, matches and n-grams by order. Raises InputError, MissingExtraError."""
        require("sacrebleu", "eval")
        pairs = list(zip(*texts_of(items), strict=True))
        counts = [_bleu_counts(*pair) for pair in tracked(pairs, progress)]
        rows = np.array(counts, dtype=np.float64).reshape(-1, 2 + 2 * _ORDERS)
        scores = np.array([self._reduce(row[None]) for row in rows])
        return Statistics(rows, self._reduce, scores, additive=True, many=self._many)

    def _many(self, sums: Float64) -> Float64:
        """``_reduce`` by its formula, for resamples: the library takes seconds for some thousand."""
        length, expected = sums[:, 0], sums[:, 1]
        matches, total = sums[:, 2 : 2 + self.order], sums[:, 2 + _ORDERS : 2 + _ORDERS + self.order]
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.where(matches > 0, matches / total, 0.0)
            brevity = np.where(length > 0, np.minimum(1.0, np.exp(1 - expected / length)), 0.0)
            return np.asarray(brevity * np.exp(np.log(precision).mean(axis=1)))

    def _reduce(self, rows: Float64) -> float:
        from sacrebleu.metrics.bleu import BLEU

        length, expected, *counts = rows.sum(axis=0).astype(int).tolist()
        matches, total = counts[: self.order], counts[_ORDERS : _ORDERS + self.order]
        score = BLEU.compute_bleu(matches, total, length, expected, max_ngram_order=self.order)
        return min(float(score.score) / 100, 1.0)  # rounding may bring it above


@lru_cache(maxsize=1 << 15)
def _bleu_counts(prediction: str, references: tuple[str, ...]) -> tuple[int, ...]:
    """The statistics that BLEU-1 to BLEU-4 share."""
    score = _bleu().sentence_score(" ".join(ptb_tokens(prediction)), [" ".join(ptb_tokens(r)) for r in references])
    return (score.sys_len, score.ref_len, *score.counts, *score.totals)


@cache
def _bleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    # the order isn't used: without it the library warns of each text shorter than four words
    return BLEU(tokenize="none", smooth_method="none", max_ngram_order=_ORDERS, effective_order=True)


@dataclass(frozen=True, slots=True)
class RougeL(TextMeasure):
    """Mean F of the longest common subsequence, the best of the references. Lin, ACL workshop 2004, W04-1013.

    Without ``coco`` F1 on rouge-score's tokens (letters and digits, lower case). With ``coco`` as pycocoevalcap has it:
    PTB tokens, F with beta 1.2, of the highest precision and the highest recall, which may be different references'.
    """

    coco: bool = False

    @property
    def name(self) -> str:
        """ "ROUGE-L", or "ROUGE-L (beta 1.2)"."""
        return "ROUGE-L (beta 1.2)" if self.coco else "ROUGE-L"

    @property
    def source(self) -> str:
        """Whose tokens, and what is peculiar."""
        from ragvlm import __version__

        if self.coco:
            return f"ragvlm {__version__}, beta 1.2 of best precision and best recall, PTB tokens, 0 to 1"
        own = f"subsequences by ragvlm {__version__}"
        return f"{library('rouge-score')} ({own}), F1 of the best reference, no stems, 0 to 1"

    def statistics(self, items: Sequence[Item], progress: Progress | None = None) -> Statistics:
        """One score an item. Raises InputError, MissingExtraError."""
        if not self.coco:
            require("rouge_score", "eval")
        pairs = list(zip(*texts_of(items), strict=True))
        return Statistics.of_scores([self._score(*pair) for pair in tracked(pairs, progress)])

    def _score(self, prediction: str, references: tuple[str, ...]) -> float:
        tokens = ptb_tokens if self.coco else _letters_and_digits
        mine, theirs = tokens(prediction), [tokens(text) for text in references]
        common = [common_length(mine, other) for other in theirs]
        precisions = [n / max(len(mine), 1) for n in common]
        recalls = [n / max(len(other), 1) for n, other in zip(common, theirs, strict=True)]
        if self.coco:
            return _f(max(precisions), max(recalls), _BETA)
        return max(_f(*pair, 1.0) for pair in zip(precisions, recalls, strict=True))


def _f(precision: float, recall: float, beta: float) -> float:
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision) if precision else 0.0


@lru_cache(maxsize=1 << 15)
def _letters_and_digits(text: str) -> tuple[str, ...]:
    return tuple(_rouge_tokenizer().tokenize(text))


@cache
def _rouge_tokenizer() -> Any:
    from rouge_score.tokenizers import DefaultTokenizer

    return DefaultTokenizer(use_stemmer=False)


def common_length(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence of two texts' tokens.

    A row of the table that rouge-score fills cell by cell is one integer here, its bits the steps between the cells,
    which makes a long report some twenty times faster: Hyyrö, AWOCA 2004, "Bit-parallel LCS-length computation
    revisited".
    """
    places: dict[str, int] = {}
    for i, token in enumerate(a):
        places[token] = places.get(token, 0) | 1 << i
    full = row = (1 << len(a)) - 1
    for token in b:
        matched = row & places.get(token, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(a) - row.bit_count()


@dataclass(frozen=True, slots=True)
class ChrF(TextMeasure):
    """Corpus chrF: F2 of character n-grams up to 6, white space left out; of several references the best one.

    Popović, WMT 2015, doi 10.18653/v1/W15-3049. Letters count as they are written, upper or lower case.
    """

    @property
    def name(self) -> str:
        """ "chrF"."""
        return "chrF"

    @property
    def source(self) -> str:
        """sacrebleu, scaled to 0..1."""
        return f"{library('sacrebleu')}, characters 1 to 6, beta 2, 0 to 1"

    def statistics(self, items: Sequence[Item], progress: Progress | None = None) -> Statistics:
        """Rows: for each order n-grams of prediction, reference, and of both. Raises InputError, MissingExtraError."""
        require("sacrebleu", "eval")
        from sacrebleu.metrics.chrf import CHRF

        chrf: Any = CHRF()
        pairs = list(zip(*texts_of(items), strict=True))
        # the library has no public name for a text's counts; a test holds them against its public corpus_score
        counts = [chrf._extract_corpus_statistics([p], [[r] for r in rs])[0] for p, rs in tracked(pairs, progress)]

        def reduce(rows: Float64) -> float:
            return float(chrf._compute_f_score(rows.sum(axis=0).tolist())) / 100

        rows = np.array(counts, dtype=np.float64).reshape(-1, 3 * chrf.order)
        scores = np.array([reduce(row[None]) for row in rows])
        return Statistics(rows, reduce, scores, additive=True, many=_chrf_of_sums)


def _chrf_of_sums(sums: Float64) -> Float64:
    """chrF by its formula, for resamples: F2 of the mean precision and recall of the orders that both sides have."""
    mine, theirs, both = (sums[:, part::3] for part in range(3))
    held = (mine > 0) & (theirs > 0)
    precision, recall = (
        np.where(held, both / np.maximum(side, 1), 0.0).sum(axis=1) / np.maximum(held.sum(axis=1), 1)
        for side in (mine, theirs)
    )
    return np.asarray(5 * precision * recall / np.maximum(4 * precision + recall, 1e-300))


@dataclass(frozen=True, slots=True)
class Meteor(TextMeasure):
    """Mean METEOR of nltk on PTB tokens, the best of the references; parameters of Lavie and Agarwal 2007, W07-0734.

    Words match where they or their Porter stems are equal. With ``synonyms`` also where WordNet puts them into one
    synset, which needs its files (see ``ragvlm.measures.wordnet``); nltk looks there for the stem of a word, so that it
    misses those whose stem is no word ("pictur"). Not the METEOR 1.5 (Java) of captioning papers,
    which has other parameters, weighs function words and knows paraphrases: the figures can't be compared.
    """

    synonyms: bool = False

    @property
    def name(self) -> str:
        """ "METEOR (exact, stem)", or "METEOR (exact, stem, synonym)"."""
        return "METEOR (exact, stem, synonym)" if self.synonyms else "METEOR (exact, stem)"

    @property
    def source(self) -> str:
        """nltk, its parameters, and which WordNet."""
        from ragvlm.measures.wordnet import find_wordnet

        words = f"WordNet in {find_wordnet()}" if self.synonyms else "no synonyms"
        return f"{library('nltk')}, alpha 0.9, beta 3, gamma 0.5, Porter stems, {words}, PTB tokens, 0 to 1"

    def statistics(self, items: Sequence[Item], progress: Progress | None = None) -> Statistics:
        """One score an item. Raises InputError (no WordNet, items that are no texts), MissingExtraError."""
        require("nltk", "eval")
        from nltk.translate.meteor_score import meteor_score

        from ragvlm.measures.wordnet import NoSynonyms, wordnet

        words = wordnet() if self.synonyms else NoSynonyms()
        pairs = list(zip(*texts_of(items), strict=True))
        scores = [
            meteor_score([ptb_tokens(r) for r in rs], ptb_tokens(p), stemmer=_stemmer(), wordnet=words)
            for p, rs in tracked(pairs, progress)
        ]
        return Statistics.of_scores(scores)


@cache
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer

    class Remembered:
        """Stems that were found once: a corpus has few different words."""

        stem = staticmethod(lru_cache(maxsize=1 << 16)(PorterStemmer().stem))

    return Remembered()
