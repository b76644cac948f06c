"""Foreign queries: pictures that a system should refuse, asked of the same index beside the suite's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError
from ragvlm.evaluation import folder as files
from ragvlm.evaluation.bench import Bench, System
from ragvlm.evaluation.cases import Case
from ragvlm.evaluation.controls import pairs_of
from ragvlm.evaluation.journal import Journal
from ragvlm.evaluation.predicting import Progress, predict
from ragvlm.evaluation.split import drawn, is_held_out, subject_of
from ragvlm.evaluation.suite import Suite
from ragvlm.evaluation.tables import Answers, Draw, tabulate
from ragvlm.measures import Item, measure

ALPHA = 0.05
"""The default level of ``ragvlm describe``, at which the share of refused queries is given."""
OF_RETRIEVAL = (
    "AUROC in-corpus (nonconformity)",
    "AUROC in-corpus (p_value)",
    f"refused in-corpus (p_value < {ALPHA:g})",
    f"refused foreign (p_value < {ALPHA:g})",
)
"""What retrieval alone decides: the same for all systems on one index."""
OF_SYSTEM = ("AUROC in-corpus (confidence)", "AURC with foreign (ROUGE-L by confidence)")
OF_BOTH = ("AURC with foreign (ROUGE-L by nonconformity)",)


def foreign_cases(suite: Suite, corpus: Corpus) -> tuple[Case, ...]:
    """The cases of ``suite.foreign`` among ``corpus``; nothing is right of them.

    Raises InputError naming the suite where there is none.
    """
    foreign = suite.foreign
    if foreign is None:
        return ()
    held = foreign.source is None
    records = [r for r in corpus if r.image is not None and (not held or is_held_out(foreign, r))]
    if not records:
        what = f"{foreign.column} of {', '.join(foreign.values)}" if held else "a picture"
        raise InputError(f"{suite.file}: foreign: no record has {what}")
    chosen = drawn(records, foreign.limit, suite.split.seed)
    numbers = {name: n for n, name in enumerate(dict.fromkeys(map(subject_of, chosen)), 1)}
    clusters = [f"f{numbers[subject_of(record)]:05d}" for record in chosen]
    if not held:
        # ids and subjects of another corpus may be written like those of the index, and are others
        chosen = [replace(record, id=f"foreign/{record.id}", subject_id=None) for record in chosen]
    return tuple(
        Case(record.id, record, cluster, (), facts={"in_corpus": False})
        for record, cluster in zip(chosen, clusters, strict=True)
    )


def asked(systems: Sequence[System]) -> list[System]:
    """Those of ``systems`` that say how near a query is to the corpus, controls left out."""
    return [system for system in systems if system.judges and system.role != "control"]


def ask(bench: Bench, systems: Sequence[System], out: Path, progress: Progress) -> None:
    """Fill foreign.jsonl with what the systems say of the foreign queries, from where it ends."""
    names = {"neighbours": files.FOREIGN_NEIGHBOURS, "predictions": files.FOREIGN}
    predict(bench, asked(systems), out, progress, **names)


def figures(answers: Answers, bench: Bench, systems: Sequence[System], out: Path, draw: Draw) -> dict[str, Any]:
    """What metrics.json holds of the foreign queries: of each system its figures, and paired differences.

    ``answers`` are those to the suite's own queries, ``bench`` holds the foreign ones.
    """
    found = files.read_json(out / files.LEAKAGE).get("foreign", {})
    names = [system.name for system in asked(systems)]
    plan = [[(name, case.id) for case in bench.cases] for name in names]
    rows = iter(Journal(out / files.FOREIGN, ("system", "id"), plan).rows)
    both = {name: [*map(_known, answers[name]), *(_item(case, next(rows)) for case in bench.cases)] for name in names}
    chosen = [measure(name, "describe") for name in (*OF_RETRIEVAL, *OF_BOTH)]
    table, _ = tabulate(both, chosen, (), draw)
    pairs = [pair for pair in pairs_of(systems) if pair.a in both and pair.b in both]
    own, _ = tabulate(both, [measure(name, "describe") for name in OF_SYSTEM], pairs, draw)
    return {
        "n": len(bench.cases),
        "excluded": len(found.get("excluded", [])),
        "systems": {name: table["systems"][name] | own["systems"][name] for name in both},
        "differences": own["differences"],
    }


def _known(item: Item) -> Item:
    return replace(item, facts={**item.facts, "in_corpus": True})


def _item(case: Case, row: Mapping[str, Any]) -> Item:
    return case.item(row["prediction"], **{name: row[name] for name in ("confidence", "p_value", "nonconformity")})
