"""The systems of a retrieve suite, and the TREC files of their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ragvlm.evaluation.bench import NOTHING, Asked, Bench, System
from ragvlm.measures.base import Item
from ragvlm.measures.trec import write_qrels, write_run
from ragvlm.retrieve import retrieve
from ragvlm.types import Query

MODES = ("image", "fused")


def retrieve_systems(bench: Bench, modes: Sequence[str]) -> list[System]:
    """Search in each of ``modes``, and the mandatory random order.

    By default pictures rank pictures ("image"), and also by way of captions ("fused") where the index has some. Where
    the paired caption or picture is wanted, each side ranks the other directly: no other mode would do, since a query
    would find itself. Raises what ``retrieve`` raises for a mode that the index's encoder can't serve.
    """
    rule = bench.suite.relevance
    if rule is not None and rule.by == "caption":
        return [System("search", _search(bench, None), given=NOTHING, looks=False), _random(bench)]
    captions = bench.index.text_store is not None and len(bench.index.text_store) > 0
    chosen = modes or (MODES if captions else MODES[:1])
    return [*(System(m, _search(bench, m), given=NOTHING, looks=False) for m in chosen), _random(bench)]


def write_trec(folder: Path, answers: Mapping[str, Sequence[Item]]) -> None:
    """qrels.txt, run.trec of the first system, and run.NAME.trec of the others, for trec_eval.

    Ids that can't stand there are percent-encoded.
    """
    first, *others = answers
    items = answers[first]
    write_qrels(folder / "qrels.txt", {_id(i.id): {_id(d): g for d, g in i.references.items()} for i in items})
    for name in (first, *others):
        run = {_id(i.id): [(_id(document), score) for document, score in i.prediction] for i in answers[name]}
        path = folder / ("run.trec" if name == first else f"run.{quote(name, safe='')}.trec")
        write_run(path, run, tag=quote(name, safe=""))


def _id(name: str) -> str:
    """``name`` as one visible word."""
    safe = "".join(c if c.isprintable() and not c.isspace() and c != "%" else quote(c, safe="") for c in name)
    return "%23" + safe[1:] if safe.startswith("#") else safe


def _search(bench: Bench, mode: str | None) -> Callable[[Sequence[Asked]], list[dict[str, Any]]]:
    def one(item: Asked) -> dict[str, Any]:
        case = item.case
        picture = case.pictured
        way = mode or ("text" if picture else "image")
        options = replace(bench.options(case.record), mode=way, with_text=False)
        query = Query(case.id, bench.image(case.record) if picture else None, case.words, case.record.subject_id)
        hits = retrieve(bench.index, [query], bench.k, options)[0].context.hits
        return {"prediction": [[hit.record.id, round(hit.score, 6)] for hit in hits]}

    return lambda asked: [one(item) for item in asked]


def _random(bench: Bench) -> System:
    def one(item: Asked) -> dict[str, Any]:
        rows = islice(bench.random_rows(item.case.record, item.case.id), bench.k)
        return {"prediction": [[bench.index.records[row].id, float(-n)] for n, row in enumerate(rows)]}

    return System("random", lambda asked: [one(item) for item in asked], "baseline", given=NOTHING, looks=False)
