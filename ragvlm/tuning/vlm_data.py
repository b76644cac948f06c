"""From a corpus and an index to the three parts that a vision-language model is trained, validated and tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError
from ragvlm.generators import load_generator
from ragvlm.generators.vlm import VlmGenerator
from ragvlm.index import Index
from ragvlm.readers.questions import questions_of
from ragvlm.registry import entries, find, split
from ragvlm.tuning.fit import Progress
from ragvlm.tuning.neighbours import find_neighbours
from ragvlm.tuning.settings import TrainSettings, choose_hardware
from ragvlm.tuning.split import PARTS, Split, captioned, corpus_facts, questioned, split_by_subject
from ragvlm.tuning.vlm_items import VlmItems, examples_of
from ragvlm.types import Record

TASKS = ("auto", "describe", "vqa")


@dataclass(frozen=True, slots=True)
class VlmData:
    """A corpus as it is learnt from. ``questions``: answers to questions are learnt, else captions."""

    corpus: Corpus
    questions: bool
    split: Split
    index: Index | None
    facts: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(
        cls,
        corpus: Corpus | str | Path,
        *,
        task: str = "auto",
        columns: Mapping[str, str] | None = None,
        index: Index | str | Path | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
    ) -> VlmData:
        """``task`` "describe" learns captions, "vqa" questions, "auto" captions where there are any.

        Raises InputError where the corpus has nothing to learn from, or too few subjects.
        """
        if task not in TASKS:
            raise InputError(f"task {task!r}: give one of {', '.join(TASKS)}")
        loaded = corpus if isinstance(corpus, Corpus) else Corpus.load(corpus, columns=columns)
        has = any(questions_of(record) for record in loaded) and not any(record.caption for record in loaded)
        questions = task == "vqa" or (task == "auto" and has)
        records = questioned(loaded) if questions else captioned(loaded)
        split = split_by_subject(records, name=loaded.name, validation=validation, test=test, seed=seed)
        opened = index if isinstance(index, Index) or index is None else Index.open(index)
        facts = corpus_facts(loaded, records, split) | {"learnt": "answers" if questions else "captions"}
        return cls(loaded, questions, split, opened, facts)

    def identity(self) -> dict[str, Any]:
        """What of it decides the result."""
        index = self.index.fingerprint if self.index else None
        return {"corpus": self.corpus.fingerprint, "questions": self.questions, "index": index}

    def neighbours(self, k: int, progress: Progress | None) -> dict[str, list[Record]]:
        """See ``find_neighbours``; none without an index."""
        if self.index is None:
            return {}
        with progress("Finding references") if progress else nullcontext(None) as update:
            return find_neighbours(self.index, self.corpus, self.split, k, update)

    def items(self, generator: VlmGenerator, part: str, **options: Any) -> VlmItems:
        """The examples of "train", "validation" or "test"; ``options`` are those of VlmItems."""
        records: Sequence[Record] = getattr(self.split, part)
        return VlmItems(generator, self.corpus, examples_of(records, questions=self.questions), **options)


def generator_name(model: str) -> str:
    """``model`` as a generator's name: ORG/NAME and folders are vision-language models."""
    return model if split(model)[0] in entries("generators") else f"vlm:{model}"


def load_vlm(
    model: str, settings: TrainSettings, data: VlmData, *, quantize: str = "none", **options: Any
) -> VlmGenerator:
    """The generator behind ``model`` (a name of ``ragvlm models``, ORG/NAME or a folder), to be trained.

    Its longest answer is that of ``data``. Raises InputError for a generator of another kind, and for one that doesn't
    read references where there is an index.
    """
    hardware = choose_hardware(settings)
    name = generator_name(model)
    if find("generators", split(name)[0]).load() is not VlmGenerator:
        raise InputError(f"{model} is no vision-language model that is tuned here: see docs/tuning.md for which are")
    chosen = {"device": str(hardware.device), "dtype": hardware.precision, "batch_size": settings.batch_size}
    generator = cast("VlmGenerator", load_generator(name, quantize=quantize, **{**chosen, **options}))
    if data.index is not None and generator.reads != "prompt":
        raise InputError(f"{model} reads no references, so an index would change nothing: leave --index out")
    words = (e.answer for part in PARTS for e in examples_of(getattr(data.split, part), questions=data.questions))
    tokens = max(len(generator.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in words)
    generator.max_new_tokens = tokens + 8  # a chat's own words around it, and the end
    return generator
