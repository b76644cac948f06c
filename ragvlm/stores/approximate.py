"""What the approximate stores share: FAISS proposes candidates from compressed vectors, the source scores them.

So the scores that a search returns are those of the exact stores, to the last bit; what can differ is whether a
neighbour was proposed at all (the recall, which ``ragvlm tune-index`` measures).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np

from ragvlm.errors import InputError
from ragvlm.stores import faiss_files
from ragvlm.stores.exact import ArrayVectors, VectorSource, best, check_k, check_vectors, nothing, search_all, stack
from ragvlm.types import Float32, Int64, VectorStore


@runtime_checkable
class ApproximateStore(VectorStore, Protocol):
    """A store that keeps no vectors: it proposes candidates, which are scored with the vectors of a source.

    ``settings`` are the options of a search and their values (how far it looks); ``effort`` is the one among them
    that ``tune-index`` raises until the recall is reached. ``slots`` counts the added vectors, gone ones included.
    """

    effort: str
    settings: Mapping[str, int]
    slots: int

    def attach(self, source: VectorSource, positions: Int64 | None = None) -> None:
        """Score with ``source``; ``positions`` (n,) are the source's of all added vectors, -1 for one that is gone."""
        ...

    def sample(self, size: int) -> int:
        """How many of ``size`` vectors ``train`` wants to see."""
        ...

    def train(self, sample: Float32, size: int) -> None:
        """Make ready for ``size`` vectors: what must be fitted is fitted to ``sample``, float32 (n, dim)."""
        ...

    def set(self, **settings: int) -> None:
        """Change ``settings``. Raises InputError for an unknown name and for a value below 1."""
        ...

    def outgrown(self, size: int) -> bool:
        """Whether a store made anew for ``size`` vectors would be a better one than this grown to it."""
        ...


