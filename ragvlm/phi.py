"""What in a text may tell who a person is: found by rules, and replaced by typed placeholders.

The rules stand in ``data/phi/rules.toml``; their frame is HIPAA's Safe Harbor, 45 CFR 164.514(b)(2). They read English,
and a little German. What they find and miss is measured in docs/privacy.md.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from ragvlm.errors import InputError

REDACT, REPORT, KEEP = "redact", "report", "keep"
MODES = (REDACT, REPORT, KEEP)
_NEAR = 40  # how far before a match "unless" looks
_ADDRESS = re.compile(r"https?://\S+")
_WORD = re.compile(r"[^\W\d_][\w'’-]*")


@dataclass(frozen=True, slots=True)
class Finding:
    """``text[start:end]`` is of the kind ``type``: NAME, DATE, AGE, ADDRESS, PHONE, EMAIL, SSN, ID, URL or IP."""

    type: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PhiReport:
    """What was found in a corpus: how often each type, in how many records; never the text itself."""

    mode: str = KEEP
    records: int = 0
    found: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {"mode": self.mode, "records": self.records, "found": dict(self.found)}

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {kind}" for kind, n in self.found.items())
        done = "replaced by placeholders" if self.mode == REDACT else "found and left as they are"
        return f"identifiers of persons {done} in the texts of {self.records} records: {counts}"


@dataclass(frozen=True, slots=True)
class _Rule:
    type: str
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None = None
    unless_match: re.Pattern[str] | None = None
    unless_after: re.Pattern[str] | None = None
    names: bool = False
    label: bool = False
    first: str | None = None


@dataclass(frozen=True, slots=True)
class _Names:
    first: frozenset[str]
    stop: frozenset[str]
    heads: frozenset[str]
    keep: tuple[str, ...]


def check_mode(mode: str) -> str:
    """``mode``; InputError where it is none of ``MODES``."""
    if mode not in MODES:
        raise InputError(f"phi is {mode!r}: choose one of {', '.join(MODES)}")
    return mode


def find(text: str) -> list[Finding]:
    """What identifies a person in ``text``, in order and without overlaps; placeholders are left alone."""
    if not any(letter.isupper() or letter.isdigit() or letter == "@" for letter in text):
        return _once(text)
    free = bytearray(b"1" * len(text))
    found: list[Finding] = []
    for rule in _rules():
        found += _new(_matches(rule, text), free)
    found += _new(_again(found, text), free)
    return sorted(found, key=lambda finding: finding.start)


def redact(text: str) -> tuple[str, Counter[str]]:
    """``text`` with ``[NAME]``, ``[DATE]``, ... in the place of what identifies a person, and how many of each."""
    found = find(text)
    parts, done = [], 0
    for finding in found:
        parts += [text[done : finding.start], f"[{finding.type}]"]
        done = finding.end
    return "".join((*parts, text[done:])), Counter(finding.type for finding in found)


def cleaned(value: Any, mode: str, counts: Counter[str]) -> Any:
    """``value`` with all texts in it (at any depth of lists and objects; not their keys) redacted if ``mode`` says so.

    What is nothing but a web address is where something comes from, and stays. What was found is added to ``counts``;
    with ``mode`` "keep" nothing is looked for.
    """
    if mode == KEEP:
        return value
    if isinstance(value, str):
        if _ADDRESS.fullmatch(value):
            return value
        changed, found = redact(value)
        counts.update(found)
        return changed if mode == REDACT else value
    if isinstance(value, Mapping):
        return {name: cleaned(item, mode, counts) for name, item in value.items()}
    return [cleaned(item, mode, counts) for item in value] if isinstance(value, list | tuple) else value


def _once(text: str) -> list[Finding]:
    """Of a text in small letters, without figures: the ages in words."""
    free = bytearray(b"1" * len(text))
    return [age for rule in _rules() if rule.type == "AGE" for age in _new(_matches(rule, text), free)]


def _new(matches: Iterator[Finding], free: bytearray) -> Iterator[Finding]:
    """The matches on places that are still ``free``, which they then aren't."""
    for match in matches:
        if free.find(b"0", match.start, match.end) < 0:
            free[match.start : match.end] = b"0" * (match.end - match.start)
            yield match


