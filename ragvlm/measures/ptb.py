"""Penn Treebank tokens as captioning scores are computed on: lower case, without punctuation.

The COCO captioning scores (Chen et al. 2015, arXiv:1504.00325) are computed on the output of Stanford's PTBTokenizer
3.4.1 (Java), lower-cased and freed of a list of punctuation marks. These rules were written from its output, not from
its code; the documentation says how often both agree. As there, round brackets stay, as the tokens "-lrb-" and "-rrb-":
the list names them in upper case.
"""

from __future__ import annotations

import re
from functools import lru_cache

_LETTER = r"[^\W\d_²³¹⁰-₟¼-¾⅐-⅟]"
_ALNUM = rf"(?:{_LETTER}|\d)"
_WORD = rf"(?:[dDoOlL]'(?={_LETTER}))?{_ALNUM}+(?:_{_ALNUM}+)*"

_TITLES = """mr mrs ms dr prof drs messrs st gen col maj capt lt sgt rep reps sen sens gov pres hon rev supt insp mt ft
    ave dept vs cf cie invt elec natl adm lieut det pvt atty asst mme mlle alex wm jos mfg cmdr cpl pfc brig comdr ens
    msgr assoc ste treas sr jr blvd rd univ assn bros corp inc ltd co cos plc pty est al etc jan feb mar apr jun jul
    aug sep sept oct nov dec mon tue tues wed thu thurs fri mo calif fla va ind minn wis ariz ala colo conn ga kan ky
    md mich mont neb nev okla tenn vt wyo bhd bldg intl seq tel ext penn dak esq sq ct Mass Tex Wash Pa Ill Ark Del La
    Miss Ore"""
_STARTERS = """A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More Now
    Once One Other Our She Since So Some Such That The Their Then There These They This We When While What Yet
    You"""
_BEFORE_NUMBERS = "no nos pp fig figs art ca op"


def _either(words: str) -> str:
    """One of ``words``, in either case where it is written small here."""
    return "|".join(word if word[0].isupper() else f"(?i:{word})" for word in words.split())


# Of all that match at a place the longest counts, as in the scanner that they imitate.
_RULES = [
    re.compile(rule)
    for rule in (
        rf"{_WORD}(?:-{_WORD})*",
        rf"(?:\d+(?:[.,]\d+)*)(?:-{_ALNUM}+)*",
        rf"{_LETTER}+\d+(?:\.\d+)+(?:-{_ALNUM}+)+",
        r"\d+(?:\.\d+)*\.x(?!\w)",
        r"[-+]?(?:\d+(?:[.:,]\d+)*|(?:[.:,]\d+)+)",
        r"\d{1,2}[-/]\d{1,2}[-/]\d{2,4}",
        r"(?:\d{1,4}-)?\d{1,4}/\d{1,4}",
        r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2}",
        r"[A-Z]+(?:[+&][A-Z]+)+",
        rf"{_LETTER}{_ALNUM}*(?:\.{_LETTER}{_ALNUM}*)+",
        r"(?:[A-Za-z]\.){2,}(?:-[A-Za-z]+)?",
        r"[Pp][Hh]\.[Dd]\.",
        # "stage A." ends a sentence where the text or another sentence's first word says so, else "C. elegans" does not
        rf"[A-Za-z]\.(?!\s*$|\s+(?:{'|'.join(_STARTERS.split())})$)",
        rf"(?:{_either(_TITLES)})\.",
        rf"(?:{_either(_BEFORE_NUMBERS)})\.(?=\s*\d)",
        rf"{_LETTER}+\.(?=,)",
        r"(?:https?://|www\.)[^\s<>\"|(){}]+[^\s<>\"|(){}.,;:!?'-]",
        r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)*",
        r"</?[A-Za-z][^<>\s]*>|[@#][A-Za-z]\w*",
        r"(?i:'(?:s|m|d|re|ve|ll|cause|em|n'|\d0s)|n't)(?!\w)",
        r"\.\.\.|[!?]+|-+|__+|\*\*+|<<+|>>+|US\$|[Cc]\+\+",
    )
]
_JOINED = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "lemme": ("lem", "me"),
    "gimme": ("gim", "me"),
}
_DROPPED = frozenset({"''", "'", "``", "`", '"', ".", "?", "!", ",", ":", "-", "--", "---", "----", "...", ";"})
_NAMED = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-", "½": "1/2", "¼": "1/4"}
_NAMED |= {"¾": "3/4", "€": "$", "£": "#"}
_PLAIN = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "--", "—": "--", "…": " ... ", "\u00ad": "", "\ufffd": " "}
)
_CONTEXT = 8  # of a word this long at most, the full stop may belong to it or not, as what follows says


@lru_cache(maxsize=1 << 15)
def ptb_tokens(text: str) -> tuple[str, ...]:
    """The tokens of ``text``, lower case, without punctuation."""
    words = text.translate(_PLAIN).split()
    found: list[str] = []
    for word, after in zip(words, [*words[1:], ""], strict=False):
        found += _tokens(word, after if word.endswith(".") and len(word) < _CONTEXT else "")
    return tuple(found)


@lru_cache(maxsize=1 << 16)
def _tokens(word: str, after: str) -> tuple[str, ...]:
    """The tokens of ``word``, which is without white space; ``after`` is the next, where that matters."""
    text = f"{word} {after}"
    found: list[str] = []
    at = 0
    while at < len(word):
        token = _longest(text, at)
        at += len(token)
        token = _NAMED.get(token, token.lower())
        found += _JOINED.get(token, (token,))
    return tuple(part for part in found if part not in _DROPPED and part[0] <= "\uffff")


def _longest(text: str, at: int) -> str:
    """The token that starts at ``text[at]``."""
    matches = [match.group() for rule in _RULES if (match := rule.match(text, at))]
    token = max(matches, key=len, default=text[at])
    # "aren't": the n goes with what follows
    splits = token[-1] in "nN" and len(token) > 1 and text[at + len(token) : at + len(token) + 2].lower() == "'t"
    return token[:-1] if splits else token
