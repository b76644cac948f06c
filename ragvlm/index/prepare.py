"""Records of a corpus -> what there is to encode, decoded by a few threads ahead of the encoder.

Of a picture that is decoded the threads make what the image tower takes, and then let it go: what waits for the encoder
is small, whatever the pictures' size. An encoder that offers no ``image_input`` is given the pictures themselves.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

from ragvlm.errors import CorpusError, ImageError
from ragvlm.formats import files_of, stack
from ragvlm.images import open_image, perceptual_hash, pixel_hash
from ragvlm.index.budget import Budget
from ragvlm.index.scan import Scan
from ragvlm.index.segments import Row, hash_row
from ragvlm.locator import Locator
from ragvlm.paths import sha256_files
from ragvlm.types import Encoder, Record, Skipped

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragvlm.corpus import Corpus

WORKERS = min(4, os.cpu_count() or 1)
AHEAD = 48  # records that may be prepared and not yet taken: three batches
AHEAD_BYTES = 1 << 28  # decoded pixels of records not yet taken; a picture that is larger by itself goes alone
_BYTES_PER_PIXEL = 8  # Pillow keeps four bytes, and turning to RGB makes a copy


@dataclass(frozen=True, slots=True)
class Prepared:
    """A row that lacks its embeddings, and what the encoder takes of its picture (``bytes`` of memory), if it has one.

    ``inputs`` are several where the picture is a volume: its slices. They are RGB pictures for encoders that have no
    ``image_input``.
    """

    row: Row
    inputs: tuple[Any, ...] = ()

    @property
    def bytes(self) -> int:
        """About how much memory ``inputs`` hold."""
        return sum(_bytes(one) for one in self.inputs)


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
        encoder: Encoder | None = None,
        hash_subject: Callable[[str], str] | None = None,
        max_pixels: int | None = None,
        scan: Scan | None = None,
    ) -> None:
        self.corpus, self.known = corpus, known
        self.hash_subject, self.max_pixels = hash_subject, max_pixels
        self._digests = FileDigests(scan or Scan())
        self._input: Callable[[Image], Any] = getattr(encoder, "image_input", lambda image: image)
        self._side: int | None = getattr(encoder, "input_size", None)

    def __call__(self, record: Record, hold: Callable[[int, int], None] | None = None) -> Outcome:
        """The outcome; ``hold`` is called with width and height before pixels are decoded, and may wait."""
        stored = self.stored(record)
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
                return Prepared(Row(stored, row_hash))
            middle, inputs = self._open(Locator.of(path), item, hold)
        except (OSError, UnicodeEncodeError) as error:
            return Skipped(item, getattr(error, "strerror", None) or "its name is not valid UTF-8: rename it")
        except (ImageError, CorpusError) as error:
            return Skipped(item, str(error).removeprefix(f"{item}: "))
        return Prepared(Row(stored, row_hash, file_hash, pixel_hash(middle), perceptual_hash(middle)), inputs)

    def _open(
        self, place: Locator, name: str, hold: Callable[[int, int], None] | None
    ) -> tuple[Image, tuple[Any, ...]]:
        """The picture (of a volume its middle slice), and what the encoder takes of it (of all its slices)."""
        # a record that is a volume as a whole says how many slices it stands for
        places = stack(place) if "slices" in place.parts else [place]
        middle, inputs = None, []
        for n, one in enumerate(places):
            image = open_image(str(one), max_pixels=self.max_pixels, name=name, side=self._side, admit=hold)
            inputs.append(self._input(image))
            middle = image if middle is None or n == len(places) // 2 else middle
        if middle is None:
            raise ImageError("holds no slices")
        return middle, tuple(inputs)

    def stream(self, records: Sequence[Record]) -> Generator[Outcome]:
        """The outcomes in the order of ``records``; at most AHEAD, with AHEAD_BYTES of pixels, are not yet taken."""
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="decode")
        budget = Budget(AHEAD_BYTES)
        pending: deque[Future[Outcome]] = deque()
        try:
            for turn, record in enumerate(records):
                pending.append(pool.submit(self._in_turn, record, turn, budget))
                if len(pending) > AHEAD:
                    yield self._taken(pending, budget)
            while pending:
                yield self._taken(pending, budget)
        finally:
            budget.close()
            pool.shutdown(wait=True, cancel_futures=True)

    def _in_turn(self, record: Record, turn: int, budget: Budget) -> Outcome:
        outcome: Outcome | None = None
        try:
            outcome = self(record, lambda width, height: budget.take(turn, _BYTES_PER_PIXEL * width * height))
        finally:
            budget.keep(turn, _held(outcome))
        return outcome

    @staticmethod
    def _taken(pending: deque[Future[Outcome]], budget: Budget) -> Outcome:
        outcome = pending.popleft().result()
        budget.give(_held(outcome))
        return outcome

    def stored(self, record: Record) -> Record:
        """``record`` as the index keeps it: a relative picture, no blank caption, hashed subject and study."""
        caption = record.caption if record.caption and record.caption.strip() else None
        subject, study = record.subject_id, record.study_id
        if self.hash_subject is not None:
            subject = self.hash_subject(subject) if subject is not None else None
            study = self.hash_subject(study) if study is not None else None
        image = relative_image(record.image, Path(self.corpus.root))
        return replace(record, image=image, caption=caption, subject_id=subject, study_id=study)


def _bytes(taken: Any) -> int:
    size: int | None = getattr(taken, "nbytes", None)
    # Pillow keeps 4 bytes a pixel
    return size if size is not None else 4 * getattr(taken, "width", 0) * getattr(taken, "height", 0)


def _held(outcome: Outcome | None) -> int:
    return outcome.bytes if isinstance(outcome, Prepared) else 0


class FileDigests:
    """SHA-256 of files; of a file with many pictures (slices, tiles, members) once, however many threads ask."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._lock = Lock()
        self._known: dict[str, Future[str]] = {}

    def __call__(self, place: Locator) -> str:
        """Hex digest of the file at ``place``, of a series over its files' digests. Raises OSError, ImageError."""
        if not place.parts:
            return self._scan.digest(place.file)
        # under the name that may be shown: what is remembered lies in the index
        name = str(place.but(**{key: None for key in place.parts if key not in ("file", "series")}))
        with self._lock:
            asked = name in self._known
            digest = self._known.setdefault(name, Future())
        if not asked:
            try:
                path = place.file
                files = files_of(place) if path.is_dir() else []
                digest.set_result(sha256_files(files) if files else self._scan.digest(path, name))
            except (OSError, ImageError) as error:
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
