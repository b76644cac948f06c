"""Sentence -> the references that support it, by meaning and by facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Protocol

import numpy as np

from ragvlm.errors import InputError
from ragvlm.language.conflicts import conflict, unstated
from ragvlm.language.facts import Facts, facts_of
from ragvlm.language.labels import label_sentence, label_sentences, labels_of, votes
from ragvlm.language.sentences import bare, normalise, split_sentences
from ragvlm.types import Context, Evidence, Float32, Hit, Record

DEFAULT_THRESHOLD = 0.85
CACHED_SENTENCES = 20_000  # vectors kept between calls: 384 numbers of 4 bytes each make 30 MB


class TextEncoder(Protocol):
    """The text tower of an Encoder."""

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """float32 (n, dim), unit rows."""
        ...


@dataclass(frozen=True, slots=True)
class Reference:
    """What one record says: its bare sentences, their normal forms, and the facts of all of them together.

    ``labels`` are the normal forms of its labels' sentences by the labels' names.
    """

    id: str
    sentences: tuple[str, ...]
    normal: frozenset[str]
    facts: Facts
    labels: Mapping[str, str]

    @classmethod
    def of(cls, record: Record) -> Reference:
        """The sentences of the record's caption and labels."""
        told = split_sentences(record.caption or "")
        told += [part for sentence in label_sentences(record) for part in split_sentences(sentence)]
        sentences = tuple(dict.fromkeys(map(bare, told)))
        facts = reduce(or_, map(facts_of, sentences), Facts())
        labels = {name: normalise(bare(label_sentence(name, value))) for name, value in labels_of(record).items()}
        return cls(record.id, sentences, frozenset(map(normalise, sentences)), facts, labels)

    def candidates(self, claim: str) -> tuple[str, ...]:
        """The sentences whose similarity counts for ``claim``; none where a fact is contradicted or unstated."""
        facts = facts_of(claim)
        if unstated(facts, self.facts) or conflict(facts, self.facts):
            return ()
        return tuple(sentence for sentence in self.sentences if not conflict(facts, facts_of(sentence)))


class EvidenceChecker:
    """Ties each sentence of a text to the references of its context that support it.

    The support of a reference is 1 where it has the sentence word by word; 0 where a fact of the sentence
    (number, side, place, negation, code) is contradicted by the reference or never stated in it, or where the
    sentence is one reference's label and this reference has another value of that label; otherwise the
    highest cosine of the text tower between the sentence and one of the reference's, clipped to [0, 1].

    Args:
        encoder: anything with ``encode_texts``.
        threshold: support in [0, 1] from which a reference counts as evidence; None takes DEFAULT_THRESHOLD. Use
            ``calibrate_threshold`` on the corpus.

    Raises InputError for a threshold outside [0, 1].
    """

    def __init__(self, encoder: TextEncoder, threshold: float | None = None) -> None:
        threshold = DEFAULT_THRESHOLD if threshold is None else float(threshold)
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold is {threshold}: choose a support from 0 to 1")
        self.threshold = threshold
        self.vectors = SentenceVectors(encoder)

    def check(self, text: str, context: Context) -> tuple[Evidence, ...]:
        """One Evidence a sentence of ``text``, in order; record ids by support, then rank."""
        return self.check_many([text], [context])[0]

    def check_many(self, texts: Sequence[str], contexts: Sequence[Context]) -> list[tuple[Evidence, ...]]:
        """``check`` for many texts; every distinct sentence is encoded once."""
        jobs = [_Job.of(text, context) for text, context in zip(texts, contexts, strict=True)]
        self.vectors.add(sentence for job in jobs for sentence in job.needed())
        return [tuple(self._evidence(job, i) for i in range(len(job.sentences))) for job in jobs]

    def _evidence(self, job: _Job, i: int) -> Evidence:
        scored = [(self._support(job, job.claims[i], reference), reference.id) for reference in job.references]
        ranked = sorted(scored, key=lambda item: -item[0])  # stable: equal supports keep the rank's order
        ids = tuple(record_id for support, record_id in ranked if support >= self.threshold and support > 0)
        return Evidence(job.sentences[i], ids, ranked[0][0] if ranked else 0.0)

    def _support(self, job: _Job, claim: str, reference: Reference) -> float:
        if normalise(claim) in reference.normal:
            return 1.0
        return max((self.vectors.cosine(claim, sentence) for sentence in job.candidates(claim, reference)), default=0.0)


