"""One build of one index: encode what is new, commit it by segments, then compact, derive and calibrate."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ragvlm.errors import CorpusError, InputError, StoreError
from ragvlm.index.build import BuildOptions, BuildReport
from ragvlm.index.derived import usable, write_derived
from ragvlm.index.index import Index
from ragvlm.index.ledger import Ledger, compact
from ragvlm.index.manifest import NAME, Counts, Manifest, check_encoder, damaged, read_manifest, utc_now
from ragvlm.index.prepare import Outcome, Prepared, Preparer, Unchanged
from ragvlm.index.segments import Row, to_json, write_segment
from ragvlm.types import Encoder, Float32, Skipped

if TYPE_CHECKING:
    from ragvlm.corpus import Corpus

BATCH_PIXELS = 1 << 26  # a batch of large pictures ends earlier: 64 million pixels are 200 MB


class Writer:
    """One build of one index, under its lock."""

    def __init__(self, root: Path, corpus: Corpus, encoder: Encoder, options: BuildOptions) -> None:
        self.root, self.corpus, self.encoder, self.options = root, corpus, encoder, options
        self.manifest = self._begin()
        self.ledger = Ledger.read(root, self.manifest)
        self.before = self.ledger.known
        self.written: set[str] = set()
        self.kept: set[str] = set()
        self.skipped: list[Skipped] = list(corpus.skipped)
        self.encoded = 0

    def run(self, started: float) -> Index:
        """Bring the index in line with the corpus. Raises CorpusError where nothing of it can be indexed."""
        preparer = Preparer(
            self.corpus, self.before, hash_subject=self.options.hash_subject, max_pixels=self.options.max_pixels
        )
        with closing(preparer.stream(self.corpus.records)) as outcomes:
            for rows in _chunks(self._rows(outcomes), self.options.segment_rows):
                self._commit(rows)
        seen = self.kept | self.written
        if not seen:
            raise CorpusError(self._nothing())
        removed = sorted(self.ledger.entries.keys() - seen)
        self.ledger.remove(removed)
        self._finish(changed=bool(self.written or removed) or not self.manifest.complete)
        return Index(self.root, self.manifest, encoder=self.encoder, report=self._report(len(removed), started))

    def _begin(self) -> Manifest:
        """The committed state to go on from, or that of a new index."""
        key = getattr(self.options.hash_subject, "fingerprint", "unnamed") if self.options.hash_subject else None
        fresh = Manifest(
            encoder=self.encoder.name,
            encoder_fingerprint=self.encoder.fingerprint,
            image_dim=self.encoder.image_dim,
            text_dim=self.encoder.text_dim,
            shared_space=self.encoder.shared_space,
            encoder_options=dict(getattr(self.encoder, "options", {})),
            corpus=self.corpus.name,
            corpus_root=str(Path(self.corpus.root).resolve()),
            corpus_fingerprint=self.corpus.fingerprint,
            store=self.options.store,
            subject_key=key,
            created=utc_now(),
            updated=utc_now(),
        )
        old = read_manifest(self.root) if (self.root / NAME).exists() else None
        if old is None or not old.segments:
            return fresh.committed(self.root)
        check_encoder(self.root, old, self.encoder)
        same_place = (old.corpus_root, old.corpus) == (fresh.corpus_root, fresh.corpus)
        if not same_place and old.corpus_fingerprint != fresh.corpus_fingerprint:
            raise InputError(
                f"index {self.root} holds corpus {old.corpus!r} of {old.corpus_root}, "
                f"not {fresh.corpus!r} of {fresh.corpus_root}: choose another --out"
            )
        broken = [segment for segment, _ in damaged(self.root, old)]
        if broken:  # their records are encoded anew; without counts, all ids are looked at
            segments = tuple(segment for segment in old.segments if segment not in broken)
            old = replace(old, segments=segments, counts=Counts(), derived=(), complete=False)
        return replace(old, subject_key=key)

    def _rows(self, outcomes: Iterable[Outcome]) -> Iterator[Row]:
        """Encoded rows; a batch never crosses a segment, so that a resumed build makes the same batches."""
        batch: list[Prepared] = []
        room = self.options.segment_rows
        for done, outcome in enumerate(outcomes, start=1):
            if isinstance(outcome, Skipped):
                self.skipped.append(outcome)
            elif isinstance(outcome, Unchanged):
                self.kept.add(outcome.id)
            else:
                batch.append(outcome)
            if len(batch) >= min(self.options.batch_size, room) or _pixels(batch) >= BATCH_PIXELS:
                yield from self._encode(batch)
                room = room - len(batch) or self.options.segment_rows
                batch = []
            if self.options.progress is not None:
                self.options.progress(done, len(self.corpus.records))
        yield from self._encode(batch)

    def _encode(self, batch: Sequence[Prepared]) -> Iterator[Row]:
        images = [item.image for item in batch if item.image is not None]
        texts = [item.row.record.caption for item in batch if item.row.record.caption is not None]
        pictures = iter(_unit(self.encoder.encode_images(images), len(images), self.encoder, "image") if images else ())
        captions = iter(_unit(self.encoder.encode_texts(texts), len(texts), self.encoder, "text") if texts else ())
        self.encoded += len(images)
        for item in batch:
            yield replace(
                item.row,
                image_embedding=next(pictures) if item.image is not None else None,
                text_embedding=next(captions) if item.row.record.caption is not None else None,
            )

    def _commit(self, rows: Sequence[Row]) -> None:
        dims = {"image": self.encoder.image_dim, "text": self.encoder.text_dim}
        segment = write_segment(self.root, self.manifest.next_segment, rows, dims)
        for row in rows:
            self.ledger.add(row)
            self.written.add(row.record.id)
        segments = (*self.manifest.segments, segment)
        self.manifest = self.manifest.committed(
            self.root, segments=segments, counts=self.ledger.counts, derived=(), complete=False
        )

    def _finish(self, *, changed: bool) -> None:
        old, store = self.manifest, self.options.store
        segments = old.segments
        if changed:
            segments = compact(self.root, old, self.ledger.entries, self.options.segment_rows)
        new = replace(
            old,
            segments=segments,
            counts=self.ledger.counts,
            store=store,
            skipped=len(self.skipped),
            corpus=self.corpus.name,
            corpus_root=str(Path(self.corpus.root).resolve()),
            corpus_fingerprint=self.corpus.fingerprint,
        )
        if changed or store != old.store or not usable(self.root, old):
            new = replace(new, derived=write_derived(self.root, new, store))
        if self.options.calibrate is not None and (changed or not old.calibration):
            # what is committed can be opened, and so calibrated; complete comes last
            new = replace(new, complete=False).committed(self.root)
            found = self.options.calibrate(Index(self.root, new, encoder=self.encoder))
            new = replace(new, calibration=json.loads(to_json(found)))
        new = replace(new, complete=True)
        self.manifest = new if new == read_manifest(self.root) else new.committed(self.root)
        _clean(self.root, self.manifest)

    def _report(self, removed: int, started: float) -> BuildReport:
        seconds = time.perf_counter() - started
        return BuildReport(
            path=str(self.root),
            records=self.manifest.counts.records,
            added=len(self.written - self.before.keys()),
            updated=len(self.written & self.before.keys()),
            removed=removed,
            unchanged=len(self.kept),
            skipped=tuple((item.item, item.reason) for item in self.skipped),
            seconds=seconds,
            images_per_second=self.encoded / seconds if seconds > 0 else 0.0,
        )

    def _nothing(self) -> str:
        if not self.skipped:
            return f"corpus {self.corpus.root} holds no records; nothing was changed"
        first = self.skipped[0]
        return (
            f"nothing of corpus {self.corpus.root} can be indexed, all {len(self.skipped)} records were skipped; "
            f"the first: {first.item}: {first.reason}"
        )


def _chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, size)):
        yield chunk


def _pixels(batch: Sequence[Prepared]) -> int:
    return sum(item.image.width * item.image.height for item in batch if item.image is not None)


def _unit(vectors: Float32, n: int, encoder: Encoder, kind: str) -> Float32:
    """Checked rows of unit length. Raises StoreError where the encoder gave something else than it promised."""
    dim = encoder.image_dim if kind == "image" else encoder.text_dim
    rows = np.asarray(vectors, np.float32)
    if rows.shape != (n, dim):
        raise StoreError(f"encoder {encoder.name!r} gave {kind} vectors of shape {rows.shape}, not {(n, dim)}")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise StoreError(f"encoder {encoder.name!r} gave {kind} vectors with NaN or of length 0; nothing was written")
    unit: Float32 = rows / norms
    return unit


def _clean(root: Path, manifest: Manifest) -> None:
    """Remove what no manifest names any more; a file that a reader holds open lives on for that reader."""
    listed = {item.file for item in manifest.files}
    for pattern in ("segments/*.parquet", "segments/.*.tmp", "image-*", "text-*", ".*.tmp"):
        for path in root.glob(pattern):
            if path.relative_to(root).as_posix() not in listed:
                with suppress(OSError):
                    path.unlink()
