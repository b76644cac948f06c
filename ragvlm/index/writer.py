"""One build of one index: encode what is new, commit it by segments, then compact, derive and calibrate."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragvlm.errors import CorpusError, InputError
from ragvlm.index.build import BuildOptions, BuildReport
from ragvlm.index.checks import check_encoder, damaged
from ragvlm.index.derived import usable
from ragvlm.index.engines import Job, make_engine
from ragvlm.index.finish import clean, finish
from ragvlm.index.index import Index
from ragvlm.index.ledger import Ledger, compact
from ragvlm.index.manifest import NAME, Counts, Manifest, read_manifest, utc_now
from ragvlm.index.notes import write_skipped, write_vanished
from ragvlm.index.prepare import Outcome, Unchanged
from ragvlm.index.scan import Scan
from ragvlm.index.segments import Row, write_segment
from ragvlm.types import Encoder, Skipped

if TYPE_CHECKING:
    from ragvlm.corpus import Corpus


class Writer:
    """One build of one index, under its lock."""

    def __init__(
        self,
        root: Path,
        corpus: Corpus,
        encoder: Encoder,
        options: BuildOptions,
        load: Callable[[], Encoder] | None = None,
    ) -> None:
        self.root, self.corpus, self.encoder, self.options = root, corpus, encoder, options
        self.found = read_manifest(root) if (root / NAME).exists() else None
        self.manifest = self._begin()
        self.ledger = Ledger.read(root, self.manifest)
        self.before = self.ledger.known
        self.scan = Scan() if options.rehash else Scan.read(root)
        self.written: set[str] = set()
        self.kept: set[str] = set()
        self.skipped: list[tuple[str, str]] = []
        self.load = load or partial(_given, encoder)
        self.engine = make_engine(options.engine, options.engine_options)
        self.done = 0

    def run(self, started: float) -> Index:
        """Bring the index in line with the corpus. Raises CorpusError where nothing of it can be indexed."""
        try:
            self._add()
        except CorpusError:
            if self.options.strict:
                self._undo()
            raise
        if not self.kept and not self.written:
            raise CorpusError(self._nothing())
        gone = self.ledger.entries.keys() - {record.id for record in self.corpus.records}
        if self.options.prune:
            self.ledger.remove(gone)
        removed = len(gone) if self.options.prune else 0
        self._finish(set() if self.options.prune else gone, removed=removed)
        self.scan.write(self.root)
        report = self._report(removed, len(gone) - removed, started)
        return Index(self.root, self.manifest, encoder=self.encoder, report=report)

    def _add(self) -> None:
        """Encode and commit what is new. Raises CorpusError where something must be skipped and may not be."""
        for skipped in self.corpus.skipped:
            self._skip(skipped)
        job = Job(self.corpus, self.before, self.encoder, self.load, self.options, self.scan)
        with closing(self.engine.rows(job, self._note)) as rows:
            for chunk in _chunks(rows, self.options.segment_rows):
                self._commit(chunk)

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
            store_options=dict(self.options.store_options),
            subject_key=key,
            created=utc_now(),
            updated=utc_now(),
        )
        old = self.found
        if old is None or not old.segments:
            number = old.next_segment if old else 1
            return replace(fresh, next_segment=number).committed(self.root)
        check_encoder(self.root, old, self.encoder)
        same_place = (old.corpus_root, old.corpus) == (fresh.corpus_root, fresh.corpus)
        if not same_place and old.corpus_fingerprint != fresh.corpus_fingerprint:
            raise InputError(
                f"index {self.root} holds corpus {old.corpus!r} of {old.corpus_root}, "
                f"not {fresh.corpus!r} of {fresh.corpus_root}: choose another --out"
            )
        clean(self.root, old)
        broken = [segment for segment, _ in damaged(self.root, old, checksums=self.options.rehash)]
        if broken:  # their records are encoded anew; without counts, all ids are looked at
            segments = tuple(segment for segment in old.segments if segment not in broken)
            old = replace(old, segments=segments, counts=Counts(), derived=(), complete=False)
        return replace(old, subject_key=key)

    def _note(self, outcome: Outcome | Row) -> None:
        """One record more has been looked at."""
        if isinstance(outcome, Skipped):
            self._skip(outcome)
        elif isinstance(outcome, Unchanged):
            self.kept.add(outcome.id)
        self.done += 1
        if self.options.progress is not None:
            self.options.progress(self.done, len(self.corpus.records))

    def _skip(self, outcome: Skipped) -> None:
        # an absolute path lies outside of the corpus, and names folders that are nobody's business
        item = Path(outcome.item).name if Path(outcome.item).is_absolute() else outcome.item
        reason = outcome.reason.replace(f"{self.corpus.root}/", "")
        if self.options.strict:
            raise CorpusError(f"{item}: {reason}; strict: nothing was changed")
        self.skipped.append((item, reason))

    def _undo(self) -> None:
        """Commit again what was there before this run; of a first run, an index without segments."""
        old = self.found or replace(self.manifest, segments=(), counts=Counts())
        if old.segments != self.manifest.segments:
            new = replace(old, generation=self.manifest.generation, next_segment=self.manifest.next_segment)
            self.manifest = new.committed(self.root)
            clean(self.root, self.manifest)

    def _commit(self, rows: Sequence[Row]) -> None:
        dims = {"image": self.encoder.image_dim, "text": self.encoder.text_dim}
        segment = write_segment(self.root, self.manifest.next_segment, rows, dims)
        for row in rows:
            self.ledger.add(row)
            self.written.add(row.record.id)
        segments = (*self.manifest.segments, segment)
        self.manifest = self.manifest.committed(self.root, segments=segments, counts=self.ledger.counts, complete=False)

    def _finish(self, vanished: Collection[str], *, removed: int) -> None:
        old, options = self.manifest, self.options
        changed = bool(self.written or removed) or not old.complete
        segments = old.segments
        if changed:
            segments = compact(self.root, old, self.ledger.entries, options.merge_rows)
        new = replace(
            old,
            segments=segments,
            counts=self.ledger.counts,
            store=options.store,
            store_options=dict(options.store_options),
            skipped=len(self.skipped),
            corpus=self.corpus.name,
            corpus_root=str(Path(self.corpus.root).resolve()),
            corpus_fingerprint=self.corpus.fingerprint,
            vanished=write_vanished(self.root, old, vanished),
            complete=True,
        )
        if new.store_options != old.store_options:
            new = replace(new, derived=(), tuning={})
        if removed:  # stores are made from nothing: none may keep a dead vector
            new = replace(new, derived=())
        write_skipped(self.root, self.skipped)
        self.manifest = finish(
            self.root,
            new,
            derive=changed or not usable(self.root, new),
            calibrate=self._measure if options.calibrate and (changed or not old.calibration) else None,
        )

    def _measure(self, manifest: Manifest) -> Mapping[str, Any]:
        measure = self.options.calibrate
        return measure(Index(self.root, manifest, encoder=self.encoder)) if measure else {}

    def _report(self, removed: int, vanished: int, started: float) -> BuildReport:
        seconds = time.perf_counter() - started
        return BuildReport(
            path=str(self.root),
            records=self.manifest.counts.records,
            added=len(self.written - self.before.keys()),
            updated=len(self.written & self.before.keys()),
            removed=removed,
            vanished=vanished,
            unchanged=len(self.kept),
            skipped=tuple(self.skipped),
            phi=self.corpus.phi,
            seconds=seconds,
            images_per_second=self.engine.pictures / seconds if seconds > 0 else 0.0,
        )

    def _nothing(self) -> str:
        if not self.skipped:
            return f"corpus {self.corpus.root} holds no records; nothing was changed"
        item, reason = self.skipped[0]
        return (
            f"nothing of corpus {self.corpus.root} can be indexed, all {len(self.skipped)} records were skipped; "
            f"the first: {item}: {reason}"
        )


def _given(encoder: Encoder) -> Encoder:
    return encoder


def _chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, size)):
        yield chunk
