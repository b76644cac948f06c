"""What another precision of an encoder changes on somebody's own pictures: whom they find, in which order, how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.errors import CorpusError, ImageError, InputError
from ragvlm.measures.base import Float64, Statistics
from ragvlm.statistics import Interval, interval
from ragvlm.types import Float32, Record

if TYPE_CHECKING:
    from ragvlm.corpus import Corpus

TURNS = 3
BATCH = 16
SAMPLE = 64  # pictures a turn of the timing
GOOD_OVERLAP, GOOD_SPEED = 0.9, 1.2  # from where on the lower precision is called worth it
ORDERED = 50  # of the nearest in full precision that many are compared in their order


@dataclass(frozen=True, slots=True)
class Agreement:
    """Retrieval in ``precision`` beside that in fp32, each picture asking for its nearest among all others.

    ``overlap`` is the mean share of the ``k`` nearest in fp32 that are among the k nearest here; ``first`` the share of
    pictures with the same nearest one; ``order`` the mean Spearman correlation of the similarities of the 50 nearest
    in fp32; each with a 95 % interval by subject. ``cosine`` is that of a picture's two vectors (mean, least),
    ``speed`` the CPU seconds of the tower in fp32 over those here, the median of alternating turns.
    """

    encoder: str
    precision: str
    pictures: int
    skipped: int
    k: int
    overlap: Interval
    first: Interval
    order: Interval
    cosine: tuple[float, float]
    speed: float

    @property
    def recommended(self) -> bool:
        """Whether the lower end of the overlap is 0.9 or more and the tower takes a sixth less CPU at least."""
        return bool(self.overlap.low >= GOOD_OVERLAP and self.speed >= GOOD_SPEED)

    @property
    def advice(self) -> str:
        """The recommendation in words."""
        if self.recommended:
            return f"{self.precision} is worth it here: ragvlm index CORPUS --precision {self.precision}"
        if self.speed < GOOD_SPEED:
            return f"stay with fp32: {self.precision} gains too little on this machine"
        return f"stay with fp32, unless speed matters more: {self.precision} finds others too often"

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        facts = asdict(self) | {name: getattr(self, name).to_dict() for name in ("overlap", "first", "order")}
        return facts | {"cosine": dict(zip(("mean", "least"), self.cosine, strict=True)), "advice": self.advice}


def compare_precisions(
    name: str,
    precision: str,
    corpus: Corpus,
    *,
    k: int = 10,
    most: int = 500,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Agreement:
    """Measure ``precision`` of the encoder ``name`` on the first ``most`` pictures of ``corpus``.

    Pictures of a picture's own subject don't count as its nearest. Raises InputError for an encoder without
    precisions and a k below 1, CorpusError for fewer than k + 2 pictures that can be read.
    """
    from ragvlm.encoders import load_encoder
    from ragvlm.registry import takes

    if not takes("encoders", name, "precision"):
        raise InputError(f"encoder {name!r} has one precision alone: leave --precision out")
    if k < 1:
        raise InputError(f"k is {k}: ask for at least 1 neighbour")
    same = {"runtime": "onnx"} if takes("encoders", name, "runtime") else {}
    given = {**(options or {}), **same}
    exact, other = (load_encoder(name, **given, precision=chosen) for chosen in ("fp32", precision))
    seen = _Seen(exact, other, corpus)
    seen.read([record for record in corpus.records if record.image is not None][:most], progress)
    if len(seen.subjects) < k + 2:
        raise CorpusError(f"{corpus.root}: {len(seen.subjects)} pictures can be read, {k + 2} are needed for k = {k}")
    a, b = seen.vectors
    overlap, first, order = (
        interval(Statistics.of_scores(values), seen.subjects) for values in _shares(a, b, seen.subjects, k)
    )
    cosines = np.einsum("nd,nd->n", a, b, dtype=np.float64)
    worth = (round(float(cosines.mean()), 5), round(float(cosines.min()), 5))
    speed = _speed(exact, other, seen.sample)
    return Agreement(exact.name, precision, len(a), seen.skipped, k, overlap, first, order, worth, speed)


class _Seen:
    """The pictures that could be read, as vectors of both encoders; a ``sample`` of them as the tower takes them."""

    def __init__(self, exact: Any, other: Any, corpus: Corpus) -> None:
        self.encoders, self.corpus = (exact, other), corpus
        self.subjects: list[str] = []
        self.sample: list[Any] = []
        self.skipped = 0
        self._found: list[tuple[Float32, Float32]] = []

    @property
    def vectors(self) -> tuple[Float32, Float32]:
        a, b = (np.concatenate(part) for part in zip(*self._found, strict=True))
        return a, b

    def read(self, records: Sequence[Record], progress: Callable[[int, int], None] | None) -> None:
        for start in range(0, len(records), BATCH):
            inputs = [found for record in records[start : start + BATCH] if (found := self._input(record)) is not None]
            if inputs:
                a, b = (encoder.encode_inputs(inputs) for encoder in self.encoders)
                self._found.append((a, b))
            self.sample += inputs[: SAMPLE - len(self.sample)]
            if progress:
                progress(min(start + BATCH, len(records)), len(records))

    def _input(self, record: Record) -> Any:
        from ragvlm.images import open_image

        exact = self.encoders[0]
        try:
            found = exact.image_input(open_image(self.corpus.image_path(record), side=exact.input_size))
        except (ImageError, CorpusError):
            self.skipped += 1
            return None
        self.subjects.append(record.subject_id or record.id)
        return found


def _shares(a: Float32, b: Float32, subjects: Sequence[str], k: int) -> tuple[Float64, Float64, Float64]:
    """By picture: the overlap of the k nearest, whether the nearest is the same, the correlation of the order.

    NaN for a picture with fewer than k others of other subjects, and of a correlation of fewer than three.
    """
    codes = np.unique(np.asarray(subjects), return_inverse=True)[1]
    rows = []
    for i in range(len(a)):
        others = np.flatnonzero(codes != codes[i])
        if len(others) < k:
            rows.append((np.nan, np.nan, np.nan))
            continue
        exact, found = a[others] @ a[i], b[others] @ b[i]
        by_exact, by_found = (np.argsort(-scores, kind="stable") for scores in (exact, found))
        overlap = len(set(by_exact[:k].tolist()) & set(by_found[:k].tolist())) / k
        near = by_exact[:ORDERED]
        order = np.corrcoef(np.arange(len(near)), np.argsort(np.argsort(-found[near], kind="stable")))[0, 1]
        rows.append((overlap, float(by_exact[0] == by_found[0]), order if len(near) > 2 else np.nan))
    found_rows = np.asarray(rows, np.float64)
    return found_rows[:, 0], found_rows[:, 1], found_rows[:, 2]


def _speed(exact: Any, other: Any, inputs: Sequence[Any]) -> float:
    ratios = []
    for _ in range(TURNS):
        seconds = []
        for encoder in (exact, other):
            start = time.process_time()
            encoder.encode_inputs(inputs)
            seconds.append(time.process_time() - start)
        ratios.append(seconds[0] / max(seconds[1], 1e-9))
    return round(float(np.median(ratios)), 2)
