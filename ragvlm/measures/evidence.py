"""What sentences rest on: citation recall and precision, and the rate of sentences without support.

An item's ``facts`` hold "evidence", a sequence of ``ragvlm.types.Evidence`` or of its JSON objects ("sentence",
"record_ids"), and for citations "passages", a mapping of record id to what that record says (see ``passages_of``).
"dropped_sentences" counts the sentences that the system wrote and left out for want of support.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from typing import Any, TypeAlias

import numpy as np

from ragvlm.errors import InputError
from ragvlm.evidence import DEFAULT_THRESHOLD, EvidenceChecker
from ragvlm.language.conflicts import conflict, unstated
from ragvlm.language.facts import Facts, facts_of, stem
from ragvlm.language.labels import label_sentences
from ragvlm.language.sentences import bare, language, normalise, split_sentences
from ragvlm.measures.base import Float64, Item, Statistics, refuse
from ragvlm.types import Context, Evidence, Hit, Query, Record

SHARE = 0.8
"""Of a sentence's words, how many passages must hold for the judge "words"."""
Judge: TypeAlias = Callable[[str, Sequence[str]], bool]
"""Whether passages, taken together, support a sentence."""
_TALLY = re.compile(r" \([^()]* references?\)")  # a vote's, which no single passage says


@dataclass(frozen=True, slots=True)
class Citations:
    """Citation recall or precision (``kind``) of ALCE: Gao et al. 2023, arXiv:2305.14627.

    - recall of an item: the share of its sentences that cite something, and that what they cite, taken together,
      supports;
    - precision of an item: the share of its citations that are relevant. One is where its sentence is supported by all
      that it cites, unless it does not support the sentence alone and the others do without it. 0 for sentences without
      any citation.

    The mean over items, in [0, 1], higher is better. Adapted: where ALCE asks a language model for inference (TRUE),
    ``judge`` decides, "words" or "checker" (see ``judge_of``); the passages are captions and labels; an item without a
    sentence (abstention) or without "passages", or of a system that gives no evidence, isn't defined. What ragvlm
    itself cites was chosen by the checker: ask the judge "words" there. No judge looks at the picture: a supported
    sentence may be wrong. Raises InputError naming items whose evidence or passages have another form.
    """

    kind: str
    judge: str = "words"

    task = "describe"
    higher_is_better = True

    @property
    def name(self) -> str:
        """Such as "citation recall (words)"."""
        return f"citation {self.kind} ({self.judge})"

    @property
    def source(self) -> str:
        """ragvlm's own code, and who judges."""
        how = {
            "words": f"{SHARE:.0%} of the words and no fact that passages contradict or lack",
            "checker": f"the embedded encoder's evidence checker at {DEFAULT_THRESHOLD}",
        }
        return f"ragvlm, after ALCE, supported: {how[self.judge]}"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """One score an item."""
        judge = judge_of(self.judge)
        return Statistics.of_scores([self._score(item, judge) for item in items])

    def _score(self, item: Item, judge: Judge) -> float:
        told, passages = _evidence(item), _passages(item)
        if not told or passages is None:
            return math.nan
        supported = [_relevant(sentence, [passages.get(i, "") for i in ids], judge) for sentence, ids in told]
        if self.kind == "recall":
            return sum(relevant is not None for relevant in supported) / len(told)
        citations = sum(len(ids) for _, ids in told)
        return sum(relevant or 0 for relevant in supported) / citations if citations else 0.0


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The share of all written sentences that rest on no reference, by the system's own account.

    Those without a record id, and those that the system dropped for that reason ("dropped_sentences"). In [0, 1], lower
    is better. Over the sentences of all items; not defined for an item without a sentence. Raises InputError naming
    items whose evidence has another form.
    """

    task = "describe"
    name = "unsupported sentences"
    higher_is_better = False

    @property
    def source(self) -> str:
        """ragvlm's own code, and who judges."""
        return "ragvlm, by the system's own evidence"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """Rows: unsupported and all sentences."""
        rows = np.array([self._row(item) for item in items], dtype=np.float64).reshape(-1, 2)
        return Statistics(rows, _ratio, rows[:, 0] / rows[:, 1], additive=True)

    def _row(self, item: Item) -> tuple[float, float]:
        told = _evidence(item)
        dropped = item.facts.get("dropped_sentences", 0) or 0
        if not isinstance(dropped, int) or dropped < 0:
            raise refuse([item], f"dropped_sentences is {dropped!r}: give a number of sentences")
        total = len(told) + dropped
        return (sum(not ids for _, ids in told) + dropped, total) if total else (math.nan, math.nan)


