"""What every measure takes and gives: items in, statistics out that can be resampled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, Self, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ragvlm.errors import InputError

Float64: TypeAlias = NDArray[np.float64]
Progress: TypeAlias = Callable[[int, int], None]
"""Called with (items done, items) after each item."""
T = TypeVar("T")
TASKS = ("describe", "vqa", "classify", "retrieve", "ground", "pictures")


@dataclass(frozen=True, slots=True)
class Item:
    """One evaluated item: what was predicted and what is right, each as its task has them.

    ========  ============================================================  ==================================
    task      prediction                                                    references
    ========  ============================================================  ==================================
    describe  str, "" where the system abstained                            tuple[str, ...]
    vqa       str, "" where the system abstained                            tuple[str, ...] of right answers
    classify  mapping of label to probability, or a label                   the label
    retrieve  sequence of (document id, score), best first                  mapping of document id to gain
    ground    list of boxes [xmin, ymin, xmax, ymax] with label and score,  list of boxes with label, or a
              or a mask                                                     mask
    pictures  a picture                                                     a picture
    ========  ============================================================  ==================================

    ``cluster`` is the subject_id, else the item's own id: intervals resample clusters. ``group`` is what results are
    told apart by (answer type, organ, assay). ``facts`` holds what some measures look at besides: labels of prediction
    and reference, evidence, abstained, question, question_type.
    """

    id: str
    cluster: str
    prediction: Any
    references: Any
    group: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a measure needs of each item, so that it can be computed again on any resample of the items.

    ``rows`` is float64 (n, m), a row an item in the order of the items; a row with NaN is that of an item for which the
    measure isn't defined. ``reduce`` takes float64 (k, m) without such rows to the measure on these items, NaN where it
    isn't defined. ``scores``, float64 (n,), are the items' own scores, where the measure has such; their mean need not
    be the measure. ``mean``: the measure is the mean of ``scores`` without NaN. ``additive``: it depends on the rows
    by their sum alone, so that ``reduce`` may be given sums of rows instead of rows. ``many``, of some of these, takes
    float64 (k, m), each row such a sum, to the measure of each, (k,): the same as ``reduce``, and faster.
    """

    rows: Float64
    reduce: Callable[[Float64], float]
    scores: Float64 | None = None
    mean: bool = False
    additive: bool = False
    many: Callable[[Float64], Float64] | None = None

    @classmethod
    def of_scores(cls, scores: ArrayLike) -> Self:
        """Of a measure that is the mean of its items' scores (n,); NaN where it isn't defined for an item."""
        values = np.asarray(scores, dtype=np.float64).reshape(-1)
        return cls(rows=values[:, None], reduce=_mean, scores=values, mean=True)

    @property
    def defined(self) -> NDArray[np.bool_]:
        """(n,): for which items the measure is defined."""
        return np.asarray(~np.isnan(self.rows).any(axis=1))

    @property
    def value(self) -> float:
        """The measure on all items; NaN where it isn't defined for any."""
        return self.on(np.arange(len(self.rows)))

    def on(self, chosen: NDArray[np.int64]) -> float:
        """The measure on the items of the row numbers ``chosen`` (k,), which may repeat; NaN where it isn't defined."""
        rows = self.rows[chosen]
        rows = rows[~np.isnan(rows).any(axis=1)]
        return float(self.reduce(rows)) if len(rows) else float("nan")


@runtime_checkable
class Measure(Protocol):
    """One figure on items of one task. Measures are values: equal, hashable and printable by what they measure."""

    @property
    def name(self) -> str:
        """As the field writes it: "nDCG@10", "BLEU-4", "METEOR (exact, stem)"."""
        ...

    @property
    def task(self) -> str:
        """One of ``TASKS``."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher figure is the better one."""
        ...

    @property
    def source(self) -> str:
        """What computed it: library and installed version; model and scale, where there is one."""
        ...

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """The statistics of ``items``. Raises InputError naming the first five ids of items that it can't take."""
        ...


@dataclass(frozen=True, slots=True)
class TextMeasure:
    """What measures of texts share: the task that they are asked for, "describe" or "vqa", and their direction."""

    task: str = "describe"

    @property
    def higher_is_better(self) -> bool:
        """True: all measures of texts are similarities."""
        return True


def tracked(values: Sequence[T], progress: Progress | None) -> Iterator[T]:
    """``values``, one by one; ``progress`` hears of each when the next is asked for."""
    for done, value in enumerate(values, start=1):
        yield value
        if progress is not None:
            progress(done, len(values))


def library(package: str) -> str:
    """``package`` with its installed version, for ``Measure.source``: "sacrebleu 2.6.0"."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} (not installed)"


def refuse(items: Sequence[Item], why: str) -> InputError:
    """The error that names the first five of ``items`` and says ``why`` they can't be taken."""
    more = f" and {len(items) - 5} more" if len(items) > 5 else ""
    return InputError(f"{', '.join(repr(item.id) for item in items[:5])}{more}: {why}")


def texts_of(items: Sequence[Item]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Predictions and references of items that are texts (describe, vqa).

    Raises InputError naming items whose prediction is no text, or whose references are none, or are no texts.
    """
    if wrong := [item for item in items if not isinstance(item.prediction, str)]:
        raise refuse(wrong, "the prediction is no text; give a string, empty where the system abstained")
    if wrong := [item for item in items if not _are_texts(item.references)]:
        raise refuse(wrong, "no reference text; give one or more strings")
    return [item.prediction for item in items], [tuple(item.references) for item in items]


def _are_texts(references: Any) -> bool:
    many = isinstance(references, (tuple, list)) and len(references) > 0
    return many and all(isinstance(text, str) for text in references)


def _mean(rows: Float64) -> float:
    return float(rows[:, 0].mean()) if len(rows) else float("nan")
