"""Which written template a generator does best with, on a validation part; how sure that is, on a test part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError
from ragvlm.evaluation.folder import machine, write_json
from ragvlm.evaluation.split import drawn, subject_of
from ragvlm.generators import load_generator
from ragvlm.images import open_image
from ragvlm.index import Index
from ragvlm.measures import Item, measure
from ragvlm.statistics import paired, statistics_of_two
from ragvlm.templates import load_template, template_source
from ragvlm.tuning.card import LIMITS, render
from ragvlm.tuning.fit import Progress
from ragvlm.tuning.folder import Tuned, Work, training
from ragvlm.tuning.vlm_data import VlmData, generator_name
from ragvlm.tuning.vlm_items import Example, examples_of
from ragvlm.types import Context, Generator, Hit, Query, Record
from ragvlm.writing import Writer

BEST = "template.jinja"
_AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class _Search:
    """What all templates are asked."""

    generator: Generator
    data: VlmData
    near: Mapping[str, Sequence[Record]]
    work: Work

    def items(self, template: str, part: str, examples: Sequence[Example], update: Callable[[int], None]) -> list[Item]:
        """What is written by ``template`` for ``examples``; kept, so that it is asked once."""
        key = hashlib.sha256(template_source(template).encode()).hexdigest()[:16]
        kept = self.work.place / f"{part}-{key}.json"
        texts = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else []
        writer = Writer(self.generator, template)
        for start in range(len(texts), len(examples), _AT_A_TIME):
            some = examples[start : start + _AT_A_TIME]
            written = writer.first_turn([self._context(example) for example in some])
            if "then" in writer.template.turns:
                written = writer.second_turn(written)
            texts += [item.text for item in written]
            write_json(kept, texts)  # type: ignore[arg-type]
            update(len(some))
        pairs = enumerate(zip(examples, texts, strict=True))
        return [Item(f"{e.record.id} {i}", subject_of(e.record), text, (e.answer,)) for i, (e, text) in pairs]

    def _context(self, example: Example) -> Context:
        picture = open_image(self.data.corpus.image_path(example.record))
        hits = tuple(Hit(record, 0.0, rank) for rank, record in enumerate(self.near.get(example.record.id, ()), 1))
        return Context(Query(example.record.id, picture, example.question, example.record.subject_id), hits)


def search_templates(
    model: str,
    corpus: Corpus | str | Path,
    out: str | Path,
    *,
    templates: Sequence[str],
    index: Index | str | Path | None = None,
    k: int = 3,
    scored_by: str | None = None,
    limit: int = 100,
    task: str = "auto",
    columns: Mapping[str, str] | None = None,
    validation: float = 0.3,
    test: float = 0.3,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Write by each of ``templates`` for the validation part, and keep the best; ``out`` holds it as template.jinja.

    The card has each one's value and the paired difference of the best to it, with its interval by subject (see
    ``ragvlm.statistics.paired``); on the test part, which chose nothing, the best beside the first given.

    Args:
        model: a generator's name, or a model as for ``tune_lora``.
        templates: two or more names of ``data/templates`` or .jinja files; the first is what the best is held against.
        index: where references come from, k of them; needed where a template tells references.
        scored_by: a measure, higher is better (default: ROUGE-L of captions, exact match of answers).
        limit: items of a part, drawn by ``seed``.

    The rest is as in ``tune_lora``. Raises InputError for templates that are the same or can't be told to the model.
    """
    sources = {name: template_source(name) for name in templates}
    if len(set(sources.values())) < 2 or len(sources) < len(templates):
        raise InputError("give two or more templates that differ")
    if index is None and any(load_template(name).shows_references for name in templates):
        raise InputError("a template that tells references needs an index: give --index")
    data = VlmData.of(corpus, task=task, columns=columns, index=index, validation=validation, test=test, seed=seed)
    scored_by = scored_by or ("Exact Match" if data.questions else "ROUGE-L")
    if not measure(scored_by, "vqa" if data.questions else "describe").higher_is_better:
        raise InputError(f"{scored_by} is better when it is lower: choose another measure")
    settings = {
        "model": model, "templates": list(templates), "k": k, "scored_by": scored_by, "limit": limit, "seed": seed,
        "validation": validation, "test": test, **(options or {}),
    }  # fmt: skip
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in sources.values()]
    with training(out, {"tune": "template", **settings, **data.identity(), "sources": digests}) as work:
        if work.tuned:
            return work.tuned
        search = _Search(
            load_generator(generator_name(model), **(options or {})), data, data.neighbours(k, progress), work
        )
        found = _compare(search, settings, progress)
        facts = _facts(data, settings, found, work, command)
        page = {"README.md": render("tune-template-card.md.jinja", facts, work.out.name, escape=False)}
        chosen = sources[found["best"]]
        return work.publish(lambda folder: _write(folder / BEST, chosen), facts, page)


