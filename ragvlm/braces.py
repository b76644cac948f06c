"""Patterns that stand for many names: ``{00000..00099}.tar``."""

from __future__ import annotations

import re

from ragvlm.errors import CorpusError

MOST = 1_000_000  # names that a pattern may stand for
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")


def has_braces(text: str) -> bool:
    """Whether ``text`` is a pattern."""
    return _BRACES.search(text) is not None


def expand_braces(pattern: str) -> list[str]:
    """``a-{08..10}.tar`` -> a-08.tar, a-09.tar, a-10.tar; ``{a,b}.tar`` -> a.tar, b.tar. Raises CorpusError."""
    found = _BRACES.search(pattern)
    if not found:
        return [pattern]
    first, last, names = found.groups()
    if names is None:
        if not 0 <= int(last) - int(first) < MOST:
            raise CorpusError(f"pattern {pattern!r}: {found[0]} doesn't count upwards, at most {MOST:,} names")
        choices = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    else:
        choices = names.split(",")
    head, tail = pattern[: found.start()], expand_braces(pattern[found.end() :])
    if len(choices) * len(tail) > MOST:
        raise CorpusError(f"pattern {pattern!r} stands for more than {MOST:,} names")
    return [f"{head}{choice}{rest}" for choice in choices for rest in tail]
