"""The text between the soft prefix and the answer; the same in training and use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ragvlm.prompt import clean, reference_text
from ragvlm.readers.questions import answer_of, questions_of
from ragvlm.types import Record

NEIGHBOURS = 3
"""References whose words go in; more cost time, and SmallCap gained little beyond four."""
CAPTION_CHARS = 320
PAIR_CHARS = 160
PAIRS = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """What the decoder is told beside the picture: ``references`` and ``likely`` are texts, the best first."""

    references: tuple[str, ...] = ()
    readings: str = ""
    question: str = ""
    likely: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Ends where the answer begins."""
        lines = [f"Similar: {text}" for text in self.references]
        if self.readings:
            lines.append(f"Readings: {self.readings}")
        if self.question:
            lines.append(f"Question: {self.question}")
            if self.likely:
                lines.append(f"Likely: {', '.join(self.likely)}")
            return "\n".join([*lines, "Answer:"])
        return "\n".join([*lines, "Description:"])


def captions_of(records: Iterable[Record], count: int = NEIGHBOURS) -> tuple[str, ...]:
    """The words of the first ``count`` records that have some, as quoted data."""
    told = (clean(reference_text(record), CAPTION_CHARS) for record in records)
    return tuple(text for text in told if text)[:count]


def pairs_of(question: str, records: Iterable[Record], count: int = PAIRS) -> tuple[str, ...]:
    """The answered questions of ``records`` that are likest to ``question`` by their words, the likest first."""
    wanted = _words(question)
    found = []
    for rank, record in enumerate(records):
        for pair in answered(record):
            words = _words(str(pair["question"]))
            likeness = len(wanted & words) / max(len(wanted | words), 1)
            found.append((-round(likeness, 6), rank, clean(f"{pair['question']} {answer_of(pair)}", PAIR_CHARS)))
    found.sort(key=lambda item: item[:2])
    return tuple(dict.fromkeys(text for _, _, text in found))[:count]


def answered(record: Record) -> list[Mapping[str, Any]]:
    """The questions of ``record`` that have an answer."""
    return [row for row in questions_of(record) if answer_of(row)]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