def _matches(rule: _Rule, text: str) -> Iterator[Finding]:
    for match in rule.pattern.finditer(text):
        start, end = match.span("phi" if "phi" in rule.pattern.groupindex else 0)
        if rule.unless and rule.unless.search(text[max(0, match.start() - _NEAR) : match.start()]):
            continue
        if rule.unless_match and rule.unless_match.search(match[0]):
            continue
        if rule.unless_after and rule.unless_after.match(text, end):
            continue
        if rule.names:
            end = _end_of_name(rule, text, start, end)
        if end > start:
            yield Finding(rule.type, start, end)


def _end_of_name(rule: _Rule, text: str, start: int, end: int) -> int:
    """Where the name in ``text[start:end]`` ends; ``start`` where there is none."""
    names = _names()
    for word in _WORD.finditer(text, start, end):
        if word[0].lower() in names.stop or (rule.label and text[word.end() : word.end() + 1] == ":"):
            end = len(text[: word.start()].rstrip(" ,"))
            break
    words = [word[0] for word in _WORD.finditer(text, start, end)]
    if not any(len(word) > 1 for word in words) and not (words and not rule.label):
        return start
    if rule.first is not None:
        given = [word for word in words if len(word) > 1]
        if len(given) < 2 or given[-1 if rule.first == "last" else 0].lower() not in names.first:
            return start
    return start if _is_thing(text, start, end) else end


def _is_thing(text: str, start: int, end: int) -> bool:
    """Whether what looks like a name is that of a thing: a stain, a disease, a maker of microscopes."""
    names = _names()
    behind = _WORD.match(text, end + 1) if text[end : end + 1] == " " else None
    if text[end : end + 2] in ("'s", "’s"):
        behind = _WORD.match(text, end + 3)
    words = [word[0].lower() for word in _WORD.finditer(text, start, end)]
    if words and (words[-1] in names.heads or (behind is not None and behind[0].lower() in names.heads)):
        return True
    around = text[max(0, start - _NEAR) : end + _NEAR].lower()
    return any(thing in around and any(word in thing.split() for word in words) for thing in names.keep)


def _again(found: list[Finding], text: str) -> Iterator[Finding]:
    """Names that were found, where they stand by themselves in the same text."""
    parts = {
        word[0]
        for finding in found
        if finding.type == "NAME"
        for word in _WORD.finditer(text, finding.start, finding.end)
        if len(word[0]) > 2 and word[0][0].isupper()
    }
    if not parts:
        return
    either = "|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True))
    for match in re.finditer(rf"(?<![\w-])(?:{either})(?![\w-])", text):
        if not _is_thing(text, match.start(), match.end()):
            yield Finding("NAME", match.start(), match.end())


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(files("ragvlm").joinpath("data", "phi", "rules.toml").read_text(encoding="utf-8"))


@cache
def _rules() -> tuple[_Rule, ...]:
    patterns: Mapping[str, str] = _table()["patterns"]

    def compiled(pattern: str) -> re.Pattern[str]:
        while name := re.search(r"(?<!\(\?P)<(\w+)>", pattern):
            pattern = pattern.replace(name[0], patterns[name[1]])
        return re.compile(pattern)

    kinds = ("pattern", "unless", "unless_match", "unless_after")
    made: list[_Rule] = []
    for rule in _table()["rules"]:
        options: dict[str, Any] = {key: compiled(value) if key in kinds else value for key, value in rule.items()}
        made.append(_Rule(**options))
    return tuple(made)


@cache
def _names() -> _Names:
    lines = files("ragvlm").joinpath("data", "phi", "first-names.txt").read_text(encoding="utf-8").splitlines()
    first = frozenset(" ".join(line for line in lines if not line.startswith("#")).split())
    names: Mapping[str, str] = _table()["names"]
    keep = tuple(thing.strip().lower() for thing in names["keep"].split("|") if thing.strip())
    return _Names(first, frozenset(names["stop"].split()), frozenset(names["heads"].split()), keep)
