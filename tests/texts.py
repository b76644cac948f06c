"""What the tests of texts share: contexts made of captions, and an encoder that can be checked by eye."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

from ragvlm.types import Context, Float32, Hit, Query, Record


def context_of(*records: Record | str, scores: Sequence[float] | None = None, text: str | None = None) -> Context:
    """A context whose hits are ``records`` (or captions, with ids "a", "b", ...), best first."""
    told = [Record(chr(97 + i), caption=r) if isinstance(r, str) else r for i, r in enumerate(records)]
    given = scores or [1 - i / 10 for i in range(len(told))]
    hits = tuple(Hit(r, s, i) for i, (r, s) in enumerate(zip(told, given, strict=True), 1))
    return Context(Query("query", text=text), hits)


class WordEncoder:
    """Counts words into 8192 bins: the cosine of two sentences is that of their word counts."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        self.encoded += texts
        rows = np.zeros((len(texts), 8192), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                row[zlib.crc32(word.encode()) % 8192] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
