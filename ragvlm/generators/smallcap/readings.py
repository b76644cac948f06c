"""What linear probes read from a picture's features: the labels of the corpus, as words for the prompt.

A soft prefix alone teaches a small decoder to count only from far more pictures than most corpora have; ridge
regression on the same frozen features needs a few hundred. The decoder is told what the probes say, and learns from
their errors on pictures that they were not fitted to how far to believe them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ragvlm.errors import require
from ragvlm.types import Float32, Label, Record

LEAST = 20
"""Records that must have a label before a probe is fitted to it."""
MOST = 40
"""Values of a label beyond which it is taken for a name, which no probe can read."""
FOLDS = 5
_PENALTIES = tuple(float(x) for x in np.logspace(1, 6, 11))
ABSENT = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One label. ``values`` are its texts (ABSENT where a picture has none), or empty for a count, of
    which the square root and whether there is one are read; ``weights`` float32 (d, outputs), ``bias`` (outputs,)."""

    name: str
    values: tuple[str, ...]
    weights: Float32 = field(repr=False)
    bias: Float32 = field(repr=False)

    def read(self, features: Float32) -> list[str]:
        """A word a row; ABSENT where the picture seems to have no such label."""
        found = features @ self.weights + self.bias
        if self.values:
            return [self.values[i] for i in found.argmax(1)]
        return [str(round(float(max(root, 0.0)) ** 2)) if there > 0.5 else ABSENT for root, there in found]


@dataclass(frozen=True, slots=True)
class Readings:
    """All probes over standardised features. ``mean`` and ``scale`` are float32 (d,)."""

    mean: Float32 = field(repr=False)
    scale: Float32 = field(repr=False)
    probes: tuple[Probe, ...] = ()

    def read(self, whole: Float32) -> list[str]:
        """Rows of features, float32 (n, d) -> "white cells 2; stain Wright-Giemsa"; "" without probes."""
        features = (whole - self.mean) / self.scale
        columns = [probe.read(features) for probe in self.probes]
        rows = zip(*columns, strict=True) if columns else [()] * len(whole)
        names = [probe.name.replace("_", " ") for probe in self.probes]
        return ["; ".join(f"{n} {v}" for n, v in zip(names, row, strict=True) if v != ABSENT) for row in rows]

    def tensors(self) -> dict[str, Float32]:
        """What ``of`` makes the same again from, with ``facts``."""
        found = {"mean": self.mean, "scale": self.scale}
        for i, probe in enumerate(self.probes):
            found |= {f"{i}.weights": probe.weights, f"{i}.bias": probe.bias}
        return found

    def facts(self) -> list[dict[str, Any]]:
        """Names and values, as JSON types."""
        return [{"name": probe.name, "values": list(probe.values)} for probe in self.probes]

    @classmethod
    def of(cls, facts: Sequence[Mapping[str, Any]], tensors: Mapping[str, Float32]) -> Readings:
        """Raises KeyError where a tensor is absent."""
        probes = tuple(
            Probe(str(f["name"]), tuple(f["values"]), tensors[f"{i}.weights"], tensors[f"{i}.bias"])
            for i, f in enumerate(facts)
        )
        return cls(tensors["mean"], tensors["scale"], probes)


def fit_readings(whole: Float32, records: Sequence[Record], groups: Sequence[str]) -> tuple[Readings, list[str]]:
    """Probes of the records' labels, and what probes that never saw a picture's group say of it.

    ``whole`` are the features, float32 (n, d). Labels are counts (whole numbers) or words; numbers with a fraction,
    labels of fewer than LEAST records and words of more than MOST kinds are left out. Ridge regression (Hoerl and
    Kennard 1970), its penalty by generalised cross-validation; words by one output a value. The second part has one
    text a record, by FOLDS folds of whole groups. Raises MissingExtraError without scikit-learn.
    """
    targets = {name: target for name in _names(records) if (target := _target(records, name)) is not None}
    fitted = _fit(whole, targets)
    own = folds(groups)
    told = [""] * len(records)
    for fold in range(FOLDS) if targets else ():
        inside, outside = np.flatnonzero(own == fold), np.flatnonzero(own != fold)
        if not len(inside) or not len(outside):
            continue
        part = _fit(whole[outside], {name: target.rows(outside) for name, target in targets.items()})
        for i, text in zip(inside, part.read(whole[inside]), strict=True):
            told[i] = text
    return fitted, told


@dataclass(frozen=True, slots=True)
class _Target:
    """What a probe is fitted to: float32 (n, outputs), and which records (n,) it is known of."""

    values: tuple[str, ...]
    wanted: Float32
    known: Any

    def rows(self, chosen: Any) -> _Target:
        return _Target(self.values, self.wanted[chosen], self.known[chosen])


def _names(records: Sequence[Record]) -> list[str]:
    counts = Counter(name for record in records for name in record.labels)
    return [name for name, n in counts.items() if n >= LEAST]


def _target(records: Sequence[Record], name: str) -> _Target | None:
    """None for what can't be read."""
    given: list[Label | None] = [record.labels.get(name) for record in records]
    there = [value for value in given if value is not None]
    if all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in there):
        known = np.array([value is not None for value in given])
        return _Target((), np.sqrt([[float(value or 0)] for value in given], dtype=np.float32), known)
    words = [ABSENT if value is None else str(value).lower() if isinstance(value, bool) else str(value)
             for value in given]  # fmt: skip
    kinds = tuple(sorted(set(words)))
    if any(isinstance(value, float) for value in there) or not 2 <= len(kinds) <= MOST:
        return None
    return _Target(
        kinds, np.array([[word == kind for kind in kinds] for word in words], np.float32), np.ones(len(given), bool)
    )


def _fit(whole: Float32, targets: Mapping[str, _Target]) -> Readings:
    mean, scale = whole.mean(0), np.maximum(whole.std(0), np.float32(1e-3))
    features = (whole - mean) / scale
    probes = []
    for name, target in targets.items():
        weights, bias = _ridge(features[target.known], target.wanted[target.known])
        if not target.values:
            there, often = _ridge(features, target.known[:, None].astype(np.float32))
            weights, bias = np.hstack([weights, there]), np.append(bias, often)
        probes.append(Probe(name, target.values, weights, bias))
    return Readings(mean, scale, tuple(probes))


def _ridge(features: Float32, wanted: Float32) -> tuple[Float32, Float32]:
    """Weights (d, outputs) and bias (outputs,); of what doesn't vary, the mean alone."""
    bias = wanted.mean(0)
    if len(features) < 2 or not wanted.std(0).any():
        return np.zeros((features.shape[1], wanted.shape[1]), np.float32), bias
    ridge = require("sklearn.linear_model", "tune").RidgeCV(_PENALTIES).fit(features, wanted)
    weights = np.asarray(ridge.coef_, np.float32).reshape(wanted.shape[1], -1).T
    return np.ascontiguousarray(weights), np.atleast_1d(np.asarray(ridge.intercept_, np.float32))


def folds(groups: Sequence[str]) -> Any:
    """The number of each one's fold, int (n,): FOLDS of them, no group in two."""
    order = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    return np.array([order[group] % FOLDS for group in groups])
