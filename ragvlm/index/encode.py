"""Prepared records -> rows with their embeddings: one thread encodes while others decode and write."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from ragvlm.encoders.pooling import pool
from ragvlm.errors import StoreError
from ragvlm.index.prepare import Prepared
from ragvlm.index.segments import Row
from ragvlm.types import Encoder, Float32

BATCH_BYTES = 1 << 28  # a batch of large pictures ends earlier
QUEUED = 2  # batches that wait for the encoder or are in it: it has the next one while rows are written


class RowEncoder:
    """Encodes by batches of at most ``batch_size``; ``pictures`` counts those that were encoded.

    A batch never crosses the end of a segment of ``segment_rows`` rows, so that a resumed build makes the same batches.
    """

    def __init__(self, encoder: Encoder, batch_size: int, segment_rows: int) -> None:
        self.encoder, self.batch_size, self.segment_rows = encoder, batch_size, segment_rows
        self.pictures = 0

    def rows(self, prepared: Iterable[Prepared]) -> Generator[Row]:
        """The rows of ``prepared``, in its order.

        Raises what the encoder raises, and StoreError where its vectors are not what it promised.
        """
        pool = ThreadPoolExecutor(1, thread_name_prefix="encode")
        pending: deque[Future[list[Row]]] = deque()
        try:
            for batch in self._batches(prepared):
                pending.append(pool.submit(self._encode, batch))
                if len(pending) > QUEUED:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _batches(self, prepared: Iterable[Prepared]) -> Iterator[list[Prepared]]:
        batch: list[Prepared] = []
        room = self.segment_rows
        for item in prepared:
            batch.append(item)
            if len(batch) >= min(self.batch_size, room) or sum(one.bytes for one in batch) >= BATCH_BYTES:
                room = room - len(batch) or self.segment_rows
                yield batch
                batch = []
        if batch:
            yield batch

    def _encode(self, batch: Sequence[Prepared]) -> list[Row]:
        sizes = [len(item.inputs) for item in batch if item.inputs]
        pictured = [one for item in batch for one in item.inputs]
        texts = [item.row.record.caption for item in batch if item.row.record.caption is not None]
        # an encoder of a third party may have the protocol's two methods alone
        encode_inputs = getattr(self.encoder, "encode_inputs", self.encoder.encode_images)
        pictures = iter(pool(self._checked(encode_inputs(pictured), len(pictured), "image"), sizes) if pictured else ())
        captions = iter(self._checked(self.encoder.encode_texts(texts), len(texts), "text") if texts else ())
        self.pictures += len(pictured)
        return [
            replace(
                item.row,
                image_embedding=next(pictures) if item.inputs else None,
                text_embedding=next(captions) if item.row.record.caption is not None else None,
            )
            for item in batch
        ]

    def _checked(self, vectors: Float32, n: int, kind: str) -> Float32:
        """Rows of unit length."""
        name = self.encoder.name
        dim = self.encoder.image_dim if kind == "image" else self.encoder.text_dim
        rows = np.asarray(vectors, np.float32)
        if rows.shape != (n, dim):
            raise StoreError(f"encoder {name!r} gave {kind} vectors of shape {rows.shape}, not {(n, dim)}")
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not norms.all():
            raise StoreError(f"encoder {name!r} gave {kind} vectors with NaN or of length 0; nothing was written")
        unit: Float32 = rows / norms
        return unit
