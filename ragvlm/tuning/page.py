"""report.html of a training: its curve, its figures and its settings on one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ragvlm.errors import MissingExtraError
from ragvlm.evaluation.page.plots import Line, lines
from ragvlm.tuning.card import render


def render_page(facts: Mapping[str, Any], name: str) -> str:
    """The page of a card; without matplotlib (``ragvlm[eval]``) it has no curve, and says so."""
    history = facts["training"]["history"]
    curves, missing = [], ""
    try:
        curves = [
            {"title": title, "uri": lines(rows, "step", label), "alt": _words(rows)}
            for title, label, rows in _curves(history, facts["training"]["metric"])
        ]
    except MissingExtraError as error:
        missing = str(error)
    return render("tune.html.jinja", facts, name, escape=True, curves=curves, missing=missing)


def _curves(history: Sequence[Mapping[str, float]], metric: str) -> list[tuple[str, str, list[Line]]]:
    losses = [_line("training", history, "loss"), _line("validation", history, "eval_loss")]
    found = [("Loss", "loss", [row for row in losses if row.x])]
    chosen = _line(metric, history, f"eval_{metric}")
    if metric != "loss" and chosen.x:
        found.append((f"{metric} on the validation part", metric, [chosen]))
    return [item for item in found if item[2]]


def _line(name: str, history: Sequence[Mapping[str, float]], key: str) -> Line:
    rows = [row for row in history if key in row]
    return Line(name, [row["step"] for row in rows], [row[key] for row in rows])


def _words(rows: Sequence[Line]) -> str:
    """The curves for who can't see them."""
    said = (f"{row.name} from {row.y[0]:.3g} at step {row.x[0]:g} to {row.y[-1]:.3g} at {row.x[-1]:g}" for row in rows)
    return "; ".join(said)
