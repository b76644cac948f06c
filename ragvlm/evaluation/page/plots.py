"""Drawings for the report: plain numbers in, an SVG as a data URI out, the same bytes for the same numbers."""

from __future__ import annotations

import base64
import io
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.errors import require

WIDTH = 4.2
"""Inches, so that letters can still be read on a telephone."""
INK, SOFT, MAIN, OTHER = "#1b2330", "#5a6678", "#0b63b6", "#8b97a8"
_LINES = (("#0b63b6", "o", "-"), ("#b3440c", "s", "--"), ("#1a7a4c", "^", "-."), ("#7b3fa0", "D", ":"),
          ("#5a6678", "v", "-"), ("#8a6d00", "X", "--"))  # fmt: skip
MOST_LINES = len(_LINES)
_MOST_NUMBERED = 12
_STYLE = {
    "svg.hashsalt": "ragvlm", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 10,
    "axes.edgecolor": SOFT, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "text.usetex": False, "text.parse_math": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure with its interval; NaN limits where it has none. ``main`` bars stand out."""

    name: str
    value: float
    low: float
    high: float
    main: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """``y`` over ``x``; ``low`` and ``high`` bound a band where they are given."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def bars(rows: Sequence[Bar], label: str, *, zero: bool = False) -> str:
    """A bar a row, from the top; with ``zero`` a line where there is no difference."""

    def draw(axes: Any) -> None:
        for place, row in enumerate(rows):
            axes.barh(place, row.value, color=MAIN if row.main else OTHER, height=0.62)
            if np.isfinite(row.low) and np.isfinite(row.high):
                axes.plot([row.low, row.high], [place, place], color=INK, linewidth=1.6, solid_capstyle="butt")
                axes.plot([row.low, row.high], [place, place], "|", color=INK, markersize=7)
        axes.set_yticks(range(len(rows)), [_folded(row.name) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(label)
        axes.tick_params(axis="y", length=0)
        if zero:
            axes.axvline(0, color=INK, linewidth=0.8)

    return _drawn(draw, 0.75 + sum(0.19 + 0.17 * len(_folded(row.name).split("\n")) for row in rows))


def lines(rows: Sequence[Line], x: str, y: str, *, whole: bool = False, diagonal: bool = False) -> str:
    """At most MOST_LINES lines; ``whole``: x counts; ``diagonal``: with the line of y = x."""

    def draw(axes: Any) -> None:
        if diagonal:
            axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)))
        for row, (colour, marker, dash) in zip(rows, _LINES, strict=False):
            marks = {"marker": marker, "markersize": 4} if len(row.x) <= 25 else {}
            axes.plot(row.x, row.y, color=colour, linestyle=dash, linewidth=1.6, label=_folded(row.name, 40), **marks)
            if len(row.low):
                axes.fill_between(row.x, row.low, row.high, color=colour, alpha=0.14, linewidth=0)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.set_ylim(bottom=0)
        if whole:
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.2))

    return _drawn(draw, 2.9 + 0.2 * min(len(rows), MOST_LINES))


def matrix(counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str]) -> str:
    """A confusion matrix (rows are true), shaded by the share of the row; counts stand in it where there is room."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def draw(axes: Any) -> None:
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        small = {"fontsize": 7 if len(columns) > _MOST_NUMBERED else 8}
        axes.set_xticks(range(len(columns)), [_short(name) for name in columns], rotation=90, **small)
        axes.set_yticks(range(len(rows)), [_short(name) for name in rows], **small)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        for (i, j), n in np.ndenumerate(counts) if len(columns) <= _MOST_NUMBERED else ():
            axes.text(j, i, str(n), ha="center", va="center", fontsize=8, color="white" if share[i, j] > 0.55 else INK)

    return _drawn(draw, 1.6 + 0.2 * max(len(rows), 6))


def _drawn(draw: Callable[[Any], None], height: float) -> str:
    """A figure of ``height`` inches. Raises MissingExtraError without matplotlib."""
    matplotlib, figures = require("matplotlib", "eval"), require("matplotlib.figure", "eval")
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "svg", **_STYLE}):
        figure = figures.Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            # a name in another script is drawn as boxes: tables and alternative texts have it whole
            warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _folded(name: str, width: int = 26) -> str:
    return "\n".join(textwrap.wrap(_clean(name), width, max_lines=3, placeholder=" …")) or "–"


def _short(name: str) -> str:
    clean = _clean(name)
    return clean if len(clean) <= 22 else clean[:21] + "…"


def _clean(name: str) -> str:
    """Without what can't be drawn."""
    return "".join(c if c.isprintable() else " " for c in name)
