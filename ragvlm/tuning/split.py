"""Training, validation and test part of a corpus, no subject in two; corpora that nothing can be learnt from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError
from ragvlm.evaluation.split import label_of, shuffled, subject_of, value_of
from ragvlm.readers.questions import questions_of
from ragvlm.types import Record

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts, each in the order of the corpus; ``test`` may be empty."""

    train: tuple[Record, ...] = field(repr=False)
    validation: tuple[Record, ...] = field(repr=False)
    test: tuple[Record, ...] = field(repr=False)

    def facts(self) -> dict[str, dict[str, int]]:
        """Records and subjects of each part."""
        parts = {name: getattr(self, name) for name in PARTS}
        return {
            name: {"records": len(records), "subjects": len({subject_of(r) for r in records})}
            for name, records in parts.items()
        }


def split_by_subject(
    records: Iterable[Record], *, name: str, validation: float = 0.1, test: float = 0.1, seed: int = 0
) -> Split:
    """``validation`` and ``test`` are shares of the subjects, at least one each; a test share of 0 takes none.

    A record without a subject is one of its own. The same for the same records and seed, in whatever order they come;
    more subjects move few of the others. Raises InputError, naming the corpus ``name``, for shares that leave nothing
    to learn from and where there are fewer subjects than parts.
    """
    if not 0 < validation < 1 or not 0 <= test < 1 or validation + test >= 1:
        raise InputError(f"validation {validation:g} and test {test:g} are shares: give some that sum to less than 1")
    records = list(records)
    subjects = shuffled({subject_of(record) for record in records}, seed)
    parts = 3 if test else 2
    if len(subjects) < parts:
        raise InputError(
            f"{name}: {len(subjects)} {'subject' if len(subjects) == 1 else 'subjects'} can't be split into {parts} "
            f"parts: give records of more subjects{', or --test 0' if len(subjects) == 2 else ''}"
        )
    tested = max(round(test * len(subjects)), 1) if test else 0
    checked = min(max(round(validation * len(subjects)), 1), len(subjects) - tested - 1)
    part = {s: PARTS[2 if i < tested else 1 if i < tested + checked else 0] for i, s in enumerate(subjects)}
    return Split(*(tuple(r for r in records if part[subject_of(r)] == which) for which in PARTS))


def captioned(corpus: Corpus) -> list[Record]:
    """The records with a picture and a caption. Raises InputError where there is none."""
    return _those(corpus, lambda record: bool(record.caption and record.caption.strip()), "a caption")


def questioned(corpus: Corpus) -> list[Record]:
    """The records with a picture and questions (see ``questions_of``). Raises InputError where there is none."""
    return _those(corpus, lambda record: bool(questions_of(record)), "questions")


def labelled(corpus: Corpus, column: str) -> list[Record]:
    """The records with a picture and a value in ``column``, a label or another one.

    Raises InputError where no record has one, and where all have the same.
    """
    records = _those(corpus, lambda record: value_of(record, column) is not None, f"a value of {column!r}")
    classes = {label_of(value_of(record, column)) for record in records}
    if len(classes) < 2:
        raise InputError(f"{corpus.name}: {column!r} is {classes.pop()!r} in all records: nothing is to be told apart")
    return records


class Named(Protocol):
    """A corpus, or what is known of it."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...


def corpus_facts(corpus: Named, records: Sequence[Record], split: Split) -> dict[str, Any]:
    """What a model card says of the data: no text of any record."""
    return {
        "name": corpus.name,
        "fingerprint": corpus.fingerprint,
        "records": len(records),
        "licences": sorted({record.licence for record in records if record.licence}),
        "sources": sorted({record.source for record in records if record.source}),
        "split": split.facts(),
    }


def _those(corpus: Corpus, usable: Callable[[Record], bool], what: str) -> list[Record]:
    found = [record for record in corpus if record.image is not None and usable(record)]
    if not found:
        raise InputError(f"{corpus.name}: no record has a picture and {what}: give another corpus, or look at --column")
    return found
