"""Wording: the few choices of words that captions share. Every word is a function of a measured number."""

from __future__ import annotations

from collections.abc import Sequence

from ragvlm.simulate.picture import Rng, Shape

_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def count(n: int, one: str, many: str | None = None) -> str:
    """``count(1, "nucleus", "nuclei")`` -> "one nucleus"; numbers above twelve as digits."""
    noun = one if n == 1 else many or one + "s"
    return f"{_SMALL[n] if n < len(_SMALL) else n} {noun}"


def verb(n: int, one: str, many: str) -> str:
    """The verb's form for a count: singular only for one."""
    return one if n == 1 else many


def pick(rng: Rng, options: Sequence[str]) -> str:
    """One of several equal wordings."""
    return options[int(rng.integers(len(options)))]


def sentence(text: str) -> str:
    """First letter in capitals, one full stop at the end."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def density_word(covered: float) -> str:
    """Word for the share of the field that objects cover, 0 to 1."""
    for limit, word in ((0.06, "sparse"), (0.2, "moderately dense"), (0.45, "dense")):
        if covered < limit:
            return word
    return "crowded"


def size_word(diameter: float, shape: Shape) -> str:
    """Word for a typical diameter in pixels relative to the shorter side of the field."""
    share = diameter / min(shape)
    return "small" if share < 0.04 else "medium-sized" if share < 0.11 else "large"


def place_word(point: tuple[float, float], shape: Shape) -> str:
    """Where a point lies, in thirds of the field: "in the centre", "at the upper left"."""
    row = ("upper", "", "lower")[min(int(3 * point[0] / shape[0]), 2)]
    column = ("left", "", "right")[min(int(3 * point[1] / shape[1]), 2)]
    if not row and not column:
        return "in the centre"
    return f"at the {row or 'middle'} {column or 'middle'}"


def listing(items: Sequence[str]) -> str:
    """``["a", "b", "c"]`` -> "a, b and c"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def paragraph(*parts: str) -> str:
    """Join what isn't empty into sentences."""
    return " ".join(sentence(part) for part in parts if part)
