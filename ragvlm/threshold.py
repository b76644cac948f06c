"""How similar must a sentence be to count as supported? Measured on the corpus itself."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ragvlm.errors import InputError
from ragvlm.evidence import DEFAULT_THRESHOLD, Reference, SentenceVectors, TextEncoder
from ragvlm.language.sentences import normalise
from ragvlm.types import Record

LOWEST, HIGHEST = 0.7, 0.95
FEWEST_CAPTIONS = 20


def calibrate_threshold(
    captions: Sequence[str],
    encoder: TextEncoder,
    *,
    false_support_rate: float = 0.05,
    sample: int = 500,
    seed: int = 0,
) -> dict[str, Any]:
    """The threshold for an EvidenceChecker at which other captions seldom support a sentence that they don't have.

    Of up to ``2 * sample`` captions, up to ``sample`` distinct sentences are drawn. Each is scored by its highest
    support among those captions that don't contain it, after the check of facts. The threshold lies just above
    the k-th smallest score, k = ceil((n + 1) (1 - false_support_rate)), as in split conformal prediction (Lei et
    al. 2018, doi:10.1080/01621459.2017.1307116), and is held in [0.7, 0.95]: where captions are so alike that the
    upper bound is met, the rate isn't kept, and ``measured_rate`` says what it is. It is conservative, since a
    caption that says the same in other words counts as false support here.

    Args:
        captions: of the corpus, any order; empty ones are skipped.
        encoder: the text tower that the checker will use.
        false_support_rate: in (0, 1).
        sample: how many sentences, at least 1.
        seed: of the draws.

    Returns:
        JSON types: threshold, false_support_rate (asked for), measured_rate (share of the scores at or above the
        threshold; None where nothing was measured), n (sentences scored), median (of the scores) and default
        (whether the corpus has fewer than 20 captions, which gives DEFAULT_THRESHOLD).

    Raises InputError for a rate or a sample out of range.
    """
    if not 0 < false_support_rate < 1:
        raise InputError(f"false_support_rate is {false_support_rate}: choose a number between 0 and 1")
    if sample < 1:
        raise InputError(f"sample is {sample}: draw at least 1 sentence")
    result: dict[str, Any] = {"threshold": DEFAULT_THRESHOLD, "false_support_rate": false_support_rate}
    told = [caption for caption in captions if caption.strip()]
    if len(told) < FEWEST_CAPTIONS:
        return result | {"measured_rate": None, "n": 0, "median": None, "default": True}
    scores = np.sort(_scores(told, encoder, sample, np.random.default_rng(seed)))
    k = min(math.ceil((len(scores) + 1) * (1 - false_support_rate)), len(scores))
    threshold = float(np.clip(math.nextafter(scores[k - 1], 2), LOWEST, HIGHEST))
    return {
        "threshold": threshold,
        "false_support_rate": false_support_rate,
        "measured_rate": float(np.mean(scores >= threshold)),
        "n": len(scores),
        "median": float(np.median(scores)),
        "default": False,
    }


def _scores(captions: Sequence[str], encoder: TextEncoder, sample: int, rng: np.random.Generator) -> list[float]:
    """For each drawn sentence its highest support in [0, 1] by a caption without it."""
    drawn = rng.permutation(len(captions))[: 2 * sample]
    references = [Reference.of(Record(id=str(i), caption=captions[i])) for i in sorted(drawn)]
    holders: dict[str, list[Reference]] = defaultdict(list)
    for reference in references:
        for sentence in reference.sentences:
            holders[sentence].append(reference)
    sentences = list(holders)
    vectors = SentenceVectors(encoder).matrix(sentences)
    chosen = sorted(rng.permutation(len(sentences))[:sample])
    return [_highest(sentences[i], np.clip(vectors @ vectors[i], 0, 1), sentences, holders) for i in chosen]


def _highest(
    claim: str, cosines: np.ndarray[Any, Any], sentences: Sequence[str], holders: dict[str, list[Reference]]
) -> float:
    """The cosine of the closest sentence that survives the facts in a caption without ``claim``."""
    normal = normalise(claim)
    candidates: dict[str, tuple[str, ...]] = {}
    for j in np.argsort(-cosines, kind="stable"):
        for reference in holders[sentences[j]]:
            if normal in reference.normal:
                continue
            if reference.id not in candidates:
                candidates[reference.id] = reference.candidates(claim)
            if sentences[j] in candidates[reference.id]:
                return float(cosines[j])
    return 0.0
