"""What no reference states, said as the nearest reference says it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ragvlm.language.conflicts import conflict, unstated
from ragvlm.language.facts import Facts, Phrase, facts_of
from ragvlm.language.sentences import split_sentences

_OTHER_WORDS = 4.0
"""What a sentence of wholly other words costs: as much as counts of 0 and 16."""


def ground(text: str, captions: Sequence[str]) -> str:
    """``text`` whose sentences state what some one of ``captions`` states.

    A sentence with a fact that no caption bears out (a count between those of the references, most often) would be
    dropped by the check of evidence. In its place stands the captions' own sentence that is nearest to it: by the
    square roots of its counts, which have even errors, and by its words. Without captions the text stays as it is.
    """
    told = [split_sentences(caption) for caption in captions]
    whole = [[facts_of(sentence) for sentence in sentences] for sentences in told]
    pool = list(dict.fromkeys(sentence for sentences in told for sentence in sentences))
    found = []
    for sentence in split_sentences(text):
        facts = facts_of(sentence)
        if not pool or any(_borne_out(facts, reference) for reference in whole):
            found.append(sentence)
        else:
            found.append(min(pool, key=lambda other: round(_distance(sentence, other), 6)))
    return " ".join(dict.fromkeys(found))


def _borne_out(facts: Facts, reference: Sequence[Facts]) -> bool:
    together = Facts()
    for part in reference:
        together = together | part
    return not unstated(facts, together) and not conflict(facts, together)


def _distance(one: str, other: str) -> float:
    counts, others = _counts(one), _counts(other)
    far = sum(abs(math.sqrt(counts[n]) - math.sqrt(others[n])) for n in counts.keys() & others.keys())
    words, more = _words(one), _words(other)
    likeness = len(words & more) / max(len(words | more), 1)
    return far + len(counts.keys() ^ others.keys()) + _OTHER_WORDS * (1 - likeness)


def _counts(sentence: str) -> dict[Phrase, float]:
    facts = facts_of(sentence)
    found = {q.noun: max(q.low, 0.0) for q in facts.quantities if q.noun and not q.article}
    return dict.fromkeys(facts.negated, 0.0) | found


def _words(sentence: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", sentence.lower()))
