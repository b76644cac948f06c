"""Results of several folders -> paired differences with intervals and corrected p-values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.errors import InputError, RagvlmError, one_line, require
from ragvlm.evaluation.pairing import Side, check_references, clusters_of, pairs_of, shared_ids
from ragvlm.evaluation.recorded import open_all
from ragvlm.evaluation.threads import one_thread
from ragvlm.measures import Float64, Measure, Statistics, measure
from ragvlm.measures import measures as measures_of
from ragvlm.statistics import LEVEL, RESAMPLES, Difference, Interval, holm, interval, paired

if TYPE_CHECKING:
    import pandas as pd

Update = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure of one pair. ``difference`` is ``a`` minus ``b``; all on the items that have the measure in both.

    ``by_scores``: the measure could not be computed from predictions and references, so the means of the items' own
    scores are compared, and ``reason`` says why. ``higher_is_better`` is None where no file says it.
    """

    measure: str
    a: str
    b: str
    value_a: Interval
    value_b: Interval
    difference: Difference
    p_holm: float
    higher_is_better: bool | None
    by_scores: bool
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON types; null for NaN."""
        sides = {"value_a": self.value_a.to_dict(), "value_b": self.value_b.to_dict()}
        return {
            "measure": self.measure,
            "a": self.a,
            "b": self.b,
            **{name: {key: of[key] for key in ("value", "low", "high")} for name, of in sides.items()},
            **self.difference.to_dict(),
            "p_holm": None if math.isnan(self.p_holm) else self.p_holm,
            "higher_is_better": self.higher_is_better,
            "by_scores": self.by_scores,
            **({"reason": self.reason} if self.reason else {}),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """What ``compare`` found.

    ``systems`` holds (folder, system) by the name that ``rows`` use; ``n`` items of ``clusters`` subjects were
    compared, ``left_out`` counts the items that not all had, ``skipped`` names the measures that not all had.
    """

    task: str | None
    systems: Mapping[str, tuple[str, str]]
    rows: tuple[Compared, ...]
    n: int
    clusters: int
    left_out: int
    skipped: tuple[str, ...]
    warnings: tuple[str, ...]
    seed: int
    resamples: int
    level: float = LEVEL

    @property
    def remarks(self) -> list[str]:
        """What a reader of the rows has to know, a line each."""
        tested = sum(not math.isnan(row.p_holm) for row in self.rows)
        lines = [
            f"{self.n} items of {self.clusters} subjects in both; a - b with a 95% interval over subjects; "
            f"p by permutation, corrected over {tested} differences (Holm)"
        ]
        by_scores = dict.fromkeys(f"{row.measure} ({row.reason})" for row in self.rows if row.by_scores)
        undefined = dict.fromkeys(row.measure for row in self.rows if math.isnan(row.difference.value))
        if self.left_out:
            lines.append(f"left out: {self.left_out} items that not all of the folders have")
        if by_scores:
            lines.append(f"means of the items' own scores, not computed anew: {', '.join(by_scores)}")
        if undefined:
            lines.append(f"not defined for both: {', '.join(undefined)}")
        if self.skipped:
            lines.append(f"not in all of the folders: {', '.join(self.skipped)}")
        return [one_line(line) for line in lines]

    def to_dict(self) -> dict[str, Any]:
        """JSON types: the fields, ``systems`` as objects with "run" and "system"."""
        names = ("task", "n", "clusters", "left_out", "seed", "resamples", "level")
        return {
            **{name: getattr(self, name) for name in names},
            "skipped": list(self.skipped),
            "warnings": list(self.warnings),
            "systems": {name: {"run": run, "system": system} for name, (run, system) in self.systems.items()},
            "differences": [row.to_dict() for row in self.rows],
        }

    def to_pandas(self) -> pd.DataFrame:
        """A row for each measure and pair; value_a_low and so on for the limits. Raises MissingExtraError."""
        frame: pd.DataFrame = require("pandas", "eval").json_normalize([row.to_dict() for row in self.rows], sep="_")
        return frame


@dataclass(frozen=True, slots=True)
class _Found:
    """A measure of all sides, in their order."""

    stats: Sequence[Statistics]
    higher: bool | None
    by_scores: bool
    reason: str = field(default="")


def compare(
    paths: Sequence[str | Path],
    *,
    systems: Sequence[str] = (),
    measures: Sequence[str] = (),
    task: str | None = None,
    common: bool = False,
    all_pairs: bool = False,
    seed: int = 0,
    resamples: int = RESAMPLES,
    progress: Update | None = None,
) -> Comparison:
    """Compare the results in the folders ``paths``, paired on the same items.

    Measures are computed anew from predictions and references where a folder holds both. Items that share a subject
    in any of the folders are drawn together. Holm's correction runs over all rows.

    Args:
        paths: folders that ``ragvlm eval`` or ``ragvlm score --out`` wrote, or of another program: see
            ``Recorded.open``. Several: each against the first. One: its systems among each other.
        systems: which to compare; default: those both folders share (without baselines and controls), or the only one
            of each.
        measures: which to compare; default: all that the folders name, else those of the task.
        task: of folders that don't name it; default: that of the others.
        common: compare the items that all have, rather than refuse folders with different items.
        all_pairs: compare each folder with each other.
        seed: of resamples and permutations.
        resamples: how many.
        progress: called with (measures done, measures).

    Raises InputError on one line for folders that can't be read or compared, and what the measures raise where their
    scores aren't there either.
    """
    if not paths:
        raise InputError("nothing to compare: give two folders of results, or one with several systems")
    runs = open_all(paths, task)
    known_task = next((run.task for run in runs if run.task), None)
    pairs = pairs_of(runs, systems, all_pairs)
    sides = list(dict.fromkeys(side for pair in pairs for side in pair))
    ids, left_out = shared_ids(sides, common)
    check_references(sides, ids)
    clusters = clusters_of(runs, ids)
    names = [_named(name, known_task) for name in measures] or _names(sides, known_task)
    rows: list[Compared] = []
    skipped = []
    for done, name in enumerate(names, 1):
        if found := _found(name, sides, ids, known_task):
            with one_thread():
                rows += [_compared(name, found, sides, pair, clusters, seed, resamples) for pair in pairs]
        else:
            skipped.append(name)
        if progress:
            progress(done, len(names))
    if not rows:
        raise InputError(f"no measure is in all of the folders (in some: {', '.join(map(one_line, names)) or 'none'})")
    adjusted = holm([row.difference.p for row in rows])
    return Comparison(
        task=known_task,
        systems={side.name: (str(side.run.path), side.system) for side in sides},
        rows=tuple(replace(row, p_holm=float(p)) for row, p in zip(rows, adjusted, strict=True)),
        n=len(ids),
        clusters=len(set(clusters)),
        left_out=left_out,
        skipped=tuple(skipped),
        warnings=tuple(dict.fromkeys(f"{run.path}: {run.warning}" for run in runs if run.warning)),
        seed=seed,
        resamples=resamples,
    )


def _named(name: str, task: str | None) -> str:
    try:
        return measure(name, task).name
    except InputError:  # another program's
        return name


def _names(sides: Sequence[Side], task: str | None) -> list[str]:
    named = list(dict.fromkeys(name for side in sides for name in side.run.measures))
    return named or [known.name for known in measures_of(str(task))]


def _found(name: str, sides: Sequence[Side], ids: Sequence[str], task: str | None) -> _Found | None:
    """The measure of all sides; None where not all have it. Raises what it raises where there are no scores either."""
    scores = _own_scores(name, sides, ids)
    higher = next((way for side in sides if (way := side.run.measures.get(name)) is not None), None)
    lacking = next((side for side in sides if not side.run.items.get(side.system)), None)
    try:
        known = measure(name, task)
    except InputError:
        return _by_scores(scores, higher, "no measure of ragvlm")
    higher = known.higher_is_better
    if lacking is not None:
        return _by_scores(scores, higher, f"predictions or references aren't in {lacking.run.path}")
    try:
        stats = _recomputed(known, sides, ids)
    except RagvlmError as error:
        if scores is None:
            raise
        return _by_scores(scores, higher, str(error))
    if scores is not None and any(
        (~np.isnan(own) & ~of_side.defined).any() for own, of_side in zip(scores, stats, strict=True)
    ):
        return _by_scores(scores, higher, "predictions and references don't hold all that it needs")
    return _Found(stats, higher, by_scores=False)


def _own_scores(name: str, sides: Sequence[Side], ids: Sequence[str]) -> list[Float64] | None:
    """The items' own scores of each side (n,); None where a side doesn't hold them."""
    found = []
    for side in sides:
        scores = side.run.scores.get(side.system, {})
        if not any(name in of_item for of_item in scores.values()):
            return None
        found.append(np.array([scores[i].get(name, math.nan) for i in ids], np.float64))
    return found


def _by_scores(scores: Sequence[Float64] | None, higher: bool | None, reason: str) -> _Found | None:
    if scores is None:
        return None
    return _Found([Statistics.of_scores(own) for own in scores], higher, by_scores=True, reason=reason)


def _recomputed(known: Measure, sides: Sequence[Side], ids: Sequence[str]) -> list[Statistics]:
    """From predictions and references, with rows that mean the same: see ``ragvlm.statistics.statistics_of_two``."""
    items = [[side.run.items[side.system][i] for i in ids] for side in sides]
    if known.statistics(items[0][:1]).mean:
        return [known.statistics(of_side) for of_side in items]
    joint = known.statistics([item for of_side in items for item in of_side])
    slices = [slice(start, start + len(ids)) for start in range(0, len(sides) * len(ids), len(ids))]
    scores = joint.scores
    return [replace(joint, rows=joint.rows[part], scores=None if scores is None else scores[part]) for part in slices]


def _compared(
    name: str,
    found: _Found,
    sides: Sequence[Side],
    pair: tuple[Side, Side],
    clusters: Sequence[str],
    seed: int,
    resamples: int,
) -> Compared:
    a, b = (found.stats[sides.index(side)] for side in pair)
    both = (a.defined & b.defined)[:, None]
    one, two = (replace(stats, rows=np.where(both, stats.rows, math.nan)) for stats in (a, b))
    return Compared(
        measure=name,
        a=pair[0].name,
        b=pair[1].name,
        value_a=interval(one, clusters, seed=seed, resamples=resamples),
        value_b=interval(two, clusters, seed=seed, resamples=resamples),
        difference=paired(one, two, clusters, seed=seed, resamples=resamples),
        p_holm=math.nan,
        higher_is_better=found.higher,
        by_scores=found.by_scores,
        reason=found.reason,
    )
