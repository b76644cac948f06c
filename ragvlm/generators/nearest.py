"""The caption of the nearest neighbour that has one."""

from __future__ import annotations

from collections.abc import Sequence

from ragvlm.types import Prompt


class NearestGenerator:
    """Repeats the best-ranked caption word by word: the baseline that any generator has to beat."""

    name = "nearest"
    reads = "references"

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """One caption a prompt; empty where no neighbour has a caption."""
        return [_first(prompt) for prompt in prompts]


def _first(prompt: Prompt) -> str:
    hits = sorted(prompt.context.hits, key=lambda hit: hit.rank)
    return next((hit.record.caption for hit in hits if hit.record.caption and hit.record.caption.strip()), "")
