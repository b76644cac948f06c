"""A suite: one question about one corpus, as a TOML file (``docs/suites.md`` shows all keys)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ragvlm.errors import InputError
from ragvlm.evaluation.sources import Foreign, Source, foreign_of, source_of
from ragvlm.evaluation.tomltable import TomlTable
from ragvlm.measures import measure

TASKS = ("describe", "retrieve", "classify", "vqa", "ground")
SPLITS = ("subject", "official", "leave-one-out")
RELEVANCE = ("labels", "caption", "qrels")
DIRECTIONS = ("image->text", "text->image")
BASELINES: Mapping[str, tuple[str, ...]] = {
    "describe": ("no retrieval", "nearest", "consensus", "random caption", "oracle neighbour"),
    "vqa": ("no retrieval", "majority answer", "nearest answer"),
    "classify": ("majority label", "nearest labels"),
    "retrieve": ("random",),
    "ground": ("nearest boxes",),
}
"""What every run of a task answers too, on the same items; a suite can't leave one out."""
CONTROLS = ("blank picture", "shuffled picture", "random neighbours", "other neighbours")
"""What ``--controls`` repeats descriptions and answers with; "other neighbours" are those of another query."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Split:
    """Which records are asked about and which are indexed.

    by "subject": the share ``fraction`` of the subjects is asked about. by "official": ``column`` (of the question,
    else of the record) is one of ``queries``, resp. of ``index`` (empty: any other). by "leave-one-out": all are both.
    ``own_subject``: "hide" leaves references of a query's own subject out of what is retrieved for it, "keep" doesn't.
    """

    by: str = "subject"
    fraction: float = 0.25
    column: str = "split"
    queries: tuple[str, ...] = ()
    index: tuple[str, ...] = ()
    own_subject: str = "hide"
    seed: int = 0
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Relevance:
    """What is relevant to a query: references equal in all ``labels``; the paired caption, resp. picture, in each of
    ``directions``, among those of all queries; or what the TREC file ``qrels`` says."""

    by: str
    labels: tuple[str, ...] = ()
    directions: tuple[str, ...] = ()
    qrels: Path | None = None


@dataclass(frozen=True, slots=True)
class Literature:
    """A published figure, to stand beside ours: never computed here, never mixed with what is. ``value`` is a fraction
    where the metric is one (0.55 for 55 %); ``source`` says where it was read."""

    system: str
    metric: str
    value: float
    split: str
    source: str
    doi: str | None = None
    url: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """A parsed suite. ``measures`` is empty where the task's defaults are meant; ``k`` are numbers of neighbours, resp.
    depths of a ranking; ``label`` is the column of the right label, ``label_set`` the set of ``ragvlm.labelsets``
    with its names and ``classes`` all labels in their order, where they are grades (classify); ``group`` is the column
    that results are told apart by; ``foreign`` are queries that the corpus knows nothing of (describe)."""

    file: Path
    name: str
    task: str
    title: str
    source: str
    licence: str
    corpus: Source
    split: Split
    doi: str | None = None
    measures: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    k: tuple[int, ...] = (5,)
    seed: int = 0
    relevance: Relevance | None = None
    foreign: Foreign | None = None
    label: str | None = None
    label_set: str | None = None
    classes: tuple[str, ...] = ()
    group: str | None = None
    literature: tuple[Literature, ...] = ()


def load_suite(path: str | Path) -> Suite:
    """The suite in the TOML file ``path``.

    Raises InputError on one line, naming the file and the key, for a file that can't be read, a key that is missing,
    unknown or of another type, and for values that don't go together.
    """
    file = Path(path).expanduser()
    table = TomlTable.read(file)
    task = table.choice("task", TASKS)
    suite = Suite(
        file=file,
        name=_name(table),
        task=task,
        title=table.text("title"),
        source=table.text("source"),
        licence=table.text("licence"),
        doi=table.maybe("doi"),
        corpus=source_of(table.table("corpus")),
        split=_split(table.table("split")),
        measures=_measures(table, task),
        systems=table.texts("systems", ()),
        baselines=_baselines(table, task),
        controls=table.choices("controls", CONTROLS, CONTROLS if task in ("describe", "vqa") else ()),
        k=table.wholes("k", (10,) if task == "retrieve" else (5,)),
        seed=table.whole("seed", 0),
        relevance=_relevance(table.table("relevance"), file) if task == "retrieve" else None,
        foreign=foreign_of(table.table("foreign")) if task == "describe" and "foreign" in table else None,
        label=table.text("label", "label") if task == "classify" else None,
        label_set=table.maybe("label_set") if task == "classify" else None,
        classes=table.texts("classes", ()) if task == "classify" else (),
        group=table.text("group", "answer_type") if task == "vqa" else table.maybe("group"),
        literature=tuple(_literature(row) for row in table.tables("literature")),
    )
    table.done()
    return suite


def _name(table: TomlTable) -> str:
    name = table.text("name")
    if not _NAME.fullmatch(name):
        raise table.wrong("name", f"is {name!r}; use letters, digits, '.', '_' and '-', since folders are named by it")
    return name


def _split(table: TomlTable) -> Split:
    common = Split(
        by=table.choice("by", SPLITS),
        own_subject=table.choice("own_subject", ("hide", "keep"), "hide"),
        seed=table.whole("seed", 0),
        limit=table.whole("limit", least=1) if "limit" in table else None,
    )
    make = {"subject": _share, "official": _official, "leave-one-out": _leave_one_out}[common.by]
    split = make(table, common)
    table.done()
    return split


def _share(table: TomlTable, split: Split) -> Split:
    fraction = table.number("queries", split.fraction)
    if not 0 < fraction < 1:
        raise table.wrong("queries", f"is {fraction:g}; give the share of the subjects, between 0 and 1")
    return replace(split, fraction=fraction)


def _official(table: TomlTable, split: Split) -> Split:
    queries, index = _some(table, "queries"), table.texts("index", ())
    if both := sorted(set(queries) & set(index)):
        raise table.wrong("index", f"names {both[0]!r}, which is asked about; nothing may be on both sides")
    return replace(split, column=table.text("column", split.column), queries=queries, index=index)


def _leave_one_out(table: TomlTable, split: Split) -> Split:
    if split.own_subject != "hide":
        raise table.wrong("own_subject", "is 'keep'; leave-one-out always hides the query's own subject")
    return split


def _some(table: TomlTable, key: str) -> tuple[str, ...]:
    words = table.texts(key)
    if not words:
        raise table.wrong(key, "is empty; name at least one")
    return words


def _relevance(table: TomlTable, file: Path) -> Relevance:
    by = table.choice("by", RELEVANCE)
    if by == "labels":
        found = Relevance(by, labels=_some(table, "labels"))
    elif by == "caption":
        directions = table.choices("directions", DIRECTIONS, DIRECTIONS)
        if not directions:
            raise table.wrong("directions", f"is empty; choose of {', '.join(DIRECTIONS)}")
        found = Relevance(by, directions=directions)
    else:
        found = Relevance(by, qrels=file.parent / table.text("qrels"))
    table.done()
    return found


def _measures(table: TomlTable, task: str) -> tuple[str, ...]:
    names = table.texts("measures", ())
    for name in names:
        try:
            measure(name, task)
        except InputError as error:
            raise table.wrong("measures", str(error)) from error
    return names


def _baselines(table: TomlTable, task: str) -> tuple[str, ...]:
    mandatory = BASELINES[task]
    names = table.choices("baselines", mandatory, mandatory)
    if absent := [name for name in mandatory if name not in names]:
        raise table.wrong("baselines", f"leaves out {', '.join(absent)}; a figure means nothing without them")
    return names


def _literature(table: TomlTable) -> Literature:
    row = Literature(
        system=table.text("system"),
        metric=table.text("metric"),
        value=table.number("value"),
        split=table.text("split"),
        source=table.text("source"),
        doi=table.maybe("doi"),
        url=table.maybe("url"),
        note=table.maybe("note"),
    )
    table.done()
    return row
