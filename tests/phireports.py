"""Made-up reports with what identifies a person marked as ``[[TYPE:text]]``, and how well it is found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ragvlm import phi

FOLDER = Path(__file__).resolve().parent / "data" / "phi"
_MARK = re.compile(r"\[\[(\w+):(.*?)\]\]")


@dataclass(frozen=True, slots=True)
class Score:
    """``found`` of ``marked`` identifiers are covered as a whole; ``false`` findings are, or reach, outside of them.

    ``changed`` of the ``clean`` lines without an identifier would be changed by redaction.
    """

    marked: int
    found: int
    false: int
    clean: int
    changed: int
    missed: tuple[tuple[str, str], ...]
    wrong: tuple[tuple[str, str], ...]


def lines(name: str) -> Iterator[tuple[str, list[phi.Finding]]]:
    """The lines of a file, unmarked, each with what is marked in it."""
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield unmarked(line)


def unmarked(line: str) -> tuple[str, list[phi.Finding]]:
    text, marked, done = "", [], 0
    for mark in _MARK.finditer(line):
        text += line[done : mark.start()]
        marked.append(phi.Finding(mark[1], len(text), len(text) + len(mark[2])))
        text += mark[2]
        done = mark.end()
    return text + line[done:], marked


def score(reports: Iterable[tuple[str, list[phi.Finding]]]) -> Score:
    """Letters and figures count, punctuation at the edges doesn't; the type isn't compared."""
    marked = found = clean = changed = 0
    missed: list[tuple[str, str]] = []
    wrong: list[tuple[str, str]] = []
    for text, marks in reports:
        findings = phi.find(text)
        covered, wanted = _letters(text, findings), _letters(text, marks)
        marked += len(marks)
        for mark in marks:
            if _letters(text, [mark]) <= covered:
                found += 1
            else:
                missed.append((mark.type, text[mark.start : mark.end]))
        wrong += [(f.type, text[f.start : f.end]) for f in findings if _letters(text, [f]) - wanted]
        clean += not marks
        changed += not marks and bool(findings)
    return Score(marked, found, len(wrong), clean, changed, tuple(missed), tuple(wrong))


def _letters(text: str, findings: Iterable[phi.Finding]) -> set[int]:
    return {place for f in findings for place in range(f.start, f.end) if text[place].isalnum()}
