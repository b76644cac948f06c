"""Index: the records of a corpus, their embeddings and the stores that search them, as one folder on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ragvlm.errors import InputError, StoreError
from ragvlm.index.checks import RETRIES, check_encoder, settled
from ragvlm.index.manifest import Manifest
from ragvlm.index.notes import read_vanished
from ragvlm.index.snapshot import Snapshot, read_snapshot
from ragvlm.types import Encoder, Float32, Hit, Int64, Record

if TYPE_CHECKING:
    import pyarrow as pa

    from ragvlm.corpus import Corpus
    from ragvlm.index.build import BuildReport
    from ragvlm.index.rowtable import RowTable
    from ragvlm.index.upkeep import UpkeepReport
    from ragvlm.types import VectorStore


class Index:
    """An opened index. ``Index.build`` makes one, ``Index.open`` opens one; rows count from 0.

    Nothing but the manifest is read before it is needed, and the encoder is loaded by the first query.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        *,
        encoder: Encoder | str | None = None,
        encoder_options: Mapping[str, Any] | None = None,
        store: str | None = None,
        report: BuildReport | None = None,
    ) -> None:
        self.path, self.manifest = path, manifest
        self._encoder, self._encoder_options = encoder, encoder_options or {}
        self._store, self._report = store, report
        self._vanished: frozenset[str] | None = None

    @classmethod
    def build(
        cls,
        corpus: Corpus | str | Path,
        path: str | Path | None = None,
        *,
        encoder: str | Encoder | None = None,
        encoder_options: Mapping[str, Any] | None = None,
        hash_subject: Callable[[str], str] | bool = True,
        calibrate: Callable[[Index], Mapping[str, Any]] | bool = True,
        phi: str | None = None,
        **options: Any,
    ) -> Index:
        """Index ``corpus`` into the folder ``path`` (default: indexes/NAME), or bring that index up to date.

        Committed every ``segment_rows`` records: whatever ends the process, the same call goes on from the last
        commit. Records whose fields and picture are unchanged are not decoded again. Records that left the corpus stay
        and are marked (``vanished``). What can't be decoded is skipped and listed. ``encoder`` (a name is loaded with
        ``encoder_options``) defaults to the index's own, else to "embedded". ``hash_subject`` replaces subject and
        study ids: True by keyed hashes with the user's key (``ragvlm.pseudonym``), False not at all, or a function
        whose ``fingerprint`` attribute names its key. ``calibrate`` measures what abstention and evidence need on the
        corpus itself (``ragvlm.calibration``); False leaves it out, a function is given the index and returns a JSON
        object of its own. ``phi`` is that of ``Corpus.load``, where ``corpus`` is a path. ``options`` are the fields
        of ``ragvlm.index.build.BuildOptions``: store, batch_size, segment_rows, engine, prune, strict, progress, ...
        The result has ``report``.

        Raises CorpusError where nothing can be indexed, InputError where ``path`` holds something else,
        EncoderMismatchError where another encoder built the index, StoreError where another process writes it.
        """
        from ragvlm.index.build import BuildOptions, build_index

        chosen = BuildOptions.of(**options)
        return build_index(corpus, path, encoder, encoder_options or {}, chosen, hash_subject, calibrate, phi)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        encoder: Encoder | str | None = None,
        encoder_options: Mapping[str, Any] | None = None,
        store: str | None = None,
    ) -> Index:
        """Open the index in the folder ``path``; of a build that was interrupted, what is committed.

        ``encoder`` and ``store`` default to those that the manifest names; an encoder by name is loaded with the
        manifest's options for it and with ``encoder_options`` (device, trust_remote_code, ...). Raises StoreError where
        ``path`` is no index, of another format or half-copied, EncoderMismatchError where ``encoder`` didn't build it.
        """
        root = Path(path)
        manifest = settled(root)
        if encoder is not None and not isinstance(encoder, str):
            check_encoder(root, manifest, encoder)
        return cls(root, manifest, encoder=encoder, encoder_options=encoder_options, store=store)

    def __len__(self) -> int:
        return self.manifest.counts.records

    def __repr__(self) -> str:
        return f"Index({str(self.path)!r}, {len(self)} records, encoder {self.manifest.encoder!r})"

    @property
    def report(self) -> BuildReport:
        """What the build did. Raises InputError for an index that was opened."""
        if self._report is None:
            raise InputError(f"index {self.path} was opened, not built: it has no report")
        return self._report

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder that built the index. Raises EncoderMismatchError where its fingerprint is another now."""
        encoder = self._encoder or self.manifest.encoder
        if isinstance(encoder, str):
            from ragvlm.encoders import load_encoder

            encoder = load_encoder(encoder, **{**self.manifest.encoder_options, **self._encoder_options})
        check_encoder(self.path, self.manifest, encoder)
        return encoder

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over the encoder's fingerprint and the checksums of the segments, in order."""
        parts = [self.manifest.encoder_fingerprint, *(segment.sha256 for segment in self.manifest.segments)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def records(self) -> Sequence[Record]:
        """The live records in row order; each is made when it is asked for."""
        return self._state.records

    @property
    def vanished(self) -> frozenset[str]:
        """Ids of the records that the corpus no more held when it was last indexed. Raises StoreError."""
        _ = self._state
        return self._vanished if self._vanished is not None else read_vanished(self.path, self.manifest)

    @property
    def image_store(self) -> VectorStore | None:
        """The store of the picture embeddings, None where there are none."""
        return self._state.image.store

    @property
    def text_store(self) -> VectorStore | None:
        """The store of the caption embeddings, None where there are none."""
        return self._state.text.store

    @property
    def image_rows(self) -> Int64:
        """The row of each position of ``image_store``: int64 (m,), ascending."""
        return self._state.image.rows

    @property
    def text_rows(self) -> Int64:
        """The row of each position of ``text_store``: int64 (m,), ascending."""
        return self._state.text.rows

    def image_embeddings(self, rows: Sequence[int] | Int64) -> Float32:
        """The picture embeddings of ``rows``: float32 (m, image_dim), unit rows; NaN for a row without one."""
        return self._state.image.of_rows(rows)

    def text_embeddings(self, rows: Sequence[int] | Int64) -> Float32:
        """The caption embeddings of ``rows``: float32 (m, text_dim), unit rows; NaN for a row without one."""
        return self._state.text.of_rows(rows)

    @property
    def content_hashes(self) -> Sequence[str | None]:
        """The SHA-256 of each row's pixels ; None without a picture; read when asked for."""
        return self._state.hashes

    @property
    def rows(self) -> RowTable:
        """Numbers of each row, memory-mapped: hashes of 64 bits, and where it lies."""
        return self._state.table

    def exact_duplicates(self) -> list[tuple[str, ...]]:
        """Groups of ids of records whose pictures have equal pixels, in row order."""
        from ragvlm.index.info import exact_duplicates

        return exact_duplicates(self)

    def image_path(self, record: Record) -> Path | None:
        """Where the picture of ``record`` lay when the corpus was indexed."""
        return Path(self.manifest.corpus_root) / record.image if record.image is not None else None

    def pseudonym(self, name: str) -> str:
        """``name`` as the index keeps subjects: as it is, or hashed with the key that it was built with.

        Raises InputError where that key isn't at hand: a subject could not be told from others.
        """
        from ragvlm.index.info import pseudonym

        return pseudonym(self, name)

    @overload
    def search(self, queries: list[Any], k: int = 10, mode: str = "auto", **options: Any) -> list[list[Hit]]: ...
    @overload
    def search(self, queries: Any, k: int = 10, mode: str = "auto", **options: Any) -> list[Hit]: ...
    def search(self, queries: Any, k: int = 10, mode: str = "auto", **options: Any) -> list[Hit] | list[list[Hit]]:
        """The ``k`` nearest references of one query, or of each of a list of queries; see ``ragvlm.retrieve``.

        A query is a picture (path, PIL image or array), words, or a Query.
        """
        from ragvlm.retrieve import search

        return search(self, queries, k, mode, **options)

    def info(self) -> dict[str, Any]:
        """What ``ragvlm info --json`` prints."""
        from ragvlm.index.info import facts

        return facts(self)

    def verify(self) -> None:
        """Look at all files: see ``ragvlm.index.verify``. Raises StoreError naming the first that is damaged."""
        from ragvlm.index.verify import verify

        for finding in verify(self.path).findings:
            raise StoreError(f"index {self.path}: {finding}")

    def delete(
        self,
        ids: str | Collection[str],
        *,
        calibrate: Callable[[Index], Mapping[str, Any]] | bool = True,
        wait: bool = False,
    ) -> UpkeepReport:
        """Take records out of all files on disk, not only out of sight; this index goes on with the rest.

        The next build over a corpus that still has them adds them again. ``calibrate`` and ``wait`` as in ``build``.
        Raises InputError for an id that isn't there, and then deletes none.
        """
        from ragvlm.index.build import calibrator
        from ragvlm.index.upkeep import delete_records

        report = delete_records(self, [ids] if isinstance(ids, str) else ids, calibrator(calibrate), wait=wait)
        self.go_on(settled(self.path))
        return report

    def to_table(self) -> pa.Table:
        """The live records as an Arrow table, without embeddings: the columns ``segments.METADATA``."""
        return self._state.live()

    @cached_property
    def _state(self) -> Snapshot:
        # records, marks and stores are read together, so that they are of one generation also beside a writer
        for _ in range(RETRIES):
            self._vanished = None
            with suppress(StoreError):
                self._vanished = read_vanished(self.path, self.manifest)
            try:
                return read_snapshot(self.path, self.manifest, self._store or self.manifest.store)
            except StoreError:
                latest = settled(self.path)
                if (
                    latest.segments == self.manifest.segments
                    or latest.encoder_fingerprint != self.manifest.encoder_fingerprint
                ):
                    raise
                self.go_on(latest)
        return read_snapshot(self.path, self.manifest, self._store or self.manifest.store)

    def go_on(self, manifest: Manifest) -> None:
        """Forget what was read, and read from now on what ``manifest`` says."""
        self.manifest = manifest
        for name in ("_state", "fingerprint"):
            self.__dict__.pop(name, None)
