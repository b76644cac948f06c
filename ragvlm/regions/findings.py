"""Counts that are measured in the picture, put in the place of those that a text took from its references."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.language.labels import label_words
from ragvlm.language.numbers import spell
from ragvlm.regions.neighbours import hidden_records, see, vectors_of
from ragvlm.regions.phrases import names_of
from ragvlm.regions.store import Regions
from ragvlm.types import MEASURED, Evidence, Float32, Query

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragvlm.index import Index

_UNITS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_NUMBER = rf"\d+|no|zero|an?|{'|'.join(_UNITS)}"
_BETWEEN = r"(?:[a-z-]+ ){0,2}?"  # "three large white cells"


ITSELF = 0.9995  # cosine of the embeddings from which a record is the picture that is asked about


@dataclass(frozen=True, slots=True)
class Finding:
    """``count`` regions of ``label``; ``record_ids`` are the records whose regions are most like them."""

    label: str
    count: int
    record_ids: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        return {"label": self.label, "count": self.count, "record_ids": list(self.record_ids)}


class Counter:
    """Counts what an index's regions are labelled as: only labels whose counts, measured on the index's own pictures,
    are nearer to the truth than those of the picture most alike."""

    def __init__(self, index: Index, regions: Regions) -> None:
        self.index, self.regions = index, regions
        told = regions.measured
        self.labels = [name for name in regions.labels if told[name]["count_error"] < told[name]["neighbour_error"]]
        self._vectors: Float32 | None = None

    @classmethod
    def of(cls, index: Index) -> Counter | None:
        """That of ``index``; None where its regions weren't gathered (``ragvlm regions``), or no count is worth it."""
        regions = Regions.load(index)
        counter = None if regions is None else cls(index, regions)
        return counter if counter is not None and counter.labels else None

    def count(self, image: Image, hidden: Collection[str] = ()) -> tuple[Finding, ...]:
        """A finding a label; the records ``hidden``, and the picture itself where the index has it, have no vote."""
        if self._vectors is None:
            self._vectors = vectors_of(self.index, self.regions)
        vector = self.index.encoder.encode_images([image])[0]
        likeness = np.nan_to_num(self._vectors @ vector)
        own = {name for name, like in zip(self.regions.record_ids, likeness, strict=True) if like > ITSELF}
        seen = see(self.regions, image, own | set(hidden))
        found = []
        for label in self.labels:
            count = round(seen.expected(label, vector, self._vectors))
            regions = seen.found(label, masks=False)
            ids = dict.fromkeys(name for region in regions for name in region.record_ids[:1])
            found.append(Finding(label, count, tuple(ids)))
        return tuple(found)


def count_all(
    counter: Counter | None,
    queries: Mapping[int, Query],
    exclude_ids: Collection[str],
    clock: Callable[[str], AbstractContextManager[None]],
) -> dict[int, tuple[Finding, ...]]:
    """The findings of each query that is one picture; nothing of its own subject and of ``exclude_ids`` has a vote.

    ``clock`` times the step "count", where there is a counter.
    """
    if counter is None:
        return {}
    with clock("count"):
        return {
            i: counter.count(query.image, hidden_records(counter.index, query.subject_id, exclude_ids))
            for i, query in queries.items()
            if query.image is not None and not query.slices
        }


def corrected(evidence: Sequence[Evidence], findings: Sequence[Finding]) -> tuple[Evidence, ...]:
    """``evidence`` with the measured counts in its sentences; one that states such a count cites MEASURED too."""
    return tuple(_corrected(item, findings) for item in evidence)


def _corrected(item: Evidence, findings: Sequence[Finding]) -> Evidence:
    sentence, stated = item.sentence, False
    for finding in findings:
        sentence, here = state(sentence, finding.label, finding.count)
        stated = stated or here
    if not stated:
        return item
    return replace(item, sentence=sentence, record_ids=(*item.record_ids, MEASURED))


def state(sentence: str, label: str, count: int) -> tuple[str, bool]:
    """``sentence`` with ``count`` for every number that counts ``label``, and whether there is one.

    "two white blood cells" -> "one white blood cell", "There is one platelet." -> "There are no platelets."
    """
    nouns = "|".join(sorted(map(re.escape, names_of(label_words(label))), key=len, reverse=True))
    pattern = rf"\b(there (?:is|are) )?({_NUMBER}) ({_BETWEEN})({nouns})\b"
    stated = False

    def put(match: re.Match[str]) -> str:
        nonlocal stated
        stated = True
        lead, number, between, noun = match[1] or "", match[2], match[3], match[4]
        if lead:
            verb = "is" if count == 1 else "are"
            lead = f"{lead.split()[0]} {verb} "
        word = "no" if count == 0 else spell(count)
        if not lead and number[:1].isupper():
            word = word[:1].upper() + word[1:]
        return f"{lead}{word} {between}{_form(noun, count)}"

    return re.sub(pattern, put, sentence, flags=re.IGNORECASE), stated


def _form(noun: str, count: int) -> str:
    """``noun`` in the singular for 1, else in the plural."""
    if noun.lower().endswith(("nuclei", "nucleus")):
        return f"{noun[: noun.lower().rindex('nucle')]}{'nucleus' if count == 1 else 'nuclei'}"
    if count == 1:
        return noun.removesuffix("s")
    return noun if noun.endswith("s") else f"{noun}s"
