"""Records of a corpus -> what there is to encode, decoded by a few threads ahead of the encoder."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from ragvlm.errors import CorpusError, ImageError
from ragvlm.images import open_image, perceptual_hash, pixel_hash
from ragvlm.index.scan import Scan
from ragvlm.index.segments import Row, hash_row
from ragvlm.locator import Locator
from ragvlm.paths import sha256_folder
from ragvlm.types import Record, Skipped

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragvlm.corpus import Corpus

WORKERS = min(4, os.cpu_count() or 1)
AHEAD = 2 * WORKERS  # decoded pictures that may wait for the encoder


@dataclass(frozen=True, slots=True)
class Prepared:
    """A row that lacks its embeddings, and the RGB picture to embed, if it has one."""

    row: Row
    image: Image | None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A record that is committed as it is."""

    id: str


Outcome: TypeAlias = Prepared | Unchanged | Skipped


class Preparer:
    """Calls with a record give its outcome; ``known`` maps committed ids to their row hashes."""

    def __init__(
        self,
        corpus: Corpus,
        known: Mapping[str, str],
        *,
        hash_subject: Callable[[str], str] | None = None,
        max_pixels: int | None = None,
        scan: Scan | None = None,
    ) -> None:
        self.corpus, self.known = corpus, known
        self.hash_subject, self.max_pixels = hash_subject, max_pixels
        self._digests = FileDigests(scan or Scan())

    def __call__(self, record: Record) -> Outcome:
        stored = self._stored(record)
        item = stored.image or stored.id
        if stored.image is None and stored.caption is None:
            return Skipped(item, "neither a picture nor a caption")
        try:
            path = self.corpus.image_path(record) if stored.image is not None else None
            file_hash = self._digests(Locator.of(path)) if path is not None else None
            row_hash = hash_row(stored, file_hash)
            if self.known.get(stored.id) == row_hash:
                return Unchanged(stored.id)
            if path is None:
                return Prepared(Row(stored, row_hash), None)
            image = open_image(path, max_pixels=self.max_pixels, name=item)
        except (OSError, UnicodeEncodeError) as error:
            return Skipped(item, getattr(error, "strerror", None) or "its name is not valid UTF-8: rename it")
        except (ImageError, CorpusError) as error:
            return Skipped(item, str(error).removeprefix(f"{item}: "))
        row = Row(stored, row_hash, file_hash, pixel_hash(image), perceptual_hash(image))
        return Prepared(row, image)

    def stream(self, records: Sequence[Record]) -> Generator[Outcome]:
        """The outcomes in the order of ``records``; at most AHEAD pictures are decoded and not yet taken."""
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="decode")
        pending: deque[Future[Outcome]] = deque()
        try:
            for record in records:
                pending.append(pool.submit(self, record))
                if len(pending) > AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _stored(self, record: Record) -> Record:
        """``record`` as the index keeps it: a relative picture, no blank caption, hashed subject and study."""
        caption = record.caption if record.caption and record.caption.strip() else None
        subject, study = record.subject_id, record.study_id
        if self.hash_subject is not None:
            subject = self.hash_subject(subject) if subject is not None else None
            study = self.hash_subject(study) if study is not None else None
        image = relative_image(record.image, Path(self.corpus.root))
        return replace(record, image=image, caption=caption, subject_id=subject, study_id=study)


class FileDigests:
    """SHA-256 of files; of a file with many pictures (slices, tiles, members) once, however many threads ask."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._lock = Lock()
        self._known: dict[str, Future[str]] = {}

    def __call__(self, place: Locator) -> str:
        """Hex digest of the file at ``place``, of a folder over its files' names and digests. Raises OSError."""
        if not place.parts:
            return self._scan.digest(place.file)
        with self._lock:
            asked = place.path in self._known
            digest = self._known.setdefault(place.path, Future())
        if not asked:
            try:
                digest.set_result(sha256_folder(place.file) if place.file.is_dir() else self._scan.digest(place.file))
            except OSError as error:
                digest.set_exception(error)
        return digest.result()


def relative_image(image: str | None, root: Path) -> str | None:
    """A picture's path relative to ``root`` with forward slashes; absolute where it lies elsewhere."""
    if image is None:
        return None
    path = Path(image)
    for base in (root, root.absolute(), root.resolve()):
        if path.is_absolute() and path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return path.as_posix()
