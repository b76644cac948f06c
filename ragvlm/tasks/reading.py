"""What references answer to a question that they were never asked: read from their captions and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ragvlm.abstain import NEIGHBOURS
from ragvlm.language.asking import key_of, read_answer
from ragvlm.language.facts import stem
from ragvlm.language.labels import label_sentences, label_words, labels_of
from ragvlm.language.sentences import split_sentences
from ragvlm.results import Neighbour
from ragvlm.retrieve import Retrieved, retrieve
from ragvlm.searching import SearchOptions
from ragvlm.tasks.memory import scaled
from ragvlm.types import Context, Hit, Query, Record

if TYPE_CHECKING:
    from ragvlm.describe import Describer
    from ragvlm.index import Index


def find(
    describer: Describer, query: Query, options: Sequence[str], search: SearchOptions
) -> tuple[Retrieved, tuple[Neighbour, ...]]:
    """The records nearest to the picture, with captions or labels, and what they answer.

    The question ranks captions only where ``search`` asks for mode "fused": those that name what is asked about come
    first then, and they would say yes (benchmarks/asking.py).
    """
    search = replace(search, mode="fused" if search.mode == "fused" else "image", with_text=True)
    found = retrieve(describer.index, [query], describer.k, search, nearest=NEIGHBOURS)[0]
    said = [(hit, _answer(describer, hit.record, query.text or "", options)) for hit in found.context.hits]
    neighbours = [
        Neighbour(hit.record.id, answer, max(hit.score, 0.0), slice=hit.query_slice, duplicate=hit.duplicate)
        for hit, answer in said
        if answer
    ]
    return found, tuple(scaled(neighbours))


def context_of(
    index: Index, rows: Mapping[str, int], context: Context, neighbours: Sequence[Neighbour], k: int
) -> Context:
    """``context`` with the ``k`` heaviest records of ``neighbours`` as hits, what they answer as their captions.

    ``rows`` are those of the records by id.
    """
    told: dict[str, list[Neighbour]] = {}
    for neighbour in neighbours:
        if neighbour.record_id in told or len(told) < k:
            told.setdefault(neighbour.record_id, []).append(neighbour)
    hits = []
    for rank, (name, own) in enumerate(told.items(), 1):
        record = index.records[rows[name]]
        path = index.image_path(record)
        caption = " ".join(f"{n.told.rstrip('. ')}." for n in own)
        shown = replace(record, caption=caption, image=str(path) if path else None)
        hits.append(Hit(shown, own[0].picture_similarity or 0.0, rank, query_slice=own[0].slice))
    return replace(context, hits=tuple(hits))


def _answer(describer: Describer, record: Record, question: str, options: Sequence[str]) -> str | None:
    """What ``record`` answers; to an open question the label it names, else the sentence that is most like it."""
    texts = [*split_sentences(record.caption or ""), *label_sentences(record)]
    if found := read_answer(question, texts, options):
        return found
    if options or not texts:
        return None
    asked = {stem(word) for word in key_of(question).split()}
    for name, value in labels_of(record).items():
        if {stem(word) for word in label_words(name).lower().split()} <= asked:
            return str(value)
    vectors = describer.checker.vectors.matrix([question, *texts])
    return texts[int(np.argmax(vectors[1:] @ vectors[0]))]
