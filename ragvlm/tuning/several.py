"""The same training on several models, and one table: PaliGemma's pt, mix and ft checkpoints, for example."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ragvlm.errors import InputError
from ragvlm.evaluation.folder import write_json, write_text
from ragvlm.tuning.card import figure
from ragvlm.tuning.folder import Tuned

TABLE = "table"


def tune_several(models: Sequence[str], out: Path | str, tune: Callable[[str, Path], Tuned]) -> list[Tuned]:
    """``tune(model, folder)`` for each of ``models``, in folders of ``out``; then ``out``/table.md and table.json.

    The table has a row for each model as it was and one as it became, on the same items of the test part, or of the
    validation part where nothing is tested. What is finished isn't done again. Raises InputError for two models that
    would have one folder.
    """
    folders = {model: Path(out) / _slug(model) for model in models}
    if len(set(folders.values())) < len(models):
        raise InputError(f"{', '.join(models)}: two have the same name: train them one by one")
    found = [tune(model, folder) for model, folder in folders.items()]
    part = "test" if all("test" in tuned.metrics for tuned in found) else "validation"
    rows = []
    for model, tuned in zip(models, found, strict=True):
        for state, key in (("as it was", f"{part}, base"), ("tuned", part)):
            rows.append({"model": model, "state": state, **tuned.metrics[key]})
    write_json(Path(out) / f"{TABLE}.json", {"part": part, "corpus": found[0].card["data"]["name"], "rows": rows})
    write_text(Path(out) / f"{TABLE}.md", _markdown(rows, part))
    return found


def _markdown(rows: Sequence[dict[str, object]], part: str) -> str:
    head = list(rows[0])
    lines = [f"On the {part} part, the same items in all rows.", "", _line(head), _line(["---"] * len(head))]
    return "\n".join([*lines, *(_line([figure(row.get(name, "")) for name in head]) for row in rows)]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _slug(model: str) -> str:
    return re.sub(r"[^\w.-]+", "-", model.rstrip("/").rpartition("/")[2]).strip("-")
