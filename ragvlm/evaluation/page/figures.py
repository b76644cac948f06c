"""Which plots a run has, with what they show and with words for those who don't see them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ragvlm.evaluation.page import plots
from ragvlm.evaluation.page.reading import Run, answers
from ragvlm.evaluation.page.tables import control_of, limits, number
from ragvlm.measures.abstention import risk_coverage
from ragvlm.measures.base import Item, Statistics
from ragvlm.measures.outcomes import NONE, Outcomes, confusion
from ragvlm.statistics import interval

BINS = 10
_DEPTHS = (*range(1, 11), 15, 20, 30, 50, 100, 200, 500, 1000)
_MOST_GROUPS = 30


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing as a data URI; ``alt`` says in words what is seen, ``note`` how to read it."""

    title: str
    uri: str
    alt: str
    note: str = ""


def measure_plots(run: Run) -> list[Plot]:
    """A plot of bars for each of the measures that are shown first."""
    found: list[Plot] = []
    for name in run.headlines:
        figures = {s: run.metrics["systems"][s][name] for s in _answering(run)}
        rows = [(s, f, run.metrics["about"][s]["role"] == "system") for s, f in figures.items()]
        found += _bars(name, name, rows, "" if found else "Blue: what was evaluated; grey: baselines.")
    return found


def group_plots(run: Run) -> list[Plot]:
    """Bars by group, by the measure that ranks the cases."""
    name = run.ranking or run.headlines[0]
    groups = run.metrics["systems"][run.lead][name].get("by_group", {})
    if not 1 < len(groups) <= _MOST_GROUPS:
        return []
    return _bars(f"{name} of {run.lead} by group", name, [(group, figure, True) for group, figure in groups.items()])


def control_plots(run: Run) -> list[Plot]:
    """What each system loses to its controls, by the measure that ranks the cases."""
    name = run.ranking or run.headlines[0]
    found: list[Plot] = []
    for system in run.systems("system", "baseline"):
        rows = [
            (control_of(row), row, row["shows"] == "picture")
            for row in run.metrics["differences"]
            if (row["a"], row["measure"]) == (system, name) and row["shows"] in ("picture", "retrieval")
        ]
        title = f"What {system} loses without its own picture or references"
        note = "" if found else "Blue: another picture; grey: other references. An interval with 0 in it shows no loss."
        found += _bars(title, f"difference in {name}", rows, note, zero=True)
    return found


def retrieval_plots(run: Run) -> list[Plot]:
    """Recall@K and Precision@K over K, with bands of 95 %."""
    if run.task != "retrieve":
        return []
    from ragvlm.measures.retrieval import retrieval

    answers = _answers(run)
    deepest = max((len(item.prediction) for items in answers.values() for item in items), default=0)
    depths = [k for k in _DEPTHS if k <= deepest]
    found = []
    for kind in ("Recall", "Precision") if len(depths) > 1 else ():
        rows = []
        for system, items in answers.items():
            drawn = [_interval(run, retrieval(kind, k).statistics(items), items) for k in depths]
            rows.append(plots.Line(system, depths, *([f[key] for f in drawn] for key in ("value", "low", "high"))))
        title = f"{kind}@K over K"
        ends = "; ".join(
            f"{r.name} {number(r.y[0])} at K = {depths[0]}, {number(r.y[-1])} at K = {depths[-1]}" for r in rows
        )
        uri = plots.lines(rows, "K: best documents looked at", f"{kind}@K", whole=True)
        found.append(Plot(title, uri, f"{title}: {ends}.", "The bands are 95 % intervals."))
    return found


def risk_plots(run: Run) -> list[Plot]:
    """The risk-coverage curve (El-Yaniv and Wiener 2010, JMLR 11:1605) of systems that say how sure they are."""
    name = run.ranking
    rows: list[plots.Line] = []
    for system in run.systems("system", "baseline") if name and run.task != "retrieve" else ():
        pairs = [
            (own, score)
            for id_, row in run.predictions.get(system, {}).items()
            if (own := confidence(row)) is not None
            and (score := run.scores.get(system, {}).get(id_, {}).get(str(name))) is not None
        ]
        if len({own for own, _ in pairs}) > 1:
            sure, scores = np.array(pairs, dtype=np.float64).T
            curve = risk_coverage(sure, 1 - scores)
            rows.append(plots.Line(system, curve.coverage, curve.risk))
    if not (rows := rows[: plots.MOST_LINES]):
        return []
    ends = "; ".join(
        f"{row.name} {number(row.y[0])} at {row.x[0]:.0%}, {number(row.y[-1])} at full coverage" for row in rows
    )
    uri = plots.lines(rows, "coverage: share answered, surest first", f"risk: 1 − mean {name}")
    note = "A curve that falls towards the left belongs to a system whose confidence tells good answers from bad ones."
    return [Plot("Risk over coverage", uri, f"Risk (1 − mean {name}) over coverage: {ends}.", note)]


