"""Search: query -> the references nearest to it, without those that must not serve as evidence.

A picture ranks pictures, words rank captions. Where the encoder has one space for both, each also ranks the
other directly. Where it has two, the second ranking of a fused search comes from pseudo-relevance feedback: the
mean vector of what the first ranking found on top. The two are fused by reciprocal rank (Cormack, Clarke and
Buettcher 2009, doi 10.1145/1571941.1572114), by calibrated scores, or, with metadata and regions, by learned weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm import slices
from ragvlm.duplicates import duplicates_of
from ragvlm.encoders.pooling import pool
from ragvlm.errors import InputError
from ragvlm.filters import FilteringStore
from ragvlm.formats.volumes import volume_of
from ragvlm.fusion import Ranking, diversify, feedback, mean_calibrated, reciprocal_rank
from ragvlm.modalities.search import weigh, weights_of
from ragvlm.queries import as_query
from ragvlm.searching import SearchOptions
from ragvlm.types import Context, Float32, Hit, Query, Record

if TYPE_CHECKING:
    from ragvlm.index import Index
    from ragvlm.types import Int64, VectorStore

SPARE = 16  # neighbours beyond those wanted
FEEDBACK = 5  # references whose mean vector asks the other index


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A context with the cosine similarities of the query's nearest eligible pictures, best first, and the search."""

    context: Context
    nearest: tuple[float, ...] = ()
    search: Search | None = field(default=None, repr=False, compare=False)


def search(
    index: Index,
    queries: Any,
    k: int = 10,
    mode: str = "auto",
    *,
    subject_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    regions: Any = None,
    **options: Any,
) -> list[Hit] | list[list[Hit]]:
    """Hits of one query, or a list of them for a list of queries; see ``Index.search``."""
    many = isinstance(queries, (list, tuple))
    known = {"subject_id": subject_id, "metadata": metadata, "regions": regions}
    items = [as_query(item, **known) for item in (queries if many else [queries])]
    chosen = SearchOptions.of(mode=mode, **options)
    found = [list(result.context.hits) for result in retrieve(index, items, k, chosen)]
    return found if many else found[0]


def retrieve(
    index: Index, queries: Sequence[Query], k: int, options: SearchOptions | None = None, *, nearest: int = 0
) -> list[Retrieved]:
    """The k nearest eligible references of each query; ``nearest`` > 0 asks for that many picture similarities.

    Raises InputError for k < 1 and for a mode that the index or its encoder can't serve.
    """
    if k < 1:
        raise InputError(f"k is {k}: ask for at least 1 reference")
    options = options or SearchOptions()
    if not queries:
        return []
    every = options.fusion == "learned"  # whatever the query has
    modes = ["fused" if every else _mode(query, options.mode, index) for query in queries]
    options = replace(options, where=options.where.resolved(index.records)) if options.where else options
    pictures, texts = _encode(index, queries, modes)
    searches = [
        Search(index, query, mode, options, pictures.get(i), texts.get(i))
        for i, (query, mode) in enumerate(zip(queries, modes, strict=True))
    ]
    _ask_together(index, searches, k, nearest)
    return [search.run(k, nearest) for search in searches]


def _ask_together(index: Index, searches: Sequence[Search], k: int, nearest: int) -> None:
    """Ask each store once for what several queries will ask it first."""
    wanted: dict[tuple[str, int], list[tuple[Search, Float32]]] = {}
    for search in searches:
        for kind, vector, depth in search.first(k, nearest):
            wanted.setdefault((kind, depth), []).append((search, vector))
    for (kind, depth), asked in wanted.items():
        store = index.image_store if kind == "image" else index.text_store
        if store is not None and len(asked) > 1:
            scores, positions = store.search(np.stack([vector for _, vector in asked]), _reach(depth, store))
            for (search, vector), own, at in zip(asked, scores, positions, strict=True):
                search.ahead[kind, depth] = (vector, own, at)


def _reach(depth: int, store: VectorStore) -> int:
    return max(1, min(depth + SPARE, len(store)))  # some of them may not be eligible


