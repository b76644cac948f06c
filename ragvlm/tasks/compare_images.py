"""Compare two pictures: what their neighbours say of the one and not of the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ragvlm.describe import Describer
from ragvlm.language.facts import facts_of
from ragvlm.language.labels import counted, label_sentence, labels_of
from ragvlm.language.sentences import split_sentences
from ragvlm.results import ImageComparison, ImageDifference
from ragvlm.types import Context, Description, Evidence, Hit, Label, Record

LEAST = 0.5
"""The share of pairs of neighbours, one of each picture, that must differ for a finding to count as different."""


def compare_images(describer: Describer, a: Any, b: Any, **known: Any) -> ImageComparison:
    """What differs between the pictures ``a`` and ``b`` (paths, PIL images, arrays, Queries), with evidence of both.

    Both are described. Findings are the labels of the neighbours, and where they have none the counts in their
    captions; one differs where at least half of all pairs of neighbours, weighted by similarity, have different
    values, resp. where one's numbers are the larger as surely. A sentence of one description differs where at least
    half of its own neighbours support it and none of the other's; both share it where half of either do. Nothing is
    said where one of the two is refused. ``known`` as for a Describer.

    Raises what a Describer raises.
    """
    first, second = describer([a, b], **known)
    reasons = [f"{name}: {d.reason}" for name, d in (("first picture", first), ("second picture", second)) if d.reason]
    if reasons:
        return ImageComparison(first, second, (), (), abstained=True, reason="; ".join(reasons))
    findings = list(_findings(first.context, second.context))
    mine, both = _statements(describer, first, second)
    theirs, _ = _statements(describer, second, first)
    swapped = [ImageDifference("statement", "", None, d.a, None, d.evidence_a, d.confidence) for d in theirs]
    return ImageComparison(first, second, (*findings, *mine, *swapped), tuple(both))


def _findings(a: Context, b: Context) -> Iterator[ImageDifference]:
    """The labels and counts that differ, surest first."""
    of_a, of_b = _values(a), _values(b)
    found = [_finding(name, of_a[name], of_b[name]) for name in of_a if name in of_b]
    yield from sorted((one for one in found if one is not None), key=lambda one: -one.confidence)


Ballots = Sequence[tuple[Hit, Label]]


def _values(context: Context) -> dict[str, list[tuple[Hit, Label]]]:
    """By name of a label or a counted thing the hits that tell it, with its value."""
    out: dict[str, list[tuple[Hit, Label]]] = {}
    for hit in context.hits:
        for name, value in _told(hit.record).items():
            out.setdefault(name, []).append((hit, value))
    return out


def _told(record: Record) -> dict[str, Label]:
    """The labels of a record; where it has none, the counts in its caption, a denied thing counting 0."""
    if labels := labels_of(record):
        return labels
    found: dict[str, Label] = {}
    for sentence in split_sentences(record.caption or ""):
        facts = facts_of(sentence)
        for quantity in facts.quantities:
            if quantity.noun and not quantity.article and quantity.low == quantity.high:
                found.setdefault(counted(" ".join(quantity.noun)), quantity.low)
        for phrase in facts.negated:
            found.setdefault(counted(" ".join(phrase)), 0.0)
    return found


def _finding(name: str, a: Ballots, b: Ballots) -> ImageDifference | None:
    """How a finding differs, or None."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for _, value in (*a, *b))
    sure = _larger(a, b) if numbers else _unlike(a, b)
    said_a, said_b = _said(name, a, numbers), _said(name, b, numbers)
    if sure < LEAST or said_a.sentence == said_b.sentence:
        return None
    return ImageDifference(
        "number" if numbers else "label", name, said_a.sentence, said_b.sentence, said_a, said_b, sure
    )


def _weights(ballots: Ballots) -> Any:
    weights = np.array([max(hit.score, 0.0) for hit, _ in ballots])
    return weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), 1 / len(weights))


def _unlike(a: Ballots, b: Ballots) -> float:
    """The share of pairs, one of each side, that have different values."""
    differ = np.array([[str(x) != str(y) for _, y in b] for _, x in a], float)
    return float(_weights(a) @ differ @ _weights(b))


def _larger(a: Ballots, b: Ballots) -> float:
    """By how much more of the pairs one side has the larger number: in [0, 1] (Cliff 1993, doi
    10.1037/0033-2909.114.3.494)."""
    signs = np.array([[np.sign(float(x) - float(y)) for _, y in b] for _, x in a])
    return abs(float(_weights(a) @ signs @ _weights(b)))


def _said(name: str, ballots: Ballots, numbers: bool) -> Evidence:
    """The value of one side in words, numbers by their weighted lower median, with who has it."""
    weights = _weights(ballots)
    if numbers:
        order = sorted(range(len(ballots)), key=lambda i: float(ballots[i][1]))
        reached = np.cumsum(weights[order])
        value: Label = ballots[order[int(np.searchsorted(reached, 0.5 - 1e-9))]][1]
    else:
        totals: dict[str, float] = {}
        for (_, one), weight in zip(ballots, weights, strict=True):
            totals[str(one)] = totals.get(str(one), 0.0) + weight
        best = max(totals, key=lambda one: round(totals[one], 9))
        value = next(one for _, one in ballots if str(one) == best)
    having = [i for i, (_, one) in enumerate(ballots) if str(one) == str(value)]
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    ids = tuple(ballots[i][0].record.id for i in having)
    return Evidence(label_sentence(name, whole), ids, float(min(1.0, weights[having].sum())))


def _statements(
    describer: Describer, own: Description, other: Description
) -> tuple[list[ImageDifference], list[tuple[Evidence, Evidence]]]:
    """The sentences of ``own`` that its neighbours alone support, and those that both sides' do, with both."""
    alone, both = [], []
    for evidence in own.evidence:
        (there, *_) = describer.checker.check(evidence.sentence, other.context) or (Evidence("", (), 0.0),)
        sure = _share(evidence, own)
        if sure >= LEAST and not there.supported:
            alone.append(ImageDifference("statement", "", evidence.sentence, None, evidence, None, sure))
        elif min(sure, _share(there, other)) >= LEAST:
            both.append((evidence, there))
    return alone, both


def _share(evidence: Evidence, description: Description) -> float:
    """The share of the neighbours, weighted by similarity, that support a sentence."""
    weights: Mapping[str, float] = {hit.record.id: max(hit.score, 0.0) for hit in description.context.hits}
    whole = sum(weights.values())
    return sum(weights.get(name, 0.0) for name in evidence.record_ids) / whole if whole > 0 else 0.0
