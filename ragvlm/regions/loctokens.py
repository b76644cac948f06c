"""Where PaliGemma says that things are: its tokens of places and of masks, read from what it wrote.

A box is ``<locNNNN>`` four times, y0 x0 y1 x1, 0 to 1023 from edge to edge of the picture; a mask is 16 times
``<segNNN>``, codes of 128; then come the words, and ``;`` before the next (Beyer et al. 2024, arXiv:2407.07726).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

BINS = 1024
CODES = 128
CODES_PER_MASK = 16
_PIECE = re.compile(r"<loc(?P<loc>\d{4})>|<seg(?P<seg>\d{3})>|(?P<end>;)|(?P<words>[^<;]+|<)")


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that was placed: ``box`` [xmin, ymin, xmax, ymax] in pixels, what it was called, its mask's codes.

    ``label`` is empty where no words followed; ``codes`` are 16 numbers below 128, or none.
    """

    box: tuple[float, float, float, float]
    label: str = ""
    codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """All that was placed, in order; ``malformed`` holds what looked like places but can't be read."""

    said: tuple[Said, ...] = ()
    malformed: tuple[str, ...] = ()


@dataclass(slots=True)
class _Item:
    raw: str = ""
    locs: list[int] = field(default_factory=list)
    segs: list[int] = field(default_factory=list)
    words: str = ""


def read_answer(text: str, size: tuple[int, int]) -> Answer:
    """What ``text`` places in a picture of ``size`` (width, height); never raises, whatever the text.

    A box needs four places in range that span an area; a mask with another number of codes, or with a code that there
    isn't, leaves the box without a mask. Words without a place are no answer and no fault: "no cat" is such.
    """
    said, malformed = [], []
    for item in _items(text):
        box = _box(item.locs, size)
        if box is not None:
            whole = len(item.segs) == CODES_PER_MASK and max(item.segs) < CODES
            said.append(Said(box, " ".join(item.words.split()), tuple(item.segs) if whole else ()))
        elif item.locs or item.segs:
            malformed.append(item.raw.strip())
    return Answer(tuple(said), tuple(malformed))


def _items(text: str) -> Iterator[_Item]:
    """The pieces of ``text`` by the thing that they tell of; a place after words, codes or four places begins one."""
    item = _Item()
    for match in _PIECE.finditer(text):
        kind = match.lastgroup
        begins = kind == "loc" and (len(item.locs) == 4 or item.segs or item.words.strip())
        if kind == "end" or begins:
            yield item
            item = _Item()
        if kind == "end":
            continue
        item.raw += match.group()
        if kind == "loc":
            item.locs.append(int(match["loc"]))
        elif kind == "seg":
            item.segs.append(int(match["seg"]))
        else:
            item.words += match.group()
    yield item


def _box(locs: list[int], size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    if len(locs) != 4 or max(locs) >= BINS:
        return None
    top, left, bottom, right = locs
    if top >= bottom or left >= right:
        return None
    width, height = size
    last = BINS - 1
    return left * width / last, top * height / last, right * width / last, bottom * height / last