def _mode(query: Query, mode: str, index: Index) -> str:
    """The mode that "auto" stands for; refuses what can't be served."""
    if mode == "auto":
        mode = "fused" if query.image is not None and query.text else "text" if query.text else "image"
    needs = {"image": ("pictures",), "text": ("captions",), "fused": ("pictures", "captions")}[mode]
    stores = {"pictures": index.image_store, "captions": index.text_store}
    empty = [name for name in needs if stores[name] is None or len(stores[name]) == 0]  # type: ignore[arg-type]
    if empty:
        raise InputError(f"index {index.path} has no {' and no '.join(empty)}: mode {mode!r} can't be served")
    if index.manifest.shared_space or mode == "fused":
        return mode
    if mode == "text" and not query.text:
        raise InputError(
            f"encoder {index.manifest.encoder!r} can't compare a picture with captions: use mode image or fused"
        )
    if mode == "image" and query.image is None:
        raise InputError(
            f"encoder {index.manifest.encoder!r} can't compare words with pictures: use mode text or fused"
        )
    return mode


def _encode(
    index: Index, queries: Sequence[Query], modes: Sequence[str]
) -> tuple[dict[int, Float32], dict[int, Float32]]:
    """Image vectors (slices, dim) and text vectors (dim,) by position in ``queries``: a batch for each tower."""
    # words beside a picture that alone is to rank pictures are a question to the generator
    spoken = [query.image is None or mode != "image" for query, mode in zip(queries, modes, strict=True)]
    pictures = {
        i: (list(query.slices.values()) or [query.image]) for i, query in enumerate(queries) if query.image is not None
    }
    words = {i: query.text for i, query in enumerate(queries) if query.text and spoken[i]}
    every = [picture for slices in pictures.values() for picture in slices]
    vectors = index.encoder.encode_images(every) if every else np.empty((0, 0), np.float32)
    ends = np.cumsum([len(slices) for slices in pictures.values()], dtype=int)
    images = [vectors[end - len(slices) : end] for end, slices in zip(ends, pictures.values(), strict=True)]
    texts = index.encoder.encode_texts(list(words.values())) if words else np.empty((0, 0), np.float32)
    return dict(zip(pictures, images, strict=True)), dict(zip(words, texts, strict=True))


