"""Sentences of a caption: a small rule-based splitter that knows scientific abbreviations.

By hand, since the light library for it (pysbd) has had no release since 2021, and the kept ones download models.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

_END = re.compile(r"(?:[.!?]+[\"'”’)\]]*(?=\s)|[。！？]+[」』”’)\]]*)\s*")
_PARAGRAPH = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*•]|\d{1,2}[.)])\s)")
_WORD = re.compile(r"[^\W_]{2,}")


@cache
def language() -> dict[str, Any]:
    """The tables of ``data/language.toml``."""
    return tomllib.loads(files("ragvlm").joinpath("data/language.toml").read_text(encoding="utf-8"))


def split_sentences(text: str) -> list[str]:
    """The sentences of ``text``, stripped, each on one line; nothing but white space is lost or added.

    A full stop inside "e.g.", "Fig. 2", "0.5 um", "et al. 2015" or "C. elegans" ends nothing. Blank lines and
    bullets end a sentence too.
    """
    found = []
    for paragraph in _PARAGRAPH.split(text):
        start = 0
        for match in _END.finditer(paragraph):
            if _ends(paragraph[start : match.start()], match.group().strip(), paragraph[match.end() :]):
                found.append(paragraph[start : match.end()])
                start = match.end()
        found.append(paragraph[start:])
    return [" ".join(part.split()) for part in found if part.strip()]


def _ends(before: str, mark: str, after: str) -> bool:
    """Whether ``mark`` ends the sentence ``before`` when ``after`` follows."""
    if not _WORD.search(before):
        return False  # "1." or "J." alone is no sentence
    if not mark.startswith(".") or mark.startswith(".."):
        return True
    last = before.rsplit(maxsplit=1)[-1].lstrip("(\"'“‘[")
    if (verdict := _after_abbreviation(last, after)) is not None:
        return verdict
    return not after[:1].islower() or before.lstrip()[:1].islower() or _is_name(after)


def _after_abbreviation(last: str, after: str) -> bool | None:
    """Whether the full stop behind the abbreviation ``last`` ends the sentence; None where it is none."""
    rules, word = language()["sentences"], last.lower()
    if word in rules["abbreviations"]:
        return False
    if word in rules["numbered"]:
        return not after[:1].isdigit()
    if word in rules["perhaps"]:
        return after[:1].isupper()
    if len(last) == 1 and last.isalpha():
        return after[:1].isupper() and not re.match(r"\w\.", after)
    return None


def _is_name(after: str) -> bool:
    """Whether ``after`` starts with a name such as pH, mRNA or p53, which a small letter may open."""
    word = re.match(r"\w*", after)
    return bool(word and re.search(r"[A-Z\d]", word.group()))


def normalise(sentence: str) -> str:
    """``sentence`` for comparison: lower case, single spaces, without the mark at its end."""
    return " ".join(sentence.split()).casefold().rstrip(" .!?。！？")


def bare(sentence: str) -> str:
    """``sentence`` without an opening such as "The image shows", in which a caption and its rewording often differ."""
    told = re.sub(rf"^{language()['sentences']['lead_in']}", "", sentence, flags=re.IGNORECASE)
    return told[:1].upper() + told[1:] if told and told != sentence else sentence
