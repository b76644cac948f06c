"""Milvus (Wang et al. 2021, doi 10.1145/3448016.3457550), embedded or on a server: one collection for each store.

The file of such a store is a small JSON descriptor: where the server is and what the collection is called, never a
token. The collection's name is drawn at random, so that a new generation of an index fills its own beside the one
that readers still use; the descriptor is written before the collection is made, so that a collection that a kill left
behind can be found and dropped. What a filter can ask for lies there as 64-bit hashes: no text of a user becomes
part of a query.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any, Self

import numpy as np

from ragvlm.errors import InputError, StoreError
from ragvlm.filters import Filter
from ragvlm.stores.exact import best, check_k, check_positions, check_vectors, slack, stack
from ragvlm.stores.milvus_client import (
    URI,
    Server,
    batches,
    connect,
    hashed,
    hashed_facts,
    is_url,
    keep_token,
    scratch,
    unique,
)
from ragvlm.types import Float32, Int64, Record

EMBEDDED = "milvus.db"  # the folder beside the descriptor, where no server is named
EXACT = "FLAT"
MARGIN = 8  # candidates beyond k, so that a tie at the cut rarely needs a second look
MOST = 16_384  # results that Milvus gives at most
BATCH = 2000  # rows sent at once: 2000 vectors of 768 numbers are 6 MB; a message may have 64
QUERIES = 16  # asked at once
COLUMNS = ("position", "vector", "subject", "facts")
Found = tuple[Float32, Int64]


class MilvusStore:
    """A collection of Milvus.

    uri: where the server is, "http://host:19530" (default: ``$RAGVLM_MILVUS_URI``, else an embedded Milvus in the
    folder ``milvus.db`` beside the store's file, which one process at a time can open). token: "user:password" or an
    API key (default: ``$RAGVLM_MILVUS_TOKEN``, for the server in ``$RAGVLM_MILVUS_URI`` alone); it is written nowhere.
    collection: how the collection's name begins. index_type: "FLAT" finds exactly; others of Milvus ("HNSW",
    "IVF_FLAT", "DISKANN", "AUTOINDEX", ...) take their ``index_params`` and ``search_params``; what they find is
    approximate, its scores are not.

    Raises StoreError where Milvus can't be reached, InputError for a uri or a name that can't be one.
    """

    name = "milvus"
    suffix = ".milvus"
    secrets = ("token",)

    def __init__(
        self,
        dim: int,
        *,
        uri: str | None = None,
        token: str | None = None,
        collection: str = "ragvlm",
        index_type: str = EXACT,
        index_params: dict[str, Any] | None = None,
        search_params: dict[str, Any] | None = None,
    ) -> None:
        uri = uri or os.environ.get(URI)
        if uri and not is_url(uri):
            raise InputError(f"milvus: uri {uri!r} is not http://HOST:PORT (an embedded one needs none)")
        if uri and token:
            keep_token(uri, token)
        self._options: dict[str, Any] = {"uri": uri, "collection": collection, "index_type": index_type}
        self._options |= {"index_params": index_params or {}, "search_params": search_params or {}}
        self.dim, self._rows, self._collection = dim, 0, unique(collection)
        self._path: Path | None = None  # the descriptor
        self._made = self._shared = False
        self._server: Server | None = None

    @classmethod
    def create(cls, path: Path, dim: int, **options: Any) -> Self:
        """An empty store that the descriptor ``path``, written at once, names; what it named before is dropped."""
        cls.discard(path)
        store = cls(dim, **options)
        store._path = path
        store._describe(path)
        return store

    @classmethod
    def discard(cls, path: Path) -> None:
        """Drop the collection that the descriptor ``path`` names; quietly, where it or its server isn't there."""
        with suppress(StoreError):
            store = cls._opened(path)
            store._connection.drop(store._collection)

    def __len__(self) -> int:
        return self._rows

    def add(self, vectors: Float32) -> None:
        """Append float32 (n, dim) unit rows; positions count on from ``len(self)``. Raises StoreError."""
        self._insert(check_vectors(vectors, self.dim, "vectors"), None)

    def add_facts(self, vectors: Float32, records: Sequence[Record]) -> None:
        """As ``add``, with the record of each row, for ``search_where``. Raises StoreError."""
        self._insert(check_vectors(vectors, self.dim, "vectors"), records)

    def search(self, queries: Float32, k: int) -> Found:
        """Scores in [-1, 1] and positions, both (n, min(k, len(self))), best first, equal scores by lower position.

        ``queries`` are float32 (n, dim) unit rows. Raises StoreError for others, InputError for k < 1.
        """
        return self._search(queries, k, "")

    def search_where(self, queries: Float32, k: int, where: Filter, not_subject: str | None = None) -> Found:
        """As ``search`` among the rows whose record ``where`` allows and whose subject isn't ``not_subject``."""
        terms = [f"ARRAY_CONTAINS_ANY(facts, {[hashed(n, w) for w in words]})" for n, words in where.conditions]
        if not_subject is not None:
            terms.append(f"subject != {hashed(not_subject)}")
        return self._search(queries, k, " and ".join(terms))

    def get(self, positions: Int64) -> Float32:
        """The vectors at ``positions`` (m,): float32 (m, dim), a copy. Raises InputError outside of the store."""
        names, at = np.unique(check_positions(positions, len(self)), return_inverse=True)
        rows = [self._fetch(f"position in {list(part)}", len(part)) for part in batches(names.tolist(), BATCH)]
        return np.concatenate([np.empty((0, self.dim), np.float32), *(vectors for _, vectors in rows)])[at]

    def save(self, path: Path) -> None:
        """Write the descriptor ``path``; a store that another file tells of is copied. Raises StoreError."""
        if self._path is None or path.absolute() != self._path.absolute():
            other = type(self).create(path, self.dim, **self._options)
            self._copy_to(other)
            other.save(path)
            return
        if self._made:
            self._connection.call("flush", self._collection)
        self._describe(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The store of the descriptor ``path``. Raises StoreError where that is damaged or its collection gone."""
        store = cls._opened(path)
        if len(store) and store._count() != len(store):
            raise StoreError(f"store {path}: its collection at {store._connection.uri} isn't whole; index again")
        return store

    @classmethod
    def _opened(cls, path: Path) -> Self:
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            rows, collection = facts["rows"], facts["collection"]
            store = cls(facts["dim"], uri=facts["uri"], **facts["options"])
            if not (isinstance(rows, int) and isinstance(collection, str) and isinstance(store.dim, int)):
                raise ValueError
        except (OSError, LookupError, TypeError, ValueError, InputError) as error:
            raise StoreError(f"{path} can't be read as the descriptor of a milvus store; index again") from error
        if facts["uri"] is None:  # whatever the environment says: this one lies beside its descriptor
            store._options["uri"] = None
        store._path, store._rows, store._collection = path, rows, collection
        store._made = store._shared = rows > 0
        return store

    @property
    def _connection(self) -> Server:
        if self._server is None:
            beside = str(self._path.parent.absolute() / EMBEDDED) if self._path else scratch()
            self._server = connect(self._options["uri"] or beside)
        return self._server

    def _insert(self, rows: Float32, records: Sequence[Record] | None) -> None:
        if self._shared:  # the collection is the file's; what is added is this object's own
            old = copy(self)
            self.__init__(self.dim, **self._options)  # type: ignore[misc]
            old._copy_to(self)
        known = [{"subject": hashed(r.subject_id), "facts": hashed_facts(r)} for r in records or ()]
        items = [
            {"position": self._rows + i, "vector": row, **(known[i] if records else {"subject": 0, "facts": []})}
            for i, row in enumerate(rows)
        ]
        self._put(items)

    def _put(self, items: Sequence[dict[str, Any]]) -> None:
        if items and not self._made:
            options = {"index_type": self._options["index_type"], "params": self._options["index_params"]}
            self._connection.make(self._collection, self.dim, options)
            self._made = True
            if self._path is None:  # no file tells of it, so it must not outlive this object
                weakref.finalize(self, self._connection.dropped.append, self._collection)
        for part in batches(items, BATCH):
            self._connection.call("insert", self._collection, list(part))
            self._rows += len(part)

    def _copy_to(self, other: MilvusStore) -> None:
        for part in batches(range(len(self)), BATCH):
            rule = f"position >= {part[0]} and position <= {part[-1]}"
            rows = self._connection.call("query", self._collection, filter=rule, output_fields=list(COLUMNS))
            items = [{name: row[name] for name in COLUMNS} for row in rows]
            other._put(sorted(items, key=lambda item: int(item["position"])))

    def _search(self, queries: Float32, k: int, rule: str) -> Found:
        queries, k = check_vectors(queries, self.dim, "queries"), min(check_k(k), len(self))
        if k == 0 or not len(queries):
            return stack([(np.empty(0, np.float32), np.empty(0, np.int64))] * len(queries), k)
        starts = range(0, len(queries), QUERIES)
        found = [row for start in starts for row in self._nearest(queries[start : start + QUERIES], k, rule)]
        k = min(len(scores) for scores, _ in found)
        return stack([(scores[:k], positions[:k]) for scores, positions in found], k)

    def _nearest(self, queries: Float32, k: int, rule: str) -> list[Found]:
        """The best k of each query, scored again."""
        near, scanned = self._candidates(queries, k, rule)
        union = np.unique(np.concatenate([*near.values(), np.empty(0, np.int64)]))
        vectors = self.get(union)
        found = []
        for i, query in enumerate(queries):
            if i in scanned:
                found.append(self._scan(query, k, rule))
                continue
            at = np.sort(near[i])
            found.append(best(query, vectors[np.searchsorted(union, at)], at, k))
        return found

    def _candidates(self, queries: Float32, k: int, rule: str) -> tuple[dict[int, Int64], set[int]]:
        """Positions among which the best k are, by query, and the queries that need all rows.

        What ties with the k-th may lie beyond what was fetched: fetch on until it can't.
        """
        near: dict[int, Int64] = {}
        pending, reach = list(range(len(queries))), min(k + MARGIN, len(self))
        while pending and reach <= MOST:
            answers = dict(zip(pending, self._ask(queries[pending], reach, rule), strict=True))
            near |= {i: at for i, (_, at) in answers.items()}
            pending = [i for i, (scores, at) in answers.items() if self._tied(scores, k, len(at) == reach)]
            reach = min(2 * reach, len(self))
        return near, set(pending)

    def _tied(self, scores: Float32, k: int, full: bool) -> bool:
        exact = self._options["index_type"] == EXACT
        return exact and full and len(scores) < len(self) and scores[-1] >= scores[k - 1] - slack(self.dim)

    def _ask(self, queries: Float32, reach: int, rule: str) -> list[tuple[Float32, Int64]]:
        """Milvus' own scores and positions, best first."""
        answers = self._connection.call(
            "search", self._collection, data=queries, anns_field="vector", limit=reach, filter=rule,
            output_fields=["position"], search_params={"metric_type": "IP", "params": self._options["search_params"]},
        )  # fmt: skip
        return [
            (
                np.array([hit["distance"] for hit in hits], np.float32),
                np.array([hit["entity"]["position"] for hit in hits], np.int64),
            )
            for hits in answers
        ]

    def _scan(self, query: Float32, k: int, rule: str) -> Found:
        """All rows, a batch at a time: for more neighbours than Milvus gives at once."""
        scores, positions = np.empty(0, np.float32), np.empty(0, np.int64)
        for part in batches(range(len(self)), BATCH):
            inside = f"position >= {part[0]} and position <= {part[-1]}"
            at, vectors = self._fetch(f"{inside} and {rule}" if rule else inside)
            more, there = best(query, vectors, at, k)
            scores, positions = np.concatenate([scores, more]), np.concatenate([positions, there])
            first = np.lexsort((positions, -scores))[:k]
            scores, positions = scores[first], positions[first]
        return scores, positions

    def _fetch(self, rule: str, rows: int | None = None) -> tuple[Int64, Float32]:
        """Positions, ascending, and vectors of the rows that meet ``rule``; there must be ``rows`` of them."""
        found = self._connection.call("query", self._collection, filter=rule, output_fields=["position", "vector"])
        if rows is not None and len(found) != rows:
            raise StoreError(f"milvus at {self._connection.uri}: {self._collection} lacks rows; index again")
        found = sorted(found, key=lambda row: int(row["position"]))
        vectors = np.array([row["vector"] for row in found], np.float32).reshape(len(found), self.dim)
        return np.array([row["position"] for row in found], np.int64), vectors

    def _count(self) -> int:
        if not self._connection.call("has_collection", self._collection):
            return 0
        self._connection.call("load_collection", self._collection)
        found = self._connection.call("query", self._collection, filter="", output_fields=["count(*)"])
        return int(found[0]["count(*)"])

    def _describe(self, path: Path) -> None:
        options = {name: value for name, value in self._options.items() if name != "uri"}
        facts = {"uri": self._options["uri"], "collection": self._collection, "dim": self.dim, "rows": self._rows}
        path.write_text(json.dumps(facts | {"options": options}, indent=1) + "\n", encoding="utf-8")
