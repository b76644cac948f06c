"""docs/performance.md and its drawing, made from benchmarks/results/*.json.

python benchmarks/page.py
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jinja2

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
PANELS = (
    ("build time (CPU s, without encoding)", ("build", "cpu_s")),
    ("disk (MB)", ("build", "disk_mb")),
    ("memory of a query's process (MB)", ("ask", "memory_mb")),
    ("query (CPU ms)", ("ask", "query_cpu_ms")),
)


def results() -> dict[str, Any]:
    """The committed results by name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((HERE / "results").glob("*.json"))
    }


def page(found: dict[str, Any]) -> str:
    """The page in Markdown."""
    source = (HERE / "performance.md.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(  # noqa: S701 (Markdown of our own numbers)
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    return environment.from_string(source).render(**found)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Four panels over the number of records, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    style = {"svg.hashsalt": "ragvlm", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style):
        figure, panels = plt.subplots(1, len(PANELS), figsize=(11, 2.8), layout="constrained")
        for axes, (title, (step, key)) in zip(panels, PANELS, strict=True):
            axes.loglog([row["records"] for row in rows], [row[step][key] for row in rows], "o-", color="#0b63b6")
            axes.set_title(title, fontsize=9)
            axes.set_xlabel("records")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
            low, high = axes.get_ylim()
            axes.set_ylim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))
            axes.grid(visible=True, which="major", alpha=0.3)
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)


def main() -> None:
    """Write both files."""
    found = results()
    (DOCS / "performance.md").write_text(page(found), encoding="utf-8")
    draw(found["growth"]["rows"], DOCS / "performance.svg")


if __name__ == "__main__":
    main()
