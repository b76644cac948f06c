"""What a run found, in sentences for those who don't read tables, and what its measures mean."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from ragvlm.evaluation.page.reading import Run, answers
from ragvlm.evaluation.page.tables import SURE, control_of, least_corrected, limits, number

_ASKED = {
    "describe": "described {n} pictures",
    "vqa": "answered {n} questions about pictures",
    "classify": "named the classes of {n} pictures",
    "retrieve": "ranked the indexed records for {n} queries",
}
_SIDES = ("better than", "worse than", "perhaps better than", "perhaps worse than", "not told from")


def summary(run: Run) -> list[str]:
    """Sentences about the measure that ranks the cases, else the first one; a system each, then what limits them."""
    systems = run.systems("system") or run.systems("baseline")
    asked = _ASKED.get(run.task, "answered {n} items").format(n=run.metrics["n"])
    told = [f"{_listed(systems)} {asked} of {run.metrics['clusters']} subjects."]
    name = run.ranking or next(iter(run.headlines), None)
    if name is not None:
        told += [_of_system(run, system, name) for system in systems]
        told += [told_of for system in systems if (told_of := _of_controls(run, system, name))]
    return [*told, *_limits(run)]


def definitions(run: Run) -> list[dict[str, str]]:
    """Each measure's name, meaning, library with version, and better side."""
    foreign = run.metrics.get("foreign", {}).get("systems", {})
    table = tomllib.loads(files("ragvlm").joinpath("data/measures.toml").read_text(encoding="utf-8"))["measure"]
    return [
        {
            "name": name,
            "text": next((row["text"] for row in table if re.fullmatch(row["pattern"], name)), ""),
            "source": figure["source"],
            "direction": "higher is better" if figure["higher_is_better"] else "lower is better",
        }
        for name, figure in {**_defined(run), **next(iter(foreign.values()), {})}.items()
    ]


def _defined(run: Run) -> dict[str, Mapping[str, Any]]:
    return {name: run.metrics["systems"][run.lead][name] for name in run.measures}


def _of_system(run: Run, system: str, name: str) -> str:
    figure = run.metrics["systems"][system][name]
    told = f"{_quoted(system)} reached {name} {number(figure['value'])} {limits(figure)}"
    up = 1 if figure["higher_is_better"] else -1
    sides: dict[str, list[str]] = {side: [] for side in _SIDES}
    for row in run.metrics["differences"]:
        other = row["b"] if row["a"] == system else row["a"]
        told_apart = row["measure"] == name and row["shows"] in ("system", "baseline")
        if told_apart and system in (row["a"], row["b"]) and answers(run, other):
            sides[_side(row, up if row["a"] == system else -up)].append(other)
    compared = [f"{side} {_listed(others)}" for side, others in sides.items() if others]
    return f"{told}: {'; '.join(compared)}." if compared else f"{told}."


def _side(row: Mapping[str, Any], sign: int) -> str:
    """Sure where the corrected p-value says so; perhaps where the interval alone does."""
    apart = row["low"] is not None and (row["low"] > 0 or row["high"] < 0)
    sure = row["p_holm"] is not None and row["p_holm"] < SURE
    if not row["difference"] or not (apart or sure):
        return "not told from"
    return f"{'' if sure else 'perhaps '}{'better' if sign * row['difference'] > 0 else 'worse'} than"


def _of_controls(run: Run, system: str, name: str) -> str:
    parts = []
    for shows, what in (("picture", "the picture"), ("retrieval", "the retrieval")):
        rows = [r for r in run.metrics["differences"] if (r["a"], r["measure"], r["shows"]) == (system, name, shows)]
        told = [f"{number(row['difference'])} {limits(row)} ({control_of(row)})" for row in rows]
        if told:
            parts.append(f"on {what} {' and '.join(told)}")
    return f"Of the {name} of {_quoted(system)} there rest {'; '.join(parts)}." if parts else ""


def _limits(run: Run) -> list[str]:
    found, leaks = [], run.metrics["leakage"]
    if leaks["kept"]:
        found.append(f"{run.results.warning}: these figures don't show how well unseen pictures are answered.")
    elif leaks["leaking"]:
        found.append(f"{leaks['leaking']} of {leaks['queries']} queries gave their answer away and were left out.")
    least = least_corrected(run)
    if least is not None and least >= SURE:
        found.append(
            f"Each measure has so many differences that with {run.metrics['resamples']} resamples no corrected "
            f"p-value can be below {least:.3f}: ask fewer questions or draw more resamples."
        )
    return found


def _listed(names: Sequence[str]) -> str:
    quoted = [_quoted(name) for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), *quoted[-1:]]))


def _quoted(name: str) -> str:
    return f"“{name}”"