def _compare(search: _Search, settings: Mapping[str, Any], progress: Progress | None) -> dict[str, Any]:
    """Values and differences of all templates on the validation part, and of two on the test part."""
    names, first = settings["templates"], settings["templates"][0]
    parts = {part: _examples(search.data, part, settings) for part in ("validation", "test")}
    total = len(names) * len(parts["validation"]) + 2 * len(parts["test"])
    done = 0
    with progress("Writing") if progress else nullcontext(_nowhere) as bar:

        def update(n: int) -> None:
            nonlocal done
            done += n
            bar(done, total)

        made = {name: search.items(name, "validation", parts["validation"], update) for name in names}
        scored = measure(settings["scored_by"], "vqa" if search.data.questions else "describe")
        values = {name: scored.statistics(items).value for name, items in made.items()}
        best = max(names, key=lambda name: values[name])
        rows = [_row(name, values[name], best, made, scored) for name in names]
        tested: list[dict[str, Any]] = []
        if parts["test"]:
            held = {name: search.items(name, "test", parts["test"], update) for name in dict.fromkeys((best, first))}
            tested = [_row(name, scored.statistics(items).value, best, held, scored) for name, items in held.items()]
    return {"best": best, "validation": rows, "test": tested}


def _row(name: str, value: float, best: str, made: Mapping[str, list[Item]], scored: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"template": name, "value": value, "items": len(made[name])}
    if name != best:
        two = statistics_of_two(scored, made[best], made[name])
        row["best_minus_it"] = paired(*two, [item.cluster for item in made[name]]).to_dict()
    return row


def _examples(data: VlmData, part: str, settings: Mapping[str, Any]) -> list[Example]:
    records = drawn(list(getattr(data.split, part)), settings["limit"], settings["seed"])
    return examples_of(records, questions=data.questions)[: settings["limit"]]


def _facts(
    data: VlmData, settings: Mapping[str, Any], found: Mapping[str, Any], work: Work, command: str | None
) -> dict[str, Any]:
    import ragvlm

    figures = {part: {row["template"]: row["value"] for row in found[part]} for part in ("validation", "test")}
    return {
        "kind": "template",
        "title": f"A template for {settings['model']}, chosen on {data.corpus.name}",
        "base": {"name": settings["model"]},
        "data": data.facts,
        "metrics": {part: values for part, values in figures.items() if values},
        "settings": dict(settings),
        "best": found["best"],
        "compared": {part: found[part] for part in ("validation", "test")},
        "limits": ["Of several templates the best of a small part is partly luck: see the intervals.", *LIMITS],
        "use": f"ragvlm describe PICTURE --index DIR --generator {settings['model']} --template {{folder}}/{BEST}",
        "command": command,
        "machine": {"ragvlm": ragvlm.__version__, **machine()},
        "identity": dict(work.identity),
        "training": {"steps": 0, "note": "", "history": []},
    }


def _nowhere(done: int, total: int, note: str = "") -> None:
    """Where no bar is wanted."""


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