def confidence(row: Mapping[str, Any]) -> float | None:
    """How sure a system says it is of a prediction: its own word, else the probability of the label that it names."""
    said = row["prediction"]
    if isinstance(said, dict) and said:
        return float(max(said.values()))
    found = row.get("confidence")
    return float(found) if isinstance(found, int | float) else None


def class_plots(run: Run) -> list[Plot]:
    """Of each classifier: recall by class, the confusion matrix, the reliability diagram."""
    found = []
    for system, items in _answers(run).items() if run.task == "classify" else ():
        if run.metrics["about"][system]["role"] == "system" or len(run.systems("system")) == 0:
            found += [*_recalls(run, system, items), _confusion(system, items), *_reliability(system, items)]
    return found


def _recalls(run: Run, system: str, items: list[Item]) -> list[Plot]:
    outcomes = Outcomes.of(items)
    right = (outcomes.truth == outcomes.predicted).astype(np.float64)
    rows = []
    for place, label in enumerate(outcomes.labels):
        of_class = np.where(outcomes.truth == place, right, np.nan)
        if not np.isnan(of_class).all():
            figure = _interval(run, Statistics.of_scores(of_class), items)
            rows.append((f"{label} (n {figure['n']})", figure, True))
    return _bars(f"Recall of {system} by class", "recall", rows)


def _confusion(system: str, items: list[Item]) -> Plot:
    found = confusion(items)
    counts = np.array([[*row, none] for row, none in zip(found.counts, found.unnamed, strict=True)])
    columns = [*found.labels, "(none)"]
    if not any(found.unnamed):
        counts, columns = counts[:, :-1], columns[:-1]
    mistakes = sorted(
        (
            (n, found.labels[i], columns[j])
            for (i, j), n in np.ndenumerate(counts)
            if n and columns[j] != found.labels[i]
        ),
        key=lambda m: (-m[0], m[1:]),
    )
    right = int(np.trace(counts))
    told = "; ".join(f"{true} called {said} ({n})" for n, true, said in mistakes[:5])
    alt = f"Confusion matrix of {system}: {right} of {counts.sum()} on the diagonal." + (
        f" Commonest mistakes: {told}." if told else ""
    )
    note = "Shaded by the share of the true class." + (f" Commonest mistakes: {told}." if told else "")
    return Plot(f"Confusion matrix of {system}", plots.matrix(counts, found.labels, columns), alt, note)


def _reliability(system: str, items: list[Item]) -> list[Plot]:
    outcomes = Outcomes.of(items)
    known = ~np.isnan(outcomes.probabilities).any(axis=1) & (outcomes.predicted != NONE)
    if not known.any():
        return []
    sure, right = outcomes.probabilities.max(axis=1)[known], (outcomes.truth == outcomes.predicted)[known]
    bins = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    held = np.unique(bins)
    x, y = ([float(v[bins == b].mean()) for b in held] for v in (sure, right.astype(float)))
    sizes: list[int] = [int((bins == b).sum()) for b in held]
    told = "; ".join(f"{a:.2f} sure, {b:.2f} right (n {n})" for a, b, n in zip(x, y, sizes, strict=True))
    uri = plots.lines([plots.Line(system, x, y)], "mean confidence", "share that is right", diagonal=True)
    note = f"On the dotted line confidence is the share that is right. {told}."
    return [Plot(f"Reliability of {system}", uri, f"Reliability diagram of {system} in {BINS} bins: {told}.", note)]


def _bars(
    title: str, label: str, rows: Sequence[tuple[str, Mapping[str, Any], bool]], note: str = "", *, zero: bool = False
) -> list[Plot]:
    drawn = [
        plots.Bar(name, _number(_value(figure)), _number(figure["low"]), _number(figure["high"]), main)
        for name, figure, main in rows
    ]
    kept = [bar for bar in drawn if math.isfinite(bar.value)]
    if not kept:
        return []
    told = "; ".join(f"{name} {number(_value(figure))} {limits(figure)}" for name, figure, _ in rows)
    return [Plot(title, plots.bars(kept, label, zero=zero), f"Bars of {label}: {told}.", note)]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _value(figure: Mapping[str, Any]) -> float | None:
    found = figure["difference"] if "difference" in figure else figure["value"]
    return None if found is None else float(found)


def _answering(run: Run) -> list[str]:
    return [system for system in run.systems("system", "baseline") if answers(run, system)]


def _answers(run: Run) -> dict[str, list[Item]]:
    found = {system: run.items(system) for system in _answering(run)}
    return {system: items for system, items in list(found.items())[: plots.MOST_LINES] if items}


def _interval(run: Run, stats: Statistics, items: Sequence[Item]) -> dict[str, Any]:
    clusters = [item.cluster for item in items]
    found = interval(stats, clusters, resamples=run.metrics["resamples"], seed=run.metrics["seed"])
    return found.to_dict()
