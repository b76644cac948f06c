"""What classifiers that learn from an index share: their own subjects kept out, a temperature, prediction sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.classifiers.calibrate import conformal_threshold, fit_temperature, temper
from ragvlm.classifiers.labelled import Labelled, labelled
from ragvlm.encoders.base import check_images
from ragvlm.errors import InputError
from ragvlm.index import Index
from ragvlm.labelsets import LabelSet
from ragvlm.types import Float32, Hit, Int64, Query

if TYPE_CHECKING:
    from PIL.Image import Image

HELD_OUT = 0.3
"""Share of the subjects that prediction sets are measured on."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """``probabilities`` float32 (L,) of one picture, and the references behind them, where there are some.

    Of a volume ``slice`` names the one where the most probable label is likeliest.
    """

    probabilities: Float32
    neighbours: tuple[Hit, ...] = ()
    slice: str | None = None


class IndexClassifier(ABC):
    """The parent of classifiers that learn from the labelled records of an index.

    ``index`` is a folder or an Index. ``labels`` are one of its columns, or labels that stand in one: see
    ``labelled``. ``calibrate`` fits the temperature, on records whose own subject had no part in their probabilities.
    ``alpha`` asks for prediction sets: then HELD_OUT of the subjects, drawn by ``seed``, have no part in anything but
    the threshold, which is what makes the promise exact. A query's own subject has no part in its probabilities.

    Raises InputError for labels that no record bears, too few classes or subjects, an alpha outside (0, 1) and an
    index without pictures.
    """

    name: str
    rule = "softmax"

    def __init__(
        self,
        index: Index | str | Path,
        labels: str | Path | Sequence[str] | LabelSet,
        *,
        alpha: float | None,
        calibrate: bool,
        seed: int,
    ) -> None:
        if index == "":
            raise InputError(f"classifier {self.name!r} learns from labelled references: give an index")
        self.index = index if isinstance(index, Index) else Index.open(index)
        data = labelled(self.index, labels)
        self.column, self.labels, self.alpha, self.seed = data.column, data.labels, alpha, seed
        held = None
        if alpha is not None:
            if not 0 < alpha < 1:
                raise InputError(f"alpha is {alpha:g}: give the share of sets that may miss, between 0 and 1")
            data, held = data.split(HELD_OUT, seed)
        self.data = data
        self._fit()
        self.temperature = fit_temperature(*self._crossed()) if calibrate else None
        self.held_out = held.subjects if held else 0
        self.threshold = None if held is None or alpha is None else self._threshold(held, alpha)

    @property
    def calibrated(self) -> bool:
        """Whether a temperature was fitted."""
        return self.temperature is not None

    @property
    def provenance(self) -> dict[str, Any]:
        """Encoder, column, records and what was calibrated, as JSON types."""
        manifest = self.index.manifest
        return {
            "encoder": {"name": manifest.encoder, "fingerprint": manifest.encoder_fingerprint},
            "index": {"fingerprint": self.index.fingerprint, "column": self.column, "records": len(self.data)},
        }

    def classify(self, images: Sequence[Image]) -> Float32:
        """Probabilities: float32 (n, len(labels)), in [0, 1], rows that add up to 1."""
        check_images(images, "classify")
        found = self.judge([Query(id=str(place), image=image) for place, image in enumerate(images)])
        return np.array([one.probabilities for one in found], np.float32).reshape(len(images), len(self.labels))

    def judge(self, queries: Sequence[Query]) -> list[Judgement]:
        """As ``classify``, of queries with a picture; references of a query's own subject have no part in it."""
        if not queries:
            return []
        found = self._judge(queries)
        final = self._tempered(np.array([one.probabilities for one in found], np.float32))
        return [Judgement(row, one.neighbours) for row, one in zip(final, found, strict=True)]

    @abstractmethod
    def _fit(self) -> None:
        """Learn from ``data``."""

    @abstractmethod
    def _crossed(self) -> tuple[Float32, Int64]:
        """Untempered probabilities of records of ``data``, float32 (n, L), and their labels' places, int64 (n,).

        A record's own group has no part in its probabilities.
        """

    @abstractmethod
    def _of(self, others: Labelled) -> Float32:
        """Untempered probabilities, float32 (m, L), of records of other subjects."""

    @abstractmethod
    def _judge(self, queries: Sequence[Query]) -> list[Judgement]:
        """Untempered."""

    def encoded(self, queries: Sequence[Query]) -> Float32:
        """The vectors of the queries' pictures: float32 (m, image_dim), unit rows."""
        return self.index.encoder.encode_images([query.image for query in queries if query.image is not None])

    def own_rows(self, query: Query) -> Any:
        """bool (n,): which of the records that it learned from are the query itself, by id, or of its own subject."""
        own = self._ids == query.id
        return own if query.subject_id is None else own | (self._subjects == self.index.pseudonym(query.subject_id))

    @cached_property
    def _ids(self) -> Any:
        return np.array([self.index.records[int(row)].id for row in self.data.rows], dtype=object)

    @cached_property
    def _subjects(self) -> Any:
        return np.array([self.index.records[int(row)].subject_id for row in self.data.rows], dtype=object)

    def _tempered(self, probabilities: Float32) -> Float32:
        return probabilities if self.temperature is None else temper(probabilities, self.temperature)

    def _threshold(self, held: Labelled, alpha: float) -> float:
        right = self._tempered(self._of(held))[np.arange(len(held)), held.truth]
        return conformal_threshold(1 - np.asarray(right, np.float64), held.groups, alpha)
