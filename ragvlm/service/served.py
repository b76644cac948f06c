"""The index that a service answers from; a newer version takes its place without a dropped request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from ragvlm.assistant import Assistant
from ragvlm.errors import RagvlmError
from ragvlm.index import Index
from ragvlm.index.manifest import read_manifest
from ragvlm.results import Classification, hit_to_dict
from ragvlm.types import Query

log = logging.getLogger("ragvlm.service")


class Served:
    """``assistant`` answers; ``follow`` opens its index anew when another process has committed to it.

    make: an index -> the Assistant that answers from it.
    """

    def __init__(self, assistant: Assistant, make: Callable[[Index], Assistant]) -> None:
        self._make = make
        self.assistant = assistant
        self.generation = assistant.index.manifest.generation
        self.swaps = 0

    async def follow(self, seconds: float = 2.0) -> None:
        """Look for a newer version every so many ``seconds``, as long as this is not cancelled."""
        while True:
            await asyncio.sleep(seconds)
            try:
                # a request that runs keeps the assistant that it began with
                await asyncio.to_thread(self.refresh)
            except RagvlmError as error:
                log.warning("the newer index can't be opened, the older one stays: %s", error)

    def refresh(self) -> bool:
        """Take the newest committed version; whether there was one. Raises RagvlmError where it can't be opened."""
        index = self.assistant.index
        if read_manifest(index.path).generation == self.generation:
            return False
        newer = Index.open(index.path, encoder=index.encoder)
        self.assistant = self._make(newer)
        self.generation = newer.manifest.generation
        self.swaps += 1
        log.info("index generation %d, %d records", self.generation, newer.manifest.counts.records)
        return True


def describe(assistant: Assistant, question: str | None, queries: Sequence[Query]) -> list[dict[str, Any]]:
    """Descriptions of pictures, as JSON types."""
    batches = assistant.batches(queries, question=question)
    return [description.to_dict() for some in batches for description in some]


def search(assistant: Assistant, options: Mapping[str, Any], queries: Sequence[Query]) -> list[dict[str, Any]]:
    """Hits as JSON types, a list a query."""
    found = assistant.index.search(list(queries), **options)
    return [{"hits": [hit_to_dict(hit, provenance=True) for hit in hits]} for hits in found]


def classify(assistant: Assistant, labels: Sequence[str], queries: Sequence[Query]) -> list[dict[str, Any]]:
    """Probabilities of ``labels``, as JSON types."""
    found = cast("list[Classification]", assistant.classify([query.image for query in queries], list(labels)))
    return [replace(one, query_id=query.id).to_dict() for one, query in zip(found, queries, strict=True)]


def ask(assistant: Assistant, options: Sequence[str] | None, queries: Sequence[Query]) -> list[dict[str, Any]]:
    """Answers to the words of the queries, as JSON types."""
    return [assistant.asker.answer(query, options).to_dict() for query in queries]
