"""How an index is built: the options, the report, and the folder that holds it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragvlm.errors import InputError, StoreError
from ragvlm.index import lock
from ragvlm.index.finish import tidied
from ragvlm.index.manifest import NAME, read_manifest
from ragvlm.phi import REDACT, PhiReport
from ragvlm.stores import AUTO, check_store, kept_options

if TYPE_CHECKING:
    from ragvlm.corpus import Corpus
    from ragvlm.index.index import Index
    from ragvlm.types import Encoder


MERGE_ROWS = 16_384  # about 70 MB of a segment with the default encoder: few files, and cheap to rewrite


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did. ``records`` are in the index now; ``skipped`` are (item, reason).

    ``vanished`` are those of them that the corpus no more holds, ``removed`` those that were pruned. A record whose
    picture can't be read any more is skipped, and stays as it was indexed. ``phi`` counts what identified persons in
    the texts (``ragvlm.phi``).
    ``images_per_second`` counts the pictures encoded in this run over its wall time ``seconds``.
    """

    path: str
    records: int
    added: int
    updated: int
    removed: int
    vanished: int
    unchanged: int
    skipped: tuple[tuple[str, str], ...]
    seconds: float
    images_per_second: float
    phi: PhiReport = field(default_factory=PhiReport)

    def to_dict(self) -> dict[str, Any]:
        """The object that ``ragvlm index --json`` prints."""
        return {
            "path": self.path,
            "records": self.records,
            "added": self.added,
            "updated": self.updated,
            "removed": self.removed,
            "vanished": self.vanished,
            "unchanged": self.unchanged,
            "skipped": [{"item": item, "reason": reason} for item, reason in self.skipped],
            "phi": self.phi.to_dict(),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 2),
        }

    def __str__(self) -> str:
        changes = ", ".join(
            f"{getattr(self, name)} {name}"
            for name in ("added", "updated", "removed", "vanished", "unchanged")
            if getattr(self, name)
        )
        return (
            f"{self.path}: {self.records} records ({changes}), {len(self.skipped)} skipped, "
            f"{self.seconds:.1f} s, {self.images_per_second:.1f} images/s"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How to build; any field may be given to ``Index.build``.

    store: see ``ragvlm.stores``, with its store_options. batch_size: pictures that are encoded together. segment_rows:
    records a commit; the last commit merges segments up to merge_rows. max_pixels: refuse larger pictures. engine: what
    decodes and encodes, "local" or "ray", with engine_options (``ragvlm.index.ray_engine``). prune: remove records that
    left the corpus instead of marking them. strict: make what can't be indexed an error that leaves everything as it
    was. rehash: read all pictures and the index's own segments, also where the file system says that nothing changed.
    recall: the recall@10 to which an approximate store is tuned where "auto" chose it, 0 to leave it as it is.
    wait: wait for another process that writes the index. progress: called with the records done and all records.
    ``hash_subject`` and ``calibrate``: see ``Index.build``.
    """

    store: str = AUTO
    store_options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 16
    segment_rows: int = 512
    merge_rows: int = MERGE_ROWS
    max_pixels: int | None = None
    engine: str = "local"
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    prune: bool = False
    strict: bool = False
    rehash: bool = False
    recall: float = 0.95
    wait: bool = False
    hash_subject: Callable[[str], str] | None = None
    calibrate: Callable[[Index], Mapping[str, Any]] | None = None
    progress: Callable[[int, int], None] | None = None

    @classmethod
    def of(cls, **options: Any) -> BuildOptions:
        """The options by name. Raises InputError for a name that is none."""
        known = [item.name for item in fields(cls) if item.name not in ("hash_subject", "calibrate")]
        for name in options:
            if name not in known:
                raise InputError(f"there is no option {name!r}: choose among {', '.join(known)}")
        return cls(**options)

    def __post_init__(self) -> None:
        for name in ("batch_size", "segment_rows", "merge_rows"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give a whole number above 0")
        if not 0 <= self.recall < 1:
            raise InputError(f"recall is {self.recall}: give a number from 0 to below 1")


def build_index(
    corpus: Corpus | str | Path,
    path: str | Path | None,
    encoder: str | Encoder | None,
    encoder_options: Mapping[str, Any],
    options: BuildOptions,
    hash_subject: Callable[[str], str] | bool,
    calibrate: Callable[[Index], Mapping[str, Any]] | bool,
    phi: str | None,
) -> Index:
    """See ``Index.build``."""
    from ragvlm.index.writer import Writer

    started = time.perf_counter()
    check_store(options.store, options.store_options)
    if isinstance(corpus, str | Path):
        from ragvlm.corpus import Corpus

        corpus = Corpus.load(corpus, phi=phi or REDACT)
    elif phi is not None and phi != corpus.phi.mode:
        raise InputError(f"phi is {phi!r}, but the corpus was read with {corpus.phi.mode!r}: say so to Corpus.load")
    root = Path(path) if path is not None else Path("indexes") / corpus.name
    _check_target(root)
    load = None
    if encoder is None or isinstance(encoder, str):
        load = _encoder_loader(root, encoder, encoder_options)
        encoder = load()
    options = replace(options, store_options=kept_options(options.store, options.store_options))
    options = replace(options, hash_subject=_hasher(hash_subject, corpus), calibrate=calibrator(calibrate))
    with _folder(root, options.wait):
        writer = Writer(root, corpus, encoder, options, load)
        try:
            index = writer.run(started)
        except KeyboardInterrupt:
            done, total = len(writer.ledger.entries), len(corpus.records)
            message = f"interrupted: {done} of {total} records are committed; run the same command again to go on"
            raise KeyboardInterrupt(message) from None
    if options.recall:
        from ragvlm.index.tune import tune_chosen

        index.manifest = tune_chosen(root, index.manifest, options.recall)
    return index


def _encoder_loader(root: Path, name: str | None, options: Mapping[str, Any]) -> Callable[[], Encoder]:
    """Loads the encoder ``name``, or where none is named the one of the index that is there, with its options."""
    from ragvlm.encoders import load_encoder

    if name is not None:
        return partial(load_encoder, name, **options)
    if not (root / NAME).exists():
        return partial(load_encoder, **options)
    old = read_manifest(root)
    return partial(load_encoder, old.encoder, **{**old.encoder_options, **options})


def _hasher(chosen: Callable[[str], str] | bool, corpus: Corpus) -> Callable[[str], str] | None:
    if not isinstance(chosen, bool):
        return chosen
    # no key is made for a corpus that names no subject
    if not chosen or not any(record.subject_id or record.study_id for record in corpus.records):
        return None
    from ragvlm.pseudonym import pseudonymizer

    return pseudonymizer()


def calibrator(chosen: Callable[[Index], Mapping[str, Any]] | bool) -> Callable[[Index], Mapping[str, Any]] | None:
    """What measures an index: the chosen function, for True ``calibrate_index``, for False nothing."""
    if not isinstance(chosen, bool):
        return chosen
    if not chosen:
        return None
    from ragvlm.calibration import calibrate_index

    return calibrate_index


def _check_target(root: Path) -> None:
    """Raise InputError unless ``root`` is absent, empty or an index (or what a kill left of an empty one)."""
    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file: choose a folder as --out")
    if not root.exists() or (root / NAME).exists():
        return
    own = (lock.NAME, lock.HOLDER)
    foreign = [p.name for p in root.iterdir() if p.name not in own and not p.name.startswith(f".{NAME}.")]
    if foreign:
        raise InputError(f"{root} is not empty and not an index (it holds {min(foreign)!r}): choose another --out")


@contextmanager
def _folder(root: Path, wait: bool) -> Iterator[None]:
    """Make the folder and hold its lock; a failure before the first commit leaves nothing behind."""
    created = not root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{root}: {error.strerror}; choose a folder that can be written") from error
    with lock.writing(root, wait=wait):
        try:
            with tidied(root):
                yield
        except BaseException:
            if not _committed(root):
                _discard(root, created)
            raise


def _committed(root: Path) -> bool:
    """Whether there is anything to keep; a manifest that can't be read is kept for its owner to look at."""
    try:
        return bool(read_manifest(root).segments)
    except StoreError:
        return (root / NAME).exists()


def _discard(root: Path, created: bool) -> None:
    if created:
        shutil.rmtree(root, ignore_errors=True)
        return
    (root / NAME).unlink(missing_ok=True)
    shutil.rmtree(root / "segments", ignore_errors=True)
