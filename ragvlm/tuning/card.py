"""What a trained model is, as card.json for programs and README.md for people.

After Mitchell et al. 2019, Model Cards for Model Reporting (arXiv:1810.03993).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import ragvlm
from ragvlm.errors import one_line
from ragvlm.evaluation.folder import machine
from ragvlm.tuning.fit import FitResult

LIMITS = (
    "What it learned is bound to this corpus: other microscopes, stains, scanners or populations were not tried.",
    "For research, not for clinical use.",
)
"""True of every training."""


@dataclass(frozen=True, slots=True)
class Card:
    """What the maker of a model says of it.

    Args:
        kind: the command: "lora", "prompt", "head", "describer", "classifier".
        title: one line for the top of the page.
        base: what was trained on top of: ``name`` and, where they are known, ``licence`` and ``fingerprint``.
        data: as ``split.corpus_facts`` gives it.
        metrics: part -> measure -> value, of parts that were not learnt from.
        settings: as given, JSON types.
        limits: sentences beside those that are true of every training.
        use: the command that uses the result at once; "{folder}" stands for its folder.
        command: the command that made it.
        plug_in: the encoder, generator or classifier that takes the folder as its model: who gives the folder's name as
            ``--generator`` (or the like) gets it.
        more: further facts for card.json.
    """

    kind: str
    title: str
    base: Mapping[str, Any]
    data: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, float]]
    settings: Mapping[str, Any]
    use: str
    limits: Sequence[str] = ()
    command: str | None = None
    plug_in: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self, fitted: FitResult, identity: Mapping[str, Any]) -> dict[str, Any]:
        """card.json."""
        return {
            "kind": self.kind,
            "plug_in": self.plug_in,
            "title": self.title,
            "base": dict(self.base),
            "data": dict(self.data),
            "metrics": {part: dict(measures) for part, measures in self.metrics.items()},
            "settings": dict(self.settings),
            "training": fitted.to_dict(),
            "limits": [*self.limits, *LIMITS],
            "use": self.use,
            "command": self.command,
            "machine": {"ragvlm": ragvlm.__version__, **machine()},
            "identity": dict(identity),
            **self.more,
        }


def render_card(facts: Mapping[str, Any], name: str) -> str:
    """README.md of the result folder ``name``."""
    return render("tune-card.md.jinja", facts, name, escape=False)


def render(template: str, facts: Mapping[str, Any], name: str, *, escape: bool, **more: Any) -> str:
    """A template of ``data`` filled with the card."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=escape,  # noqa: S701 - Markdown is no HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=None if escape else _cell,
    )
    environment.filters["figure"] = figure
    source = files("ragvlm").joinpath("data", template).read_text(encoding="utf-8")
    return environment.from_string(source).render(card=facts, name=name, use=facts["use"].format(folder=name), **more)


def _cell(value: Any) -> Any:
    """Words as they may stand in a table of Markdown."""
    return one_line(value).replace("|", "\\|") if isinstance(value, str) else value


def figure(value: Any) -> str:
    """A number with four significant digits, all of a whole one; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
