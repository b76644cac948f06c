"""Sentences from the neighbours' labels, by weighted vote."""

from __future__ import annotations

from collections.abc import Sequence

from ragvlm.language.labels import votes
from ragvlm.types import Prompt


class TemplateGenerator:
    """Says each label once: texts by weighted mode, numbers by weighted lower median (see ``ragvlm.language.labels``).

    With ``tally`` each sentence says how many references agree, or between which values their numbers lie.
    """

    name = "template"
    reads = "references"

    def __init__(self, *, tally: bool = True) -> None:
        self.tally = tally

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """One text a prompt; empty where no neighbour has labels."""
        return [" ".join(self._sentences(prompt)) for prompt in prompts]

    def _sentences(self, prompt: Prompt) -> list[str]:
        return [vote.tallied if self.tally else vote.sentence for vote in votes(prompt.context)]