class FaissCandidates(ABC):
    """An approximate FAISS index. ``dim`` is the length of a vector.

    Added vectors have slots, counted from 0; a slot's vector has a position in the source, or is gone from it (-1).
    Without ``attach`` the store keeps the vectors itself, in memory, and slots are positions.
    """

    name: ClassVar[str]
    suffix: ClassVar[str] = ".faiss"
    effort: ClassVar[str]
    kind: ClassVar[str]  # FAISS's class
    spare: ClassVar[float]  # candidates for each neighbour wanted, at least

    def __init__(self, dim: int, settings: dict[str, int] | None = None) -> None:
        self.dim = dim
        self.settings: dict[str, int] = {}
        self._index: Any = None
        self._mapped = False
        self._source: VectorSource = ArrayVectors(dim)
        self._positions: Int64 | None = None
        self.set(**settings or {})

    def __len__(self) -> int:
        return len(self._source)

    @property
    def slots(self) -> int:
        """The number of added vectors, those that are gone included."""
        return 0 if self._index is None else int(self._index.ntotal)

    def attach(self, source: VectorSource, positions: Int64 | None = None) -> None:
        """Score with ``source``; ``positions`` (slots,) are the source's of all slots, -1 for one that is gone."""
        self._source, self._positions = source, positions

    def set(self, **settings: int) -> None:
        """Change ``settings``. Raises InputError for an unknown name and for a value below 1."""
        for name, value in settings.items():
            if self.settings and name not in self.settings:
                raise InputError(f"store {self.name!r} has no setting {name!r}: it has {', '.join(self.settings)}")
            if value < 1:
                raise InputError(f"store {self.name!r}: {name} is {value}: give a whole number above 0")
        self.settings |= settings

    def train(self, sample: Float32, size: int) -> None:
        """Make the index for ``size`` vectors, fitted to ``sample``, float32 (n, dim) unit rows."""
        self._index = self._made(check_vectors(sample, self.dim, "vectors"), size)

    def add(self, vectors: Float32) -> None:
        """Append float32 (n, dim) unit rows; slots count on. Raises StoreError."""
        rows = check_vectors(vectors, self.dim, "vectors")
        if not len(rows):
            return
        if self._index is None:
            self.train(rows, len(rows))
        if self._mapped:
            self._index, self._mapped = faiss_files.owned(self._index), False
        self._index.add(rows)
        if isinstance(self._source, ArrayVectors) and self._positions is None:
            self._source.append(rows)

    def search(self, queries: Float32, k: int) -> tuple[Float32, Int64]:
        """Scores in [-1, 1] and positions, both (n, min(k, len(self))), best first, equal scores by lower position.

        ``queries`` are float32 (n, dim) unit rows. Where more than half of the vectors would be candidates, all are
        scored. Raises StoreError for other queries, InputError for k < 1.
        """
        queries = check_vectors(queries, self.dim, "queries")
        k = min(check_k(k), len(self))
        if k == 0 or not len(queries):
            return nothing(queries, k)
        depth = max(self.settings["refine"], math.ceil(self.spare * k))
        if 2 * depth > len(self):
            return stack(search_all(self._source, queries, k), k)
        proposed = self._propose(queries, depth)
        return stack([self._scored(query, own, k) for query, own in zip(queries, proposed, strict=True)], k)

    def get(self, positions: Int64) -> Float32:
        """The vectors at ``positions`` (m,): float32 (m, dim), a copy. Raises InputError outside of the store."""
        return self._source.take(positions)

    def save(self, path: Path) -> None:
        """Write the index, without the vectors, to ``path`` in FAISS's format. Raises StoreError where that fails."""
        if self._index is None:
            self.train(np.empty((0, self.dim), np.float32), 0)
        faiss_files.write(self._index, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Memory-map what ``save`` wrote; it needs its vectors by ``attach``.

        Raises StoreError where ``path`` isn't such a file.
        """
        index = faiss_files.mapped(path, cls.kind)
        store = cls(int(index.d))
        if index.ntotal:  # an empty one was fitted to nothing
            store._index, store._mapped = index, True
        return store

    def _scored(self, query: Float32, slots: Int64, k: int) -> tuple[Float32, Int64]:
        """The best of what was proposed; where too many of it are gone, of ever more."""
        live = self._live(slots)
        depth = len(slots)
        while len(live) < k and depth < self.slots:
            depth = min(4 * depth, self.slots)
            live = self._live(self._propose(query[None, :], depth, wide=True)[0])
        if len(live) < k:  # a graph may have parts that no path leads to
            return search_all(self._source, query[None, :], k)[0]
        return best(query, self._source.take(live), live, k)

    def _live(self, slots: Int64) -> Int64:
        slots = slots[slots >= 0]  # FAISS fills up with -1
        if self._positions is None:
            return slots
        positions = self._positions[slots].astype(np.int64)
        return positions[positions >= 0]

    def _propose(self, queries: Float32, depth: int, *, wide: bool = False) -> Int64:
        """Slots (n, depth); ``wide`` looks as far as ``depth`` asks, whatever the settings."""
        slots: Int64 = self._index.search(queries, depth, params=self._parameters(depth, wide))[1]
        return slots

    @abstractmethod
    def sample(self, size: int) -> int:
        """How many of ``size`` vectors ``train`` wants to see."""

    @abstractmethod
    def _made(self, sample: Float32, size: int) -> Any:
        """An empty index for ``size`` vectors, fitted to ``sample``."""

    @abstractmethod
    def _parameters(self, depth: int, wide: bool) -> Any:
        """FAISS's parameters of one search."""

    @abstractmethod
    def outgrown(self, size: int) -> bool:
        """Whether a store made anew for ``size`` vectors would be a better one than this grown to it."""


def fill(store: ApproximateStore, source: VectorSource, seed: int = 0) -> None:
    """Fit an empty ``store`` to vectors drawn from ``source``, and add all of them."""
    size, wanted = len(source), store.sample(len(source))
    drawn = np.random.default_rng(seed).choice(size, wanted, replace=False)
    store.train(source.take(np.sort(drawn)), size)
    store.attach(source)
    for vectors in source.blocks():
        store.add(vectors)
