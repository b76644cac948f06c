"""Controls: a system asked again without what it should look at (arXiv:2603.03437 shows why)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ragvlm.evaluation.bench import BLANK, NOTHING, OTHER, OWN, RANDOM, SHUFFLED, System
from ragvlm.evaluation.tables import Pair

SHOWS = {BLANK: "picture", SHUFFLED: "picture", RANDOM: "retrieval", OTHER: "retrieval"}
"""What the difference between a system and its control shows.

Picture: the system is given another picture, and retrieves by that one. Retrieval: it keeps the picture, and is given
other references.
"""


def with_controls(systems: Sequence[System], wanted: Sequence[str]) -> list[System]:
    """``systems``, and after them each one that is given something of its own, with every control of ``wanted``.

    A generator without retrieval has controls of the picture alone; what sees neither picture nor references has none.
    """
    return [*systems, *(c for system in systems if _of_generator(system) for c in _controls(system, wanted))]


def _of_generator(system: System) -> bool:
    return system.role == "system" or (system.of is not None and system.looks) or system.name == "nearest answer"


def _controls(system: System, wanted: Sequence[str]) -> list[System]:
    found = []
    for control in wanted:
        if system.given == OWN or (system.given == NOTHING and SHOWS[control] == "picture"):
            name = f"{system.name}, {control}"
            found.append(replace(system, name=name, role="control", of=system.name, given=control, note=""))
    return found


def pairs_of(systems: Sequence[System]) -> list[Pair]:
    """What is compared: each system with the others, with every baseline and with its own controls."""
    mains = [system for system in systems if system.role == "system"]
    baselines = [system for system in systems if system.role == "baseline"]
    pairs = [Pair(a.name, b.name, "system") for i, a in enumerate(mains) for b in mains[i + 1 :]]
    pairs += [Pair(a.name, b.name, "baseline") for a in mains for b in baselines if b.of in (None, a.name)]
    if not mains and baselines:
        pairs += [Pair(a.name, b.name, "baseline") for i, a in enumerate(baselines) for b in baselines[i + 1 :]]
    return pairs + [Pair(str(s.of), s.name, SHOWS[s.given]) for s in systems if s.role == "control"]
