"""Which picture is which: a pure function of (seed, kinds, index), so that picture i doesn't depend on n."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ragvlm.simulate import painter
from ragvlm.simulate.picture import Picture

# how many consecutive fields of a kind come from one slide, over and over
_SLIDE_SIZES = (1, 2, 1, 1, 3)
_SLIDE_OF = np.repeat(np.arange(len(_SLIDE_SIZES)), _SLIDE_SIZES)


@dataclass(frozen=True)
class Plan:
    """One picture to be: its index, kind and slide (the simulated specimen, shared by one to three pictures)."""

    seed: int
    index: int
    kind: str
    slide: int

    @property
    def id(self) -> str:
        """Name of the picture, e.g. ``"00007-blood_smear"``."""
        return f"{self.index:05d}-{self.kind}"

    @property
    def subject_id(self) -> str:
        """Name of the simulated slide."""
        return f"{self.kind}-slide-{self.slide:04d}"

    def draw(self) -> Picture:
        """Draw the picture; raises MissingExtraError without scipy."""
        slide = np.random.default_rng(np.random.SeedSequence([self.seed, zlib.crc32(self.kind.encode()), self.slide]))
        return painter(self.kind)(slide, np.random.default_rng(np.random.SeedSequence([self.seed, self.index])))


def plan(seed: int, kinds: Sequence[str], index: int) -> Plan:
    """The plan of picture ``index`` (from 0): kinds take turns, so every n is balanced to within one."""
    turn = index // len(kinds)
    block, rest = divmod(turn, len(_SLIDE_OF))
    slide = block * len(_SLIDE_SIZES) + int(_SLIDE_OF[rest])
    return Plan(seed, index, kinds[index % len(kinds)], slide)