def citations(kind: str, judge: str = "words") -> Citations:
    """Citation "recall" or "precision" by ``judge``, upper or lower case. Raises InputError for an unknown judge."""
    judge_of(judge.lower())
    return Citations(kind.lower(), judge.lower())


def judge_of(name: str) -> Judge:
    """Who decides whether passages support a sentence; a tally such as "(4 of 5 references)" is left out of it.

    - "words": the passages hold SHARE of the sentence's words (singular, without "the", "of" and the like), or the
      sentence word by word; and they contradict or lack none of its numbers, sides, places, names and denials. Knows
      no synonyms.
    - "checker": ``ragvlm.evidence`` with the embedded encoder at its default threshold.

    Raises InputError for another name.
    """
    judges: dict[str, Judge] = {"words": _by_words, "checker": _by_checker}
    if name not in judges:
        raise InputError(f"unknown judge of citations {name!r}: choose one of {', '.join(judges)}")
    return judges[name]


def passages_of(records: Iterable[Record]) -> dict[str, str]:
    """What each record says, by id: its caption and its labels as sentences."""
    return {record.id: " ".join([record.caption or "", *label_sentences(record)]).strip() for record in records}


def _relevant(sentence: str, passages: Sequence[str], judge: Judge) -> int | None:
    """How many of a sentence's citations are relevant; None where they don't support it."""
    claim = _TALLY.sub("", sentence)
    if not passages or not judge(claim, passages):
        return None
    if len(passages) == 1:
        return 1
    rest = [[*passages[:i], *passages[i + 1 :]] for i in range(len(passages))]
    return sum(judge(claim, [own]) or not judge(claim, others) for own, others in zip(passages, rest, strict=True))


def _by_words(claim: str, passages: Sequence[str]) -> bool:
    told = [sentence for passage in passages for sentence in split_sentences(passage)]
    claim = bare(claim)
    if normalise(claim) in {normalise(bare(sentence)) for sentence in told}:
        return True
    facts, known = facts_of(claim), reduce(or_, map(facts_of, told), Facts())
    if unstated(facts, known) or conflict(facts, known):
        return False
    words = _words(claim)
    return bool(words) and len(words & _words(" ".join(told))) >= SHARE * len(words)


def _words(text: str) -> frozenset[str]:
    stop = language()["phrases"]["stop"]
    return frozenset(stem(word) for word in re.findall(r"\w+", text.lower()) if word not in stop)


def _by_checker(claim: str, passages: Sequence[str]) -> bool:
    record = Record(id="passages", caption="\n\n".join(passages))
    checked = _checker().check(claim, Context(Query(id="claim"), (Hit(record, 1.0, 1),)))
    return bool(checked) and all(evidence.supported for evidence in checked)


@cache
def _checker() -> EvidenceChecker:
    from ragvlm.encoders import load_encoder

    return EvidenceChecker(load_encoder())


def _ratio(rows: Float64) -> float:
    part, whole = rows.sum(axis=0)
    return float(part / whole) if whole else math.nan


def _evidence(item: Item) -> list[tuple[str, tuple[str, ...]]]:
    """Sentences with the ids that they cite."""
    told = item.facts.get("evidence", ())
    if not isinstance(told, (list, tuple)) or not all(map(_is_evidence, told)):
        raise refuse([item], 'the evidence is no list of {"sentence": ..., "record_ids": [...]}')
    rows = [(e.sentence, e.record_ids) if isinstance(e, Evidence) else (e["sentence"], e["record_ids"]) for e in told]
    return [(sentence, tuple(dict.fromkeys(ids))) for sentence, ids in rows]


def _is_evidence(value: Any) -> bool:
    if isinstance(value, Evidence):
        return True
    ids = value.get("record_ids") if isinstance(value, Mapping) else None
    told = isinstance(value, Mapping) and isinstance(value.get("sentence"), str)
    return told and isinstance(ids, (list, tuple)) and all(isinstance(i, str) for i in ids)


def _passages(item: Item) -> Mapping[str, str] | None:
    passages = item.facts.get("passages")
    if passages is None:
        return None
    if not isinstance(passages, Mapping) or not all(isinstance(text, str) for text in passages.values()):
        raise refuse([item], 'the "passages" are no mapping of a record id to what the record says')
    return passages
