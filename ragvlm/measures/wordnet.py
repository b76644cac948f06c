"""Synonyms from WordNet's own files, where the machine has them: nltk reads no folder that lacks one of fifteen files.

Fellbaum (ed.), WordNet, MIT Press 1998. The files come with Debian's package wordnet-base (/usr/share/wordnet) or by
``nltk.download("wordnet")``; nothing is downloaded here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from ragvlm.errors import InputError

_PARTS = ("noun", "verb", "adj", "adv")
# WordNet's rules of detachment (morphy, wn(7WN)): ending of the inflected word, ending of its base
_ENDINGS = {
    "noun": (("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man")),
    "verb": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}
_NOUN_IES = ("ies", "y")


@dataclass(frozen=True, slots=True)
class Lemma:
    """One word of a synset, as nltk's METEOR asks for it."""

    word: str

    def name(self) -> str:
        """The word; parts of a compound are joined by "_"."""
        return self.word


@dataclass(frozen=True, slots=True)
class Synset:
    """Words of one meaning, as nltk's METEOR asks for them."""

    words: tuple[str, ...]

    def lemmas(self) -> list[Lemma]:
        """The words."""
        return [Lemma(word) for word in self.words]


class NoSynonyms:
    """Stands for WordNet where only equal words and stems shall match."""

    def synsets(self, word: str) -> list[Synset]:
        """None."""
        return []


class WordNet:
    """The synsets in ``folder``, which holds index.POS, data.POS and POS.exc for noun, verb, adj and adv."""

    def __init__(self, folder: Path) -> None:
        self._offsets = {part: _read_index(folder / f"index.{part}") for part in _PARTS}
        self._irregular = {part: _read_exceptions(folder / f"{part}.exc") for part in _PARTS}
        self._data = {part: (folder / f"data.{part}").read_bytes() for part in _PARTS}
        self.synsets = lru_cache(maxsize=1 << 16)(self._synsets)

    def _synsets(self, word: str) -> list[Synset]:
        """All synsets of ``word`` (lower case), or of what it is an inflection of."""
        return [
            self._synset(part, offset)
            for part in _PARTS
            for base in self._bases(part, word)
            for offset in self._offsets[part][base]
        ]

    def _bases(self, part: str, word: str) -> list[str]:
        endings = (*_ENDINGS[part], _NOUN_IES) if part == "noun" else _ENDINGS[part]
        regular = [word.removesuffix(old) + new for old, new in endings if word.endswith(old)]
        found = [word, *(self._irregular[part].get(word) or regular)]
        return list(dict.fromkeys(base for base in found if base in self._offsets[part]))

    def _synset(self, part: str, offset: int) -> Synset:
        end = self._data[part].index(b"\n", offset)
        fields = self._data[part][offset:end].decode("utf-8").split()
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        # "galore(ip)": an adjective's place in the phrase
        return Synset(tuple(word.partition("(")[0] for word in words))


@cache
def wordnet() -> WordNet:
    """The WordNet of this machine. Raises InputError where it has none, or one that can't be read."""
    folder = find_wordnet()
    if folder is None:
        raise InputError(
            "METEOR with synonyms needs WordNet's files: install Debian's wordnet-base, or set WORDNET_DICT to the "
            'folder that holds index.noun, or ask for "METEOR (exact, stem)"'
        )
    try:
        return WordNet(folder)
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{folder}: WordNet's files can't be read ({error}); install them anew") from error


def find_wordnet() -> Path | None:
    """The first folder with WordNet's files: $WORDNET_DICT, nltk's corpora, /usr/share/wordnet; None without one."""
    homes = [Path(p) for p in os.environ.get("NLTK_DATA", "").split(os.pathsep) if p] + [Path.home() / "nltk_data"]
    homes += [Path("/usr/share/nltk_data"), Path("/usr/local/share/nltk_data")]
    named = os.environ.get("WORDNET_DICT")
    places = [*([Path(named)] if named else []), *(home / "corpora/wordnet" for home in homes)]
    places.append(Path("/usr/share/wordnet"))
    return next((place for place in places if (place / "index.noun").is_file()), None)


def _read_index(path: Path) -> dict[str, tuple[int, ...]]:
    """Word -> offsets of its synsets, the most frequent first."""
    table = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith(" "):  # the licence
            fields = line.split()
            table[fields[0]] = tuple(int(offset) for offset in fields[-int(fields[2]) :])
    return table


def _read_exceptions(path: Path) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}
