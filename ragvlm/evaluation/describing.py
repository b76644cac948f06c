"""The systems of a describe suite."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ragvlm.describe import Describer
from ragvlm.errors import InputError
from ragvlm.evaluation.bench import NOTHING, Asked, Bench, System
from ragvlm.measures import measure
from ragvlm.measures.base import Item
from ragvlm.prompt import build_prompt
from ragvlm.types import MEASURED, Description, Generator
from ragvlm.writing import Writer

BASELINES = ("consensus", "nearest")
ORACLE = "ROUGE-L"
"""By this measure the oracle neighbour is the best: the same for all suites, so that oracles can be compared."""
ALONE = "zero-shot"
"""The template that a generator without retrieval is asked by."""


def describe_systems(bench: Bench, generators: Sequence[str | Generator | Describer]) -> list[System]:
    """The given generators with retrieval, then the mandatory baselines. Raises what a Describer raises.

    Names of generators are asked without abstention (alpha 0), so that all systems answer all items.
    """
    describers = {name_of(g): g if isinstance(g, Describer) else Describer(bench.index, g, bench.k, alpha=0)
                  for g in generators}  # fmt: skip
    given = list(describers)
    # a baseline says what its reference says, counts and all
    others = [name for name in BASELINES if name not in given]
    describers |= {name: Describer(bench.index, name, bench.k, alpha=0, counts=False) for name in others}
    found = []
    for name, describer in describers.items():
        role = "system" if name in given else "baseline"
        for k in bench.suite.k:
            shown = name if len(bench.suite.k) == 1 else f"{name}, k={k}"
            looks = sees(describer.generator) and reads(describer.generator) != "references"
            looks = looks or describer.counter is not None  # it counts in the picture
            found.append(System(shown, _with(describer), role, k=k, looks=looks, judges=True))
    found += [alone(describers[name].generator, name) for name in given]
    found.append(System("random caption", _random_caption(bench), "baseline", given=NOTHING, looks=False))
    note = f"the best of the {bench.k} retrieved captions by {ORACLE}: what retrieval could have given"
    found.append(System("oracle neighbour", _oracle, "baseline", k=bench.k, looks=False, note=note))
    return found


def name_of(generator: str | Generator | Describer) -> str:
    """What a system is called."""
    if isinstance(generator, str):
        return generator
    return generator.generator.name if isinstance(generator, Describer) else generator.name


def reads(generator: Generator) -> str:
    """See ``ragvlm.types.Generator``."""
    return str(getattr(generator, "reads", "prompt"))


def sees(generator: Generator) -> bool:
    """Whether pictures go into its prompts."""
    return getattr(generator, "pictures", 1) != 0


def alone(generator: Generator, name: str) -> System:
    """``generator`` without retrieval: the picture and the template alone, where it can write from that."""
    looks, why = sees(generator) and reads(generator) != "references", ""
    if reads(generator) == "references":
        why = f"not possible: {name} writes from references alone, so it answers nothing without them"
    elif not sees(generator):
        why = f"{name} sees no picture: it writes from the instruction and the question alone"

    def write(asked: Sequence[Asked]) -> list[dict[str, Any]]:
        if reads(generator) == "references":
            return [{"prediction": ""} for _ in asked]
        if sees(generator):
            template = ALONE if reads(generator) == "prompt" else "describe"
            written = Writer(generator, template).first_turn([item.found.context for item in asked])
            return [{"prediction": w.text} for w in written]
        # a Writer would refuse a template that tells such a generator nothing: here that is what is wanted
        prompts = [build_prompt(item.found.context, template=ALONE) for item in asked]
        return [{"prediction": text} for text in generator.generate(prompts)]

    return System(f"{name}, no retrieval", write, "baseline", name, NOTHING, looks=looks, note=why)


def _with(describer: Describer) -> Callable[[Sequence[Asked]], list[dict[str, Any]]]:
    return lambda asked: [_row(d) for d in describer.from_retrieved([item.found for item in asked])]


def _row(description: Description) -> dict[str, Any]:
    abstention = description.provenance["abstention"]
    return {
        "prediction": description.text,
        "abstained": description.abstained,
        "confidence": round(description.confidence, 6),
        "p_value": abstention["p_value"],
        "nonconformity": abstention["score"] if math.isfinite(abstention["score"]) else None,
        "evidence": [
            {
                "sentence": e.sentence,
                "record_ids": [i for i in e.record_ids if i != MEASURED],
                "support": round(e.support, 6),
            }
            for e in description.evidence
        ],
        "dropped_sentences": description.provenance["dropped_sentences"],
    }


def _random_caption(bench: Bench) -> Callable[[Sequence[Asked]], list[dict[str, Any]]]:
    def draw(item: Asked) -> dict[str, Any]:
        records = bench.index.records
        rows = bench.random_rows(item.case.record, "random caption")
        row = next((row for row in rows if records[row].caption), None)
        if row is None:
            raise InputError(f"index {bench.index.path} has no caption to draw for {item.case.id!r}")
        return {"prediction": records[row].caption, "record_id": records[row].id}

    return lambda asked: [draw(item) for item in asked]


def _oracle(asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """The best retrieved caption of each case, equal ones by rank; empty where none was retrieved."""
    captions = [[(h.record.caption, h.record.id) for h in a.found.context.hits if h.record.caption] for a in asked]
    items = [
        Item(a.case.id, a.case.cluster, caption, a.case.references)
        for a, own in zip(asked, captions, strict=True)
        for caption, _ in own
    ]
    scores = measure(ORACLE, "describe").statistics(items).scores if items else None
    rows, place = [], 0
    for own in captions:
        best = (
            max(range(len(own)), key=lambda i: float(scores[place + i]), default=None) if scores is not None else None
        )
        rows.append({"prediction": "" if best is None else own[best][0]} | ({} if best is None else
                    {"record_id": own[best][1]}))  # fmt: skip
        place += len(own)
    return rows
