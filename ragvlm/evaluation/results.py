"""What a run found: its folder, its figures, and both as a table of pandas."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragvlm.errors import InputError, require

if TYPE_CHECKING:
    import pandas as pd

_FIGURES = ("value", "low", "high", "n", "clusters")


@dataclass(frozen=True, slots=True)
class Results:
    """A finished run. ``metrics`` is what metrics.json holds (docs/evaluation.md)."""

    folder: Path
    metrics: dict[str, Any] = field(repr=False)

    @classmethod
    def open(cls, folder: str | Path) -> Results:
        """The run in ``folder``. Raises InputError where it isn't finished, or is none."""
        path = Path(folder) / "metrics.json"
        try:
            return cls(Path(folder), json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path}: can't be read; finish the run (ragvlm eval), or name its folder") from error

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One object for each system, measure and group ("" for all items): value, low, high, n, clusters, ...

        What was measured with foreign queries comes after a system's own figures, and counts these among ``n``.
        """
        found = []
        foreign = self.metrics.get("foreign", {}).get("systems", {})
        for system, own in self.metrics["systems"].items():
            measures = {**own, **foreign.get(system, {})}
            about = self.metrics["about"][system]
            for name, figure in measures.items():
                for group, values in {"": figure, **figure.get("by_group", {})}.items():
                    head = {"system": system, "role": about["role"], "measure": name, "group": group}
                    figures = {key: values.get(key) for key in _FIGURES}
                    found.append(head | figures | {"higher_is_better": figure["higher_is_better"]})
        return found

    def to_pandas(self) -> pd.DataFrame:
        """``rows`` as a DataFrame. Raises MissingExtraError without pandas."""
        frame: pd.DataFrame = require("pandas", "eval").DataFrame(self.rows)
        return frame

    def __str__(self) -> str:
        head = f"{self.metrics['suite']}: {self.metrics['n']} items of {self.metrics['clusters']} subjects"
        lines = [head, *filter(None, [self.warning])]
        told = [row for row in self.rows if row["group"] == "" and row["role"] != "control"]
        return "\n".join([*lines, *(f"{row['system']}\t{row['measure']}\t{_shown(row)}" for row in told)])

    @property
    def warning(self) -> str:
        """The loud mark of a run with leaks in it; empty where there are none."""
        leaks = self.metrics["leakage"]
        if not leaks["kept"]:
            return ""
        return (
            f"LEAKAGE: {leaks['kept']} of {leaks['queries']} queries share a subject or a picture with the index "
            "and were kept"
        )


def _shown(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "-"
    if row["low"] is None:
        return f"{row['value']:.3f} (no interval)"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
