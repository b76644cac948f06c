"""What the report says of foreign queries: whether a system knows what it can't know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ragvlm.evaluation.page import plots
from ragvlm.evaluation.page.figures import Plot
from ragvlm.evaluation.page.reading import Run
from ragvlm.evaluation.page.tables import Table, difference_table, figure_tables, limits, number
from ragvlm.measures.abstention import LOWER_IS_SURER, risk_coverage
from ragvlm.measures.base import Float64

NEARNESS = "nonconformity"


def stranger_tables(run: Run) -> list[Table]:
    """The figures of each system, and the paired differences."""
    found = run.metrics.get("foreign")
    if not found:
        return []
    names = list(next(iter(found["systems"].values())))
    told = f"{run.metrics['n']} own and {found['n']} foreign queries"
    tables = figure_tables(run, found["systems"], names, run.metrics["n"] + found["n"], told)
    for name in names:
        rows = [row for row in found["differences"] if row["measure"] == name]
        tables += [difference_table(run, found["systems"], name, rows)] if rows else []
    return tables


def stranger_summary(run: Run) -> list[str]:
    """The test's verdicts and how well the lead system's values tell both apart, in a sentence."""
    figures = run.metrics.get("foreign", {}).get("systems", {}).get(run.lead, {})
    if not figures:
        return []
    of = {name.partition(" (")[0]: figure for name, figure in figures.items() if name.startswith("refused")}
    told = [
        f"{number(figure['value'])} {limits(figure)} of the {what.split()[1]} queries" for what, figure in of.items()
    ]
    area = figures[f"AUROC in-corpus ({NEARNESS})"]
    return [
        f"Distance to the corpus tells own from foreign queries with AUROC {number(area['value'])} {limits(area)}; "
        f"the abstention test at 0.05 refuses {' and '.join(told)}."
    ]


def stranger_plots(run: Run) -> list[Plot]:
    """Shares of own and foreign queries that are answered, and risk over coverage with the foreign ones."""
    if "foreign" not in run.metrics:
        return []
    return [*_shares(run), *_risks(run)]


def _shares(run: Run) -> list[Plot]:
    """The curve whose area is the AUROC."""
    kinds = [(run.lead, NEARNESS), *((system, "confidence") for system in run.strangers)]
    rows = []
    for system, by in kinds[: plots.MOST_LINES]:
        own, foreign = (_values(found.get(system, {}), by) for found in (run.predictions, run.strangers))
        if not len(own) or not len(foreign):
            continue
        steps = np.unique(np.concatenate([own, foreign]))[::-1]
        x, y = ([0.0, *(float((side >= step).mean()) for step in steps)] for side in (foreign, own))
        rows.append(plots.Line("distance to the corpus" if by == NEARNESS else f"{by} of {system}", x, y))
    if not rows:
        return []
    title = "Own queries answered over foreign ones"
    at = "; ".join(f"{row.name}: {_at(row, 0.05):.2f} of its own" for row in rows)
    uri = plots.lines(rows, "share of foreign queries answered", "share of own queries answered", diagonal=True)
    return [
        Plot(title, uri, f"{title}, while at most 1 in 20 foreign ones are: {at}.", "On the dotted line it is chance.")
    ]


def _at(row: plots.Line, most: float) -> float:
    return max(y for x, y in zip(row.x, row.y, strict=True) if x <= most)


def _risks(run: Run) -> list[Plot]:
    name = run.ranking
    rows = []
    for system in [s for s in run.strangers if run.metrics["about"][s]["role"] == "system"][: plots.MOST_LINES]:
        scores = run.scores.get(system, {})
        own = [(row, scores.get(id_, {}).get(str(name))) for id_, row in run.predictions[system].items()]
        known = [(_value(row, NEARNESS), 1 - score) for row, score in own if score is not None]
        foreign = [(_value(row, NEARNESS), 1.0) for row in run.strangers[system].values()]
        pairs = np.array([*known, *foreign], dtype=np.float64)
        pairs = pairs[~np.isnan(pairs).any(axis=1)]
        if known and len(pairs):
            curve = risk_coverage(*pairs.T)
            rows.append(plots.Line(system, curve.coverage, curve.risk))
    if not rows:
        return []
    title = "Risk over coverage, foreign queries among the own"
    ends = "; ".join(f"{row.name} {number(row.y[-1])} where all are answered" for row in rows)
    note = "Whatever is said of a foreign query is wrong: its risk is 1. Where those come last the curve is low."
    uri = plots.lines(rows, "coverage: share answered, nearest first", f"risk: 1 − mean {name}")
    return [Plot(title, uri, f"{title}: {ends}.", note)]


def _values(rows: Mapping[str, Mapping[str, Any]], by: str) -> Float64:
    found = np.array([_value(row, by) for row in rows.values()], dtype=np.float64)
    return found[~np.isnan(found)]


def _value(row: Mapping[str, Any], by: str) -> float:
    value = row.get(by)
    if value is None:
        return float("nan")
    return -float(value) if by in LOWER_IS_SURER else float(value)
