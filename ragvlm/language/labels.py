"""Labels as sentences: the wording of one record's labels, and the vote of several references over them.

One wording for both, so that each sentence of a vote is verbatim a sentence of the references that won it.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ragvlm.language.numbers import spell
from ragvlm.language.sentences import split_sentences
from ragvlm.types import Context, Hit, Label, Record


@cache
def _wording() -> dict[str, Any]:
    path = files("ragvlm").joinpath("data/templates/labels.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Vote:
    """What the references say about one label: ``agree`` of ``total`` carriers have exactly ``value``.

    ``low`` and ``high`` bound the carriers' values where they are numbers, else they are None.
    """

    name: str
    value: Label
    agree: int
    total: int
    low: float | None = None
    high: float | None = None

    @property
    def sentence(self) -> str:
        """The bare sentence, as each agreeing reference says it."""
        return label_sentence(self.name, self.value)

    @property
    def tallied(self) -> str:
        """The sentence with its vote: "The stain is DAPI (4 of 5 references)."."""
        noun = "reference" if self.total == 1 else "references"
        if self.low is None or self.high is None or self.low == self.high:
            tally = f"{self.agree} of {self.total} {noun}"
        else:
            tally = f"{self.low:.6g} to {self.high:.6g} in {self.total} {noun}"
        return f"{self.sentence.removesuffix('.')} ({tally})."


_TALLY = re.compile(r" \((?:\S+ of|\S+ to \S+ in) \d+ references?\)")


def without_tallies(text: str) -> str:
    """``text`` without the votes that ``Vote.tallied`` adds: how many references agree is no count in the picture."""
    return _TALLY.sub("", text)


def labels_of(record: Record) -> dict[str, Label]:
    """The labels that can be put in words: ``modality`` first, empty texts and NaN left out."""
    named = {"modality": record.modality} if record.modality else {}
    return {name: value for name, value in (named | dict(record.labels)).items() if _sayable(value)}


def _sayable(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))


def label_words(name: str) -> str:
    """A label's name as words: "red_cells" -> "red cells", "wbc" -> "white blood cells"."""
    words = " ".join(name.replace("_", " ").split())
    return str(_wording()["names"].get(words.lower(), words))


def label_sentence(name: str, value: Label) -> str:
    """One label as a sentence: ``("stain", "DAPI")`` -> "The stain is DAPI."; numbers to six digits."""
    words = label_words(name)
    if isinstance(value, bool):
        return f"{words[:1].upper()}{words[1:]}: {'yes' if value else 'no'}."
    if isinstance(value, int) and value >= 0 and (counted := _count(words, value)):
        return counted
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    phrase = _wording()["phrases"].get(name)
    return (
        str(phrase).replace("{value}", _plain(text)) if phrase else f"{words[:1].upper()}{words[1:]}: {_plain(text)}."
    )


def _plain(text: str) -> str:
    """``text`` on one line and without a full stop, so that a label stays one sentence."""
    if re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", text):
        text = text.replace("_", " ")
    return "; ".join(part.rstrip(" .!?。！？") for part in split_sentences(text))


def counted(noun: str) -> str:
    """A counted thing in the plural, as a label of its count is called: "red blood cell" -> "red blood cells"."""
    head, _, last = noun.rpartition(" ")
    many = next((many for many, one in _wording()["counts"]["nouns"].items() if one == last), last)
    return f"{head} {many}".strip()


def _count(words: str, value: int) -> str | None:
    wording = _wording()["counts"]
    last = words.rpartition(" ")[2].lower()
    if last not in wording["nouns"]:
        return None
    form = "zero" if value == 0 else "one" if value == 1 else "more"
    single = words[: len(words) - len(last)] + wording["nouns"][last]
    text = str(wording[form]).replace("{many}", words.lower()).replace("{one}", single.lower())
    return text.replace("{value}", spell(value))


def label_sentences(record: Record) -> list[str]:
    """The labels of ``record`` as sentences, in the order of a vote."""
    labels = labels_of(record)
    return [label_sentence(name, labels[name]) for name in _in_order(list(labels))]


def _in_order(names: Sequence[str]) -> list[str]:
    order = [name for name in _wording()["order"] if name in names]
    return order + [name for name in dict.fromkeys(names) if name not in order]


def votes(context: Context) -> list[Vote]:
    """One vote a label over the hits that carry it, each weighted by max(score, 0).

    Texts and booleans: the weighted mode. Numbers: the weighted lower median, a value that some reference has.
    Equal weights go to the better rank; where no hit has a positive score, all weigh the same.
    """
    carried = [(hit, labels_of(hit.record)) for hit in context.hits]
    names = _in_order([name for _, labels in carried for name in labels])
    return [_vote(name, [(hit, labels[name]) for hit, labels in carried if name in labels]) for name in names]


def _vote(name: str, ballots: Sequence[tuple[Hit, Label]]) -> Vote:
    weights = [max(hit.score, 0.0) for hit, _ in ballots]
    if not any(weights):
        weights = [1.0] * len(ballots)
    values = [value for _, value in ballots]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        winner: Label = _lower_median(numbers, weights)
        agree = sum(value == winner for value in numbers)
        return Vote(name, winner, agree, len(values), float(min(numbers)), float(max(numbers)))
    sentences = [label_sentence(name, value) for value in values]
    totals: dict[str, float] = {}
    for sentence, weight in zip(sentences, weights, strict=True):
        totals[sentence] = totals.get(sentence, 0.0) + weight
    best = max(totals, key=lambda sentence: round(totals[sentence], 12))
    return Vote(name, values[sentences.index(best)], sentences.count(best), len(values))


def _lower_median(values: Sequence[int | float], weights: Sequence[float]) -> int | float:
    """The smallest value at which the weights up to it reach half of their sum."""
    half, reached = sum(weights) / 2, 0.0
    ranked = sorted(zip(values, weights, strict=True))
    for value, weight in ranked:
        reached += weight
        if reached >= half - 1e-12:
            return value
    return ranked[-1][0]
