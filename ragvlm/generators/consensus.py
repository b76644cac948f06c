"""The consensus caption of the neighbours (Devlin et al. 2015, arXiv:1505.04467)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from ragvlm.types import Prompt

MAX_N = 4
Grams = list[Counter[tuple[str, ...]]]


class ConsensusGenerator:
    """Repeats, word by word, the neighbour's caption with the highest mean similarity to the other captions.

    The similarity is the cosine of n-gram counts, averaged over n = 1..4: CIDEr (Vedantam et al. 2015,
    arXiv:1411.5726) without its inverse document frequency, which among a handful of neighbours would take
    weight from just those phrases on which they agree. Equal means go to the better rank.
    """

    name = "consensus"
    reads = "references"

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """One caption a prompt; empty where no neighbour has a caption."""
        return [_consensus(prompt) for prompt in prompts]


def _consensus(prompt: Prompt) -> str:
    hits = sorted(prompt.context.hits, key=lambda hit: hit.rank)
    captions = [hit.record.caption for hit in hits if hit.record.caption and hit.record.caption.strip()]
    grams = [ngrams(caption) for caption in captions]
    means = [
        round(sum(similarity(a, b) for j, b in enumerate(grams) if j != i) / max(len(grams) - 1, 1), 12)
        for i, a in enumerate(grams)
    ]
    return captions[means.index(max(means))] if captions else ""


def ngrams(text: str) -> Grams:
    """Counts of the 1-, 2-, 3- and 4-grams of the lower-case words of ``text``."""
    words = re.findall(r"\w+", text.lower())
    return [Counter(zip(*(words[i:] for i in range(n)), strict=False)) for n in range(1, MAX_N + 1)]


def similarity(a: Grams, b: Grams) -> float:
    """Cosine of the counts in [0, 1], averaged over the n for which at least one of the texts is long enough."""
    cosines = [_cosine(x, y) for x, y in zip(a, b, strict=True) if x or y]
    return sum(cosines) / len(cosines) if cosines else 0.0


def _cosine(x: Counter[tuple[str, ...]], y: Counter[tuple[str, ...]]) -> float:
    dot = sum(count * y[gram] for gram, count in x.items())
    return dot / math.sqrt(_square(x) * _square(y)) if dot else 0.0


def _square(x: Counter[tuple[str, ...]]) -> int:
    return sum(count * count for count in x.values())
