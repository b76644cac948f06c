"""The page docs/models.md, made from the table of models."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import jinja2

from ragvlm.registry import Entry

_TITLES = {"encoders": "Encoders", "generators": "Generators", "classifiers": "Classifiers"}


def page(rows: Sequence[Entry]) -> str:
    """Markdown: a table of ``rows`` for each kind, and what each is for."""
    source = files("ragvlm").joinpath("data/models.md.jinja").read_text(encoding="utf-8")
    # Markdown of our own table, not HTML of anybody's words
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    environment.globals |= {"anchor": _anchor, "checkpoint": _checkpoint, "size": _size}
    kinds = {title: [row for row in rows if row.kind == kind] for kind, title in _TITLES.items()}
    return environment.from_string(source).render(kinds=kinds)


def _anchor(entry: Entry) -> str:
    return f"{entry.name}-{entry.kind.removesuffix('s')}"


def _checkpoint(entry: Entry) -> str:
    if entry.hub_id:
        return entry.hub_id + (f" @{entry.revision[:7]}" if entry.revision else "")
    return f"package {entry.package}" if entry.package else "-"


def _size(parameters: int | None) -> str:
    """Three digits: 151 M, 3.94 B."""
    if parameters is None:
        return "-"
    unit, letter = (1e9, "B") if parameters >= 1e9 else (1e6, "M")
    return f"{parameters / unit:.3g} {letter}"
