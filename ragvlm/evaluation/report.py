"""report.html: the figures of a run as one self-contained page."""

from __future__ import annotations

from html import escape
from pathlib import Path

from ragvlm.evaluation.folder import write_text
from ragvlm.evaluation.results import Results


def write_report(folder: Path) -> Path:
    """Write the page of the finished run in ``folder`` and give its path. Raises InputError where it isn't finished."""
    results = Results.open(folder)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape('-' if row[k] is None else str(row[k]))}</td>" for k in _COLUMNS) + "</tr>"
        for row in results.rows
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
    title, warning = escape(results.metrics["title"]), escape(results.warning)
    write_text(
        folder / "report.html",
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body><h1>{title}</h1>\n<p><strong>{warning}</strong></p>\n"
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>\n</body></html>\n",
    )
    return folder / "report.html"


_COLUMNS = ("system", "role", "measure", "group", "value", "low", "high", "n", "clusters")
