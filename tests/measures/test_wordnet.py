"""Synonyms from files in WordNet's format, written here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from coco import items

from ragvlm.errors import InputError
from ragvlm.measures import measure, statistics
from ragvlm.measures import wordnet as module
from ragvlm.measures.wordnet import WordNet

LICENCE = "  1 This is where the licence stands.\n"
DATA = {
    "noun": ["03 n 02 picture 0 image 0 000 | what is seen", "03 n 02 scratch 0 wound 0 000 | a cut"],
    "verb": ["30 v 02 show 0 display 1 000 | let see"],
    "adj": ["00 a 02 crowded 0 packed(a) 0 000 | with little space"],
    "adv": [],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A WordNet of four synsets, which the process finds; nothing else is found."""
    for part, rows in DATA.items():
        offset, data, index = len(LICENCE), LICENCE, LICENCE
        for row in rows:
            line = f"{offset:08} {row}\n"
            words = [word.partition("(")[0] for word in row.split()[3 : 3 + 4 : 2]]
            index += "".join(f"{word} {part[0]} 1 0 1 0 {offset:08}  \n" for word in words)
            data, offset = data + line, offset + len(line)
        (tmp_path / f"data.{part}").write_text(data, encoding="utf-8")
        (tmp_path / f"index.{part}").write_text(index, encoding="utf-8")
        (tmp_path / f"{part}.exc").write_text("shewn show\n" if part == "verb" else "", encoding="utf-8")
    monkeypatch.setenv("WORDNET_DICT", str(tmp_path))
    module.wordnet.cache_clear()
    yield tmp_path
    module.wordnet.cache_clear()


def words(net: WordNet, word: str) -> set[str]:
    return {lemma.name() for synset in net.synsets(word) for lemma in synset.lemmas()}


def test_synonyms_of_words_and_of_their_inflections(folder: Path) -> None:
    net = WordNet(folder)
    assert words(net, "picture") == words(net, "images") == {"picture", "image"}
    assert words(net, "showing") == words(net, "shewn") == {"show", "display"}
    assert words(net, "crowded") == {"crowded", "packed"}
    assert words(net, "nucleus") == set()


def test_meteor_with_synonyms(folder: Path) -> None:
    pair = items(("wound", "scratch"))
    assert statistics(measure("METEOR (exact, stem)"), pair).value == 0
    # one word matched: 1 - 0.5 (1 / 1) ** 3
    assert statistics(measure("METEOR (exact, stem, synonym)"), pair).value == 0.5
    # nltk looks up "pictur" and "imag"
    assert statistics(measure("METEOR (exact, stem, synonym)"), items(("picture", "image"))).value == 0
    assert str(folder) in measure("METEOR (exact, stem, synonym)").source


def test_without_wordnet_meteor_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_wordnet", lambda: None)
    module.wordnet.cache_clear()
    with pytest.raises(InputError, match="wordnet-base"):
        statistics(measure("METEOR (exact, stem, synonym)"), items(("picture", "image")))


def test_damaged_files_are_one_error(folder: Path) -> None:
    (folder / "index.noun").write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(InputError, match="install them anew"):
        statistics(measure("METEOR (exact, stem, synonym)"), items(("picture", "image")))