class Search:
    """One query against one index; ``slices`` (n, dim) are its pictures' vectors, ``image`` (dim,) all together."""

    def __init__(
        self,
        index: Index,
        query: Query,
        mode: str,
        options: SearchOptions,
        slices: Float32 | None,
        text: Float32 | None,
    ) -> None:
        self.index, self.query, self.mode, self.options = index, query, mode, options
        image = pool(slices, [len(slices)])[0] if slices is not None else None
        self.slices, self.image, self.text = slices, image, text
        self.ahead: dict[tuple[str, int], tuple[Float32, Float32, Int64]] = {}
        self.subject = index.pseudonym(query.subject_id) if query.subject_id is not None else None
        self.duplicates = duplicates_of(index, query, image) if options.duplicates != "off" else {}
        self.copied = {volume_of(index.records[row]) for row in self.duplicates}

    def first(self, k: int, nearest: int) -> list[tuple[str, Float32, int]]:
        """What ``run`` will surely ask, as (kind, vector, depth); nothing where the store itself filters."""
        if isinstance(self.index.image_store or self.index.text_store, FilteringStore):
            return []
        either = self.image if self.image is not None else self.text
        vectors = {"image": either, "text": self.text if self.text is not None else either}
        asked = [(self.mode, vectors[self.mode], self._depth(k))] if self.mode in vectors else []
        if nearest:
            asked.append(("image", self.image, nearest))
        return [(kind, vector, depth) for kind, vector, depth in asked if vector is not None]

    def _depth(self, k: int) -> int:
        return k if self.options.diversity == 0 else 4 * k

    def run(self, k: int, nearest: int) -> Retrieved:
        ranking = self._ranking(self._depth(k))
        if self.options.diversity > 0:
            ranking = self._diversify(ranking)
        hits = tuple(
            Hit(self._located(row), score, rank, self.duplicates.get(row), *self._pair(row))
            for rank, (row, score) in enumerate(ranking[:k], start=1)
        )
        near = self._rank("image", self.image, nearest) if nearest and self.image is not None else []
        return Retrieved(Context(self.query, hits), tuple(score for _, score in near), self)

    def _pair(self, row: int) -> tuple[str | None, int | None]:
        return slices.nearest(self.index, row, self.query, self.slices)

    def _located(self, row: int) -> Record:
        """The record with its picture's whole path, so that whoever gets the hit can open it."""
        record: Record = self.index.records[row]
        path = self.index.image_path(record)
        return replace(record, image=str(path)) if path else record

    def _ranking(self, depth: int) -> Ranking:
        if self.mode == "fused":
            # ranks far below k still decide a fused order, so both lists go deeper than the cut
            vectors, rankings = self._asking(max(4 * depth, 50))
            if self.options.fusion == "learned":
                weights = weights_of(self.index, self.options.weights)
                found = weigh(self.index, self.query, vectors, rankings, weights, self.eligible, max(4 * depth, 50))
                return list(self._once(found))
            return self._fuse(*rankings)
        # one space: whichever vector the query has asks the chosen index
        vector = self.image if self.image is not None else self.text
        if self.mode == "image":
            return self._rank("image", vector, depth)
        return self._rank("text", self.text if self.text is not None else vector, depth)

    def _asking(self, depth: int) -> tuple[dict[str, Float32 | None], tuple[Ranking, Ranking]]:
        """The vectors that ask pictures and captions, and what they rank."""
        image, text = self.image, self.text
        if self.index.manifest.shared_space:
            image, text = (image if image is not None else text), (text if text is not None else image)
        by_text = self._rank("text", text, depth)
        if image is None:
            image = self._feedback(by_text, self.index.image_embeddings)
        by_image = self._rank("image", image, depth)
        if text is None:
            text = self._feedback(by_image, self.index.text_embeddings)
            by_text = self._rank("text", text, depth)
        return {"image": image, "caption": text}, (by_image, by_text)

    def _feedback(self, ranking: Ranking, embeddings: Callable[[Sequence[int]], Float32]) -> Float32 | None:
        """What asks the other index where the query has nothing for it."""
        top = ranking[:FEEDBACK]
        return feedback([score for _, score in top], embeddings([row for row, _ in top])) if top else None

    def _fuse(self, by_image: Ranking, by_text: Ranking) -> Ranking:
        if self.options.fusion == "rrf":
            return reciprocal_rank([by_image, by_text])
        known = self.index.manifest.calibration
        scales = [known.get("image_similarity"), known.get("text_similarity")]
        if not all(scales):
            raise InputError(f"index {self.index.path} is too small to calibrate scores: use fusion rrf")
        return mean_calibrated([by_image, by_text], [(scale["mean"], scale["sd"]) for scale in scales if scale])

    def _diversify(self, ranking: Ranking) -> Ranking:
        rows = [row for row, _ in ranking]
        vectors = np.nan_to_num(self.index.image_embeddings(rows))
        return diversify(ranking, vectors, self.options.diversity)

    def _rank(self, kind: str, vector: Float32 | None, depth: int) -> Ranking:
        """The ``depth`` nearest eligible rows: looks ever deeper until there are as many, at last at everything."""
        index = self.index
        store, rows = (index.image_store, index.image_rows) if kind == "image" else (index.text_store, index.text_rows)
        if store is None or vector is None:
            return []
        reach = _reach(depth, store)
        ahead = self.ahead.get((kind, depth))
        scores, positions = ahead[1:] if ahead and ahead[0] is vector else self._ask(store, vector, reach)
        while True:
            nearest = ((int(rows[at]), float(score)) for score, at in zip(scores, positions, strict=True))
            # records are read only until there are enough
            found = list(islice(self._once(hit for hit in nearest if self.eligible(hit[0])), depth))
            if len(found) == depth or len(positions) < reach or reach >= len(store):
                return found
            reach = min(8 * reach, len(store))
            scores, positions = self._ask(store, vector, reach)

    def _ask(self, store: VectorStore, vector: Float32, reach: int) -> tuple[Float32, Int64]:
        """The store's nearest; one that can filter by itself leaves out what it knows to be ineligible."""
        other = self.subject if self.options.exclude_subject else None
        if isinstance(store, FilteringStore) and (self.options.where or other is not None):
            scores, positions = store.search_where(vector[None], reach, self.options.where, other)
        else:
            scores, positions = store.search(vector[None], reach)
        return scores[0], positions[0]

    def _once(self, ranking: Iterable[tuple[int, float]]) -> Iterator[tuple[int, float]]:
        """``ranking`` with the first record of each volume alone, unless all slices are asked for."""
        seen: set[str] = set()
        for row, score in ranking:
            volume = volume_of(self.index.records[row])
            if volume not in seen or self.options.slices == "all":
                seen.add(volume)
                yield row, score

    def eligible(self, row: int) -> bool:
        """Whether the record in ``row`` may be found."""
        record: Record = self.index.records[row]
        own = self.options.exclude_subject and self.subject is not None and record.subject_id == self.subject
        double = self.options.duplicates == "exclude" and volume_of(record) in self.copied
        silent = self.options.with_text and not (record.caption or record.labels)
        left_out = own or double or silent or record.id in self.options.exclude_ids
        return not left_out and self.options.where.allows(record)
