"""What writes the text: one plug-in a file, all with the same two members, ``name`` and ``generate``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from ragvlm.registry import create, entries, split, takes

if TYPE_CHECKING:
    from ragvlm.types import Generator

_SAMPLES = re.compile(r"(.+)\*(\d+)")


def load_generator(name: str = "consensus", combine: str = "consensus", samples: int = 1, **options: Any) -> Generator:
    """The generator ``name``, made with ``options``.

    ``name`` is a plug-in's name, or name and model joined by a colon, as in "openai:MODEL"; "NAME*5" draws five samples
    of a generator that can, as ``samples`` does for all; several names with commas between are an ensemble.
    ``combine`` is how texts become one: "consensus" or "vote" (``ragvlm.generators.ensemble``). Of several generators
    each gets those of the ``options`` that it takes.

    Raises InputError for an unknown name or option, MissingExtraError with the pip command where a package is
    absent.
    """
    names = names_of(name)
    if len(names) == 1:
        return _one(name, combine, samples, options)
    from ragvlm.generators.ensemble import Ensemble

    taken = {one: {key: value for key, value in options.items() if takes_option(one, key)} for one in names}
    if stray := [key for key in options if not any(key in own for own in taken.values())]:
        _one(names[0], combine, samples, {stray[0]: options[stray[0]]})  # which says what it takes
    return Ensemble([_one(one, combine, samples, taken[one]) for one in names], combine)


def names_of(name: str) -> list[str]:
    """The names of an ensemble, or the one: a comma parts names where a plug-in stands behind each of them."""
    names = [one.strip() for one in name.split(",")]
    known = entries("generators")
    return names if all(plug_in_of(one) in known for one in names) else [name]


def plug_in_of(name: str) -> str:
    """The plug-in behind one name: "smollm2" of "smollm2*5", "openai" of "openai:MODEL"."""
    return split(_parted(name)[0])[0]


def _parted(name: str) -> tuple[str, int]:
    """A name without its samples, and how many these are."""
    found = _SAMPLES.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 1)


def takes_option(name: str, option: str) -> bool:
    """Whether one generator has ``option``; raises what ``load_generator`` raises."""
    return takes("generators", _parted(name)[0], option)


def _one(name: str, combine: str, samples: int, options: dict[str, Any]) -> Generator:
    bare, own = _parted(name)
    generator = cast("Generator", create("generators", bare, options))
    samples = own if own > 1 else samples
    if samples == 1:
        return generator
    from ragvlm.generators.ensemble import Sampled

    return Sampled(generator, samples, combine)
