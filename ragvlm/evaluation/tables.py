"""Answers of several systems -> figures with intervals, and paired differences with corrected p-values."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.evaluation.threads import one_thread
from ragvlm.measures.base import Item, Measure, Statistics
from ragvlm.statistics import RESAMPLES, Interval, holm, interval, paired

DIGITS = 6
Answers = Mapping[str, Sequence[Item]]  # by system; the items of all systems are the same, in the same order


@dataclass(frozen=True, slots=True)
class Pair:
    """System ``a`` minus system ``b``. ``shows`` is what the difference shows: "system" (which is better), "baseline"
    (what ``a`` adds to one), "picture" or "retrieval" (how much of ``a`` rests on it; ``b`` is its control)."""

    a: str
    b: str
    shows: str


@dataclass(frozen=True, slots=True)
class Draw:
    """How chance is drawn: see ``ragvlm.statistics``."""

    seed: int = 0
    resamples: int = RESAMPLES


def tabulate(
    answers: Answers,
    measures: Sequence[Measure],
    pairs: Sequence[Pair] = (),
    draw: Draw | None = None,
    ungrouped: Container[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Any], dict[str, dict[str, Sequence[float | None]]]]:
    """The figures of metrics.json ("systems", "differences"), and by system and measure the items' own scores.

    Systems of ``ungrouped`` get no figures by group. Holm's correction runs over the
    comparisons by one measure: over all measures together, no p-value of 2000 resamples could pass. Raises what the
    measures raise.
    """
    draw = draw or Draw()
    systems: dict[str, dict[str, Any]] = {name: {} for name in answers}
    scores: dict[str, dict[str, Sequence[float | None]]] = {name: {} for name in answers}
    differences: list[dict[str, Any]] = []
    for done, measure in enumerate(measures):
        found = {name: measure.statistics(items) for name, items in answers.items()}
        with one_thread():
            for name, stats in found.items():
                systems[name][measure.name] = _figure(
                    measure, stats, answers[name], draw, grouped=name not in ungrouped
                )
                if stats.scores is not None:
                    scores[name][measure.name] = [_number(float(score)) for score in stats.scores]
            rows = _differences(measure, answers, found, pairs, draw)
        for row, p in zip(rows, holm([_nan(row["p"]) for row in rows]), strict=True):
            row["p_holm"] = _number(float(p))
        differences += rows
        if progress:
            progress(done + 1, len(measures))
    return {"systems": systems, "differences": differences}, scores


def _figure(measure: Measure, stats: Statistics, items: Sequence[Item], draw: Draw, *, grouped: bool) -> dict[str, Any]:
    clusters = [item.cluster for item in items]
    groups = sorted({item.group for item in items if item.group is not None})
    by_group = {}
    for group in groups if grouped and len(groups) > 1 else ():
        chosen = np.array([item.group == group for item in items])
        of_group = [cluster for cluster, there in zip(clusters, chosen, strict=True) if there]
        by_group[group] = _rounded(_interval(_part(stats, chosen), of_group, draw).to_dict())
    return {
        **_rounded(_interval(stats, clusters, draw).to_dict()),
        "higher_is_better": measure.higher_is_better,
        "source": measure.source,
        **({"by_group": by_group} if by_group else {}),
    }


def _interval(stats: Statistics, clusters: Sequence[str], draw: Draw) -> Interval:
    return interval(stats, clusters, resamples=draw.resamples, seed=draw.seed)


def _differences(
    measure: Measure, answers: Answers, found: Mapping[str, Statistics], pairs: Sequence[Pair], draw: Draw
) -> list[dict[str, Any]]:
    wanted = {name for pair in pairs for name in (pair.a, pair.b)}
    if not wanted:
        return []
    comparable = _comparable(measure, {name: answers[name] for name in answers if name in wanted}, found)
    rows = []
    for pair in pairs:
        a, b = comparable[pair.a], comparable[pair.b]
        clusters = [item.cluster for item in answers[pair.a]]
        difference = paired(a, b, clusters, resamples=draw.resamples, seed=draw.seed)
        head = {"a": pair.a, "b": pair.b, "shows": pair.shows, "measure": measure.name}
        rows.append(head | _rounded(difference.to_dict()))
    return rows


def _comparable(measure: Measure, answers: Answers, found: Mapping[str, Statistics]) -> dict[str, Statistics]:
    """Statistics whose rows mean the same in all systems: see ``ragvlm.statistics.statistics_of_two``."""
    if all(found[name].mean for name in answers):
        return {name: found[name] for name in answers}
    joint = measure.statistics([item for items in answers.values() for item in items])
    n = len(next(iter(answers.values())))
    places = np.arange(len(answers) * n) // n
    return {name: _part(joint, places == position) for position, name in enumerate(answers)}


def _part(stats: Statistics, chosen: NDArray[np.bool_]) -> Statistics:
    scores = None if stats.scores is None else stats.scores[chosen]
    return replace(stats, rows=stats.rows[chosen], scores=scores)


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _number(value) if isinstance(value, float) else value for name, value in values.items()}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, DIGITS)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
