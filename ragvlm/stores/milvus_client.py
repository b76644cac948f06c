"""How Milvus is reached: one connection for each server, its errors as one line, collections made and dropped."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import uuid
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ragvlm.errors import InputError, StoreError, reason, require
from ragvlm.filters import facts_of
from ragvlm.types import Record

URI, TOKEN = "RAGVLM_MILVUS_URI", "RAGVLM_MILVUS_TOKEN"
FACTS = 4096  # elements that an array field holds at most
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
_GONE = re.compile("not exist|not found|can't find")
_URL = re.compile(r"https?://[^/@\s]+(/[^@\s]*)?")  # without a user and a password, which would be written down


class Server:
    """A connection to Milvus: ``uri`` is "http://host:19530", or the folder of an embedded one, which ends in .db.

    Raises StoreError where it can't be reached, MissingExtraError where a package is absent.
    """

    def __init__(self, uri: str, token: str | None) -> None:
        self.uri, self.embedded = uri, not is_url(uri)
        pymilvus = require("pymilvus", "milvus")
        # it prints a traceback for every error that is told in one line below
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        if self.embedded:
            require("milvus_lite", "milvus")
            for noisy in ("milvus_lite", "grpc._server"):  # the client tries calls that an embedded server lacks
                logging.getLogger(noisy).setLevel(logging.CRITICAL)
        with self._telling("can't be reached"):
            self.client: Any = pymilvus.MilvusClient(uri, token=token or "", timeout=10)
        self.dropped: deque[str] = deque()  # collections of stores that nobody holds any more
        weakref.finalize(self, _retired.append, (self.client, uri if self.embedded else None))

    def call(self, method: str, *args: Any, **options: Any) -> Any:
        """What the client's ``method`` gives. Raises StoreError."""
        while self.dropped:
            self.drop(self.dropped.popleft())
        with self._telling(f"{method.replace('_', ' ')} failed"):
            return getattr(self.client, method)(*args, **options)

    def make(self, collection: str, dim: int, index: dict[str, Any]) -> None:
        """An empty collection of positions, vectors, hashed subjects and hashed facts."""
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("position", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        schema.add_field("subject", DataType.INT64)
        schema.add_field("facts", DataType.ARRAY, element_type=DataType.INT64, max_capacity=FACTS)
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index("vector", metric_type="IP", **index)
        self.call(
            "create_collection", collection, schema=schema, index_params=indexes, consistency_level="Strong"
        )  # a reader sees all that was written before it asked

    def drop(self, collection: str) -> None:
        """Drop ``collection`` where it is there; quietly, since it can be dropped later."""
        with suppress(StoreError):
            if self.call("has_collection", collection):
                self.call("drop_collection", collection)

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except MilvusException as error:
            told = reason(Exception(error.message))
            if self.embedded and what == "can't be reached":
                told += "; one process at a time can open it"
            elif _GONE.search(told):
                told += "; if the index was built again since you opened it, open it again"
            raise StoreError(f"milvus at {self.uri}: {what}: {told}") from error


# An object may die in any thread, also in one of the embedded server's, which must not wait for itself. So what is to
# be dropped or closed then is only noted, and done by the next who calls.
_retired: deque[tuple[Any, str | None]] = deque()
_servers: weakref.WeakValueDictionary[str, Server] = weakref.WeakValueDictionary()
_tokens: dict[str, str] = {}


def keep_token(uri: str, token: str) -> None:
    """Use ``token`` for ``uri`` as long as this process lives."""
    _tokens[uri] = token


def connect(uri: str) -> Server:
    """The connection to ``uri``, shared by all stores there and closed with the last of them."""
    close_unused()
    server = _servers.get(uri)
    if server is None:
        # an index from elsewhere names a server of its own: our token must not be given away to it
        token = _tokens.get(uri) or (os.environ.get(TOKEN) if uri == os.environ.get(URI) else None)
        server = _servers[uri] = Server(uri, token)
    return server


def is_url(uri: str) -> bool:
    """Whether ``uri`` names a server."""
    return _URL.fullmatch(uri) is not None


def scratch() -> str:
    """A folder for an embedded Milvus of one store that isn't saved yet; removed when the process ends."""
    global _scratch  # noqa: PLW0603
    if _scratch is None:
        _scratch = tempfile.TemporaryDirectory(prefix="ragvlm-milvus-", ignore_cleanup_errors=True)
    return str(Path(_scratch.name) / "milvus.db")


_scratch: tempfile.TemporaryDirectory[str] | None = None


def unique(prefix: str) -> str:
    """A name of a collection that begins with ``prefix`` and that nobody else draws. Raises InputError."""
    if not _NAME.fullmatch(prefix):
        raise InputError(f"milvus: collection {prefix!r} is no name: letters, digits and _, at most 200")
    return f"{prefix}_{uuid.uuid4().hex}"


def close_unused() -> None:
    """Close the connections that no store holds, and the embedded servers behind them."""
    while _retired:
        client, folder = _retired.popleft()
        with suppress(Exception):
            client.close()
        if folder is not None and folder not in _servers:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(folder)


def batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """``items`` in runs of ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def hashed(*words: str | None) -> int:
    """A 64-bit hash of ``words``: two of a million agree by chance with a probability of 3e-8. 0 for None."""
    if words == (None,):
        return 0
    digest = hashlib.blake2b("\0".join(str(word) for word in words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def hashed_facts(record: Record) -> list[int]:
    """What a filter can ask of ``record``, hashed, ascending. Raises StoreError where that is too much."""
    facts = sorted({hashed(name, word) for name, word in facts_of(record)})
    if len(facts) > FACTS:
        raise StoreError(
            f"record {record.id!r} has {len(facts)} values that a filter could ask for, and milvus keeps {FACTS}: "
            "leave a column out, or choose another store"
        )
    return facts
