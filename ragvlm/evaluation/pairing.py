"""Which systems of which folders are compared, on which items, and who belongs to one subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from ragvlm.errors import InputError, one_line
from ragvlm.evaluation.recorded import Recorded, first_five


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A system of a folder, and what the comparison calls it."""

    run: Recorded
    system: str
    name: str

    @property
    def ids(self) -> list[str]:
        """Of the items that it answered."""
        return self.run.ids(self.system)


def pairs_of(runs: Sequence[Recorded], wanted: Sequence[str], all_pairs: bool) -> list[tuple[Side, Side]]:
    """Which systems are compared: see ``ragvlm.evaluation.compare.compare``. Raises InputError listing those there."""
    for name in wanted:
        if not any(name in run.systems for run in runs):
            raise InputError(f"no system {one_line(name)!r}: {_listed(runs)}")
    labels = _labels(runs)
    sides = {
        (number, system): Side(run, system, system if len(runs) == 1 else f"{label}: {system}")
        for number, (run, label) in enumerate(zip(runs, labels, strict=True))
        for system in run.systems
    }
    if len(runs) == 1:
        chosen = list(dict.fromkeys(wanted or runs[0].main))
        if len(chosen) < 2:
            raise InputError(f"one system can't be compared: give another folder, or two of these: {_listed(runs)}")
        return [(sides[0, a], sides[0, b]) for a, b in combinations(chosen, 2)]
    numbers = range(len(runs))
    folders = combinations(numbers, 2) if all_pairs else ((0, number) for number in numbers[1:])
    return [(sides[a, one], sides[b, two]) for a, b in folders for one, two in _matched(runs[a], runs[b], wanted)]


def _matched(a: Recorded, b: Recorded, wanted: Sequence[str]) -> list[tuple[str, str]]:
    """Which system of ``a`` is compared with which of ``b``."""
    of_a, of_b = ([name for name in dict.fromkeys(wanted) if name in run.systems] or list(run.main) for run in (a, b))
    if shared := [name for name in of_a if name in of_b]:
        return [(name, name) for name in shared]
    if len(of_a) == len(of_b) == 1:
        return [(of_a[0], of_b[0])]
    raise InputError(f"no system is in both: choose one of each with --system NAME; {_listed([a, b])}")


def _listed(runs: Sequence[Recorded]) -> str:
    return "; ".join(f"{run.path} holds {', '.join(repr(one_line(name)) for name in run.systems)}" for run in runs)


def _labels(runs: Sequence[Recorded]) -> list[str]:
    """The folders' names; their whole paths where names are equal, and numbers where these are too."""
    names = [run.path.resolve().name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.path) for run in runs]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    return names


def shared_ids(sides: Sequence[Side], common: bool) -> tuple[list[str], int]:
    """The items that all sides have, in the order of the first, and how many others there are.

    Raises InputError naming these, unless the ``common`` ones are asked for and there are some.
    """
    first = sides[0]
    shared = set(first.ids).intersection(*(side.ids for side in sides[1:]))
    for side in sides[1:]:
        apart = [(s, _apart(s.ids, other.ids)) for s, other in ((first, side), (side, first))]
        if any(ids for _, ids in apart) and not (common and shared):
            told = "; ".join(f"only in {s.run.path} ({one_line(s.system)}): {first_five(i)}" for s, i in apart if i)
            advice = f"--common compares the {len(shared)} that all have" if shared else "they share none"
            raise InputError(f"different items: {told}; {advice}")
    return [i for i in first.ids if i in shared], len({i for side in sides for i in side.ids}) - len(shared)


def _apart(ids: Sequence[str], others: Sequence[str]) -> list[str]:
    known = set(others)
    return [name for name in ids if name not in known]


def check_references(sides: Sequence[Side], ids: Sequence[str]) -> None:
    """Raise InputError where two folders call different things right for the same id."""
    known = [side for side in sides if side.run.items.get(side.system)]
    for side in known[1:]:
        a, b = known[0].run.items[known[0].system], side.run.items[side.system]
        if other := [i for i in ids if a[i].references != b[i].references]:
            raise InputError(
                f"{known[0].run.path} and {side.run.path} have different references for {first_five(other)}: these "
                "aren't the same items; score both with one file of references"
            )


def clusters_of(runs: Sequence[Recorded], ids: Sequence[str]) -> list[str]:
    """The subject of each item. Items that share one in any of the folders are of one: what isn't known can't part."""
    parent = {name: name for name in ids}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for run in runs:
        seen: dict[str, str] = {}
        for name in ids:
            if name in run.clusters:
                parent[root(name)] = root(seen.setdefault(run.clusters[name], name))
    # called as the first folder that knows calls them, so that the draws are those of its metrics.json
    known = next((run.clusters for run in runs if all(name in run.clusters for name in ids)), parent)
    called: dict[str, str] = {}
    for name in ids:
        own = known[name] if known is not parent else name
        called[root(name)] = min(called.get(root(name), own), own)
    return [called[root(name)] for name in ids]