@dataclass(frozen=True, slots=True)
class _Job:
    """A text's sentences, what each claims (without a tally that the votes bear out), and its references.

    ``labels``: the name of the label behind each normal sentence that some reference's label makes.
    """

    sentences: list[str]
    claims: list[str]
    references: list[Reference]
    labels: Mapping[str, str]

    @classmethod
    def of(cls, text: str, context: Context) -> _Job:
        sentences = split_sentences(text)
        # a tally is no claim of its own: it is recomputed here from the labels, and only an equal one is dropped
        voted = {vote.tallied: vote.sentence for vote in votes(context)} if "(" in text else {}
        hits = sorted(context.hits, key=lambda hit: hit.rank)
        references = [Reference.of(hit.record) for hit in hits]
        labels = {sentence: name for reference in references for name, sentence in reference.labels.items()}
        return cls(sentences, [bare(voted.get(s, s)) for s in sentences], references, labels)

    def candidates(self, claim: str, reference: Reference) -> tuple[str, ...]:
        """Those of ``reference``; none where ``claim`` is a label's sentence of which it has another value."""
        name = self.labels.get(normalise(claim))
        return () if name in reference.labels else reference.candidates(claim)

    def needed(self) -> Iterator[str]:
        """The sentences whose vectors the supports need."""
        for claim in self.claims:
            for reference in self.references:
                if normalise(claim) not in reference.normal and (others := self.candidates(claim, reference)):
                    yield claim
                    yield from others


class SentenceVectors:
    """Vectors of sentences, each encoded once; forgets the oldest above CACHED_SENTENCES."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._known: dict[str, Float32] = {}

    def add(self, sentences: Iterable[str]) -> None:
        """Encode those of ``sentences`` that are new."""
        wanted = dict.fromkeys(sentences)
        new = [sentence for sentence in wanted if sentence not in self._known]
        if new:
            self._known.update(zip(new, np.asarray(self._encoder.encode_texts(new), np.float32), strict=True))
        for old in list(self._known)[: max(0, len(self._known) - max(CACHED_SENTENCES, len(wanted)))]:
            if old not in wanted:
                del self._known[old]

    def matrix(self, sentences: Sequence[str]) -> Float32:
        """float32 (n, dim), unit rows."""
        self.add(sentences)
        return np.stack([self._known[sentence] for sentence in sentences])

    def cosine(self, a: str, b: str) -> float:
        """Cosine in [0, 1]: below 0 counts as 0."""
        return float(np.clip(self._known[a] @ self._known[b], 0.0, 1.0))


def drop_unsupported(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """The sentences that at least one reference supports."""
    return tuple(item for item in evidence if item.supported)


def supported_text(evidence: Iterable[Evidence]) -> str:
    """The sentences as one text; one without support, where the caller kept it, is followed by "[unsupported]"."""
    return " ".join(item.sentence if item.supported else f"{item.sentence} [unsupported]" for item in evidence)


def confidence(evidence: Sequence[Evidence], context: Context) -> float:
    """How much of the references stands behind a text, in [0, 1]; higher is better, 0 without sentences.

    For each sentence the share of the hits with a caption or labels that support it, each hit weighted by
    max(score, 0); then the mean over the sentences.
    """
    weights = {hit.record.id: max(hit.score, 0.0) for hit in context.hits if _speaks(hit)}
    total = sum(weights.values())
    if not evidence or total <= 0:
        return 0.0
    shares = [sum(weights.get(record_id, 0.0) for record_id in item.record_ids) / total for item in evidence]
    return min(1.0, sum(shares) / len(shares))


def _speaks(hit: Hit) -> bool:
    return bool((hit.record.caption or "").strip() or label_sentences(hit.record))
