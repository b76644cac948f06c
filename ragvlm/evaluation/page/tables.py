"""metrics.json as the tables of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ragvlm.evaluation.page.reading import Run, answers

Figures: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Figures as metrics.json has them, by system and measure."""
COLUMNS = 4
"""Columns of figures that stand side by side on a printed page."""
SURE = 0.05
"""Below this corrected p-value a difference is said to be more than chance."""


@dataclass(frozen=True, slots=True)
class Cell:
    """``text`` with, below it in small, ``small``; ``mark`` for what stands out."""

    text: str
    small: str = ""
    mark: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """``rows`` are a head and its cells; ``head`` names the column of the heads and then the others."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, tuple[Cell, ...]], ...] = field(repr=False)


def measure_tables(run: Run, measures: Sequence[str]) -> list[Table]:
    """Systems by measures, some columns a table; controls stand elsewhere."""
    figures = {s: run.metrics["systems"][s] for s in run.systems("system", "baseline")}
    return figure_tables(run, figures, measures, run.metrics["n"], f"all {run.metrics['n']} items")


def figure_tables(run: Run, figures: Figures, measures: Sequence[str], n: int, told: str) -> list[Table]:
    """``figures`` by system and measure, some columns a table; ``told`` are the items, ``n`` of them."""
    return [
        Table(
            f"{', '.join(part)}: {told}" + _leaks(run),
            ("system", *(_directed(figures, name) for name in part)),
            tuple((_system(run, s), tuple(_figure(of[name], n) for name in part)) for s, of in figures.items()),
        )
        for part in _parts(measures)
    ]


def group_tables(run: Run, measures: Sequence[str]) -> list[Table]:
    """For each measure: groups by systems."""
    systems = [s for s in run.systems("system", "baseline") if answers(run, s)]
    tables = []
    for name in measures:
        by_group = {s: run.metrics["systems"][s][name].get("by_group", {}) for s in systems}
        groups = list(dict.fromkeys(group for found in by_group.values() for group in found))
        for part in _parts(systems) if groups else ():
            rows = tuple((Cell(g), tuple(_cell(by_group[s].get(g)) for s in part)) for g in groups)
            tables.append(
                Table(f"{_directed(run.metrics['systems'], name)} by group{_leaks(run)}", ("group", *part), rows)
            )
    return tables


def difference_tables(run: Run, measures: Sequence[str], *shows: str) -> list[Table]:
    """For each measure the paired differences that show one of ``shows``."""
    tables = []
    for name in measures:
        found = [row for row in run.metrics["differences"] if row["measure"] == name and row["shows"] in shows]
        if found:
            tables.append(difference_table(run, run.metrics["systems"], name, found))
    return tables


def difference_table(run: Run, figures: Figures, name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """The paired differences ``rows`` in the measure ``name``, beside the ``figures`` of both systems."""
    head = ("compared", "first", "second", "difference", "p, corrected")
    caption = f"{_directed(figures, name)}: paired differences{_leaks(run)}"
    return Table(caption, head, tuple(_difference(figures, row) for row in rows))


def control_tables(run: Run, measures: Sequence[str]) -> list[Table]:
    """For each measure, what every system loses to each of its controls."""
    shown = {"picture": "the picture", "retrieval": "the retrieval"}
    tables = []
    for name in measures:
        found = [row for row in run.metrics["differences"] if row["measure"] == name and row["shows"] in shown]
        rows = tuple(
            (
                Cell(row["a"], control_of(row)),
                (
                    Cell(shown[row["shows"]]),
                    _cell(run.metrics["systems"][row["a"]][name]),
                    _cell(run.metrics["systems"][row["b"]][name]),
                    *_differs(row),
                ),
            )
            for row in found
        )
        if rows:
            head = ("system, control", "shows what rests on", "system", "control", "difference", "p, corrected")
            tables.append(
                Table(
                    f"{_directed(run.metrics['systems'], name)}: systems against their controls{_leaks(run)}",
                    head,
                    rows,
                )
            )
    return tables


def control_of(row: Mapping[str, Any]) -> str:
    """Which control a difference is against, such as "blank picture"."""
    return str(row["b"]).removeprefix(f"{row['a']}, ")


def number(value: float | None) -> str:
    """Three digits after the point; a dash where there is no figure."""
    return "–" if value is None else f"{value:.3f}".replace("-", "−")


def limits(figure: Mapping[str, Any]) -> str:
    """The interval in brackets, else why there is none."""
    if figure["value" if "value" in figure else "difference"] is None:
        return "not defined"
    if figure["low"] is None:
        return "no interval"
    return f"[{number(figure['low'])}, {number(figure['high'])}]"


def p_value(p: float | None) -> str:
    """A p-value with three digits, never written as 0."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def least_corrected(run: Run) -> float | None:
    """The smallest corrected p-value that these resamples allow, the correction running over the differences by one
    measure; None where no difference was tested, or all swaps were tried for one."""
    rows = [row for row in run.metrics["differences"] if row["p"] is not None]
    tested = Counter(row["measure"] for row in rows).values()
    exact = any(row.get("exact") for row in rows)
    return None if exact or not tested else min(1.0, min(tested) / (run.metrics["resamples"] + 1))


def _difference(figures: Figures, row: Mapping[str, Any]) -> tuple[Cell, tuple[Cell, ...]]:
    values = (_cell(figures[row[side]][row["measure"]]) for side in ("a", "b"))
    return Cell(f"{row['a']} − {row['b']}"), (*values, *_differs(row))


def _differs(row: Mapping[str, Any]) -> tuple[Cell, Cell]:
    sure = row["p_holm"] is not None and row["p_holm"] < SURE
    value = row["difference"]
    sign = "+" if value is not None and value > 0 else ""
    return (
        Cell(sign + number(value), limits(row), mark=sure),
        Cell(p_value(row["p_holm"]), f"p {p_value(row['p'])}, n {row['n']}", mark=sure),
    )


def _figure(figure: Mapping[str, Any], n: int) -> Cell:
    return _cell(figure, "" if figure["n"] == n else f"n {figure['n']}")


def _cell(figure: Mapping[str, Any] | None, more: str = "") -> Cell:
    if figure is None:
        return Cell("–")
    return Cell(number(figure["value"]), " ".join(filter(None, (limits(figure), more))))


def _system(run: Run, name: str) -> Cell:
    about = run.metrics["about"][name]
    return Cell(name, "" if about["role"] == "system" else about["role"])


def _directed(figures: Figures, name: str) -> str:
    """The measure's name with an arrow to its better side."""
    return f"{name} {'↑' if next(iter(figures.values()))[name]['higher_is_better'] else '↓'}"


def _leaks(run: Run) -> str:
    return " (LEAKAGE: see the top of the page)" if run.results.warning else ""


def _parts(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[start : start + COLUMNS] for start in range(0, len(names), COLUMNS)]
