"""What a vision-language model learns from: prompt and picture as ``ragvlm describe`` gives them, then the right words.

A prompt's tokens, its picture's among them, are never learnt: their labels are -100, as padding's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError
from ragvlm.generators.vlm import VlmGenerator
from ragvlm.images import open_image
from ragvlm.prompt import build_prompt
from ragvlm.readers.questions import answer_of, questions_of
from ragvlm.types import Context, Hit, Prompt, Query, Record

IGNORED = -100
ALONE = "zero-shot"
"""The template of a prompt without references."""


@dataclass(frozen=True, slots=True)
class Example:
    """A picture and the words that are right for it, to a question or to none."""

    record: Record
    answer: str
    question: str | None = None


def examples_of(records: Iterable[Record], *, questions: bool) -> list[Example]:
    """The captions of ``records``, or their questions with the (first) answers."""
    if not questions:
        return [Example(r, " ".join(r.caption.split())) for r in records if r.caption and r.caption.strip()]
    asked = ((record, question) for record in records for question in questions_of(record))
    return [Example(r, words, str(q["question"])) for r, q in asked if (words := " ".join(answer_of(q).split()))]


class VlmItems:
    """The examples as the tensors that ``generator``'s model is trained on; a Dataset of torch.

    Args:
        generator: the model; its dialect writes the prompts.
        corpus: where the pictures lie.
        neighbours: references of a record, best first, by its id; none where it has none.
        drop: share of the examples with references that are shown without, drawn anew in each epoch.
        template: of prompts with references; those without are asked by "zero-shot".
        seed: of what is dropped.
    """

    def __init__(
        self,
        generator: VlmGenerator,
        corpus: Corpus,
        examples: Sequence[Example],
        *,
        neighbours: Mapping[str, Sequence[Record]] | None = None,
        drop: float = 0.0,
        template: str = "describe",
        seed: int = 0,
    ) -> None:
        self.generator, self.corpus, self.examples = generator, corpus, examples
        self.neighbours, self.drop, self.template = neighbours or {}, drop, template
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Draw anew which references are dropped."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """Tensors with a first dimension of one; ``labels`` are -100 where nothing is to be learnt."""
        return encode(self.generator, self.prompt(i), self.examples[i].answer)

    def prompt(self, i: int) -> Prompt:
        """How example ``i`` is asked in this epoch."""
        example = self.examples[i]
        picture = open_image(self.corpus.image_path(example.record))
        known = () if self._dropped(i) else self.neighbours.get(example.record.id, ())
        hits = tuple(Hit(record, 0.0, rank) for rank, record in enumerate(known, 1))
        query = Query(example.record.id, picture, example.question, example.record.subject_id)
        return build_prompt(
            Context(query, hits),
            template=self.template if hits else ALONE,
            fits=self.generator.fits if hits else None,
            pictures=self.generator.pictures,
        )

    def _dropped(self, i: int) -> bool:
        return bool(self.drop) and np.random.default_rng((self.seed, self.epoch, i)).random() < self.drop


def encode(generator: VlmGenerator, prompt: Prompt, answer: str) -> dict[str, Any]:
    """The model's arguments for ``prompt`` followed by ``answer`` and the token that ends a text.

    Raises InputError where both together are longer than the model's context.
    """
    import torch

    made = dict(generator.inputs([prompt]))
    words = torch.tensor([answer_ids(generator, prompt, answer)])
    if generator.reads_apart:
        return {**made, "labels": words}
    asked = made["input_ids"]
    whole = torch.cat([asked, words], 1)
    if generator.context and whole.shape[1] > generator.context:
        raise InputError(
            f"record {prompt.context.query.id!r}: prompt and answer are {whole.shape[1]} tokens, the model holds "
            f"{generator.context}: leave it out, or choose another model"
        )
    for name, fill in (("attention_mask", 1), ("token_type_ids", 1), ("mm_token_type_ids", 0)):
        if name in made:
            made[name] = torch.cat([made[name], torch.full_like(words, fill)], 1)
    return {**made, "input_ids": whole, "labels": torch.cat([torch.full_like(asked, IGNORED), words], 1)}


def answer_ids(generator: VlmGenerator, prompt: Prompt, answer: str) -> list[int]:
    """The tokens that the model is to write: those of ``answer``, and the one that ends a text."""
    said = generator.dialect.answer(prompt, answer)
    ids: list[int] = generator.tokenizer(said, add_special_tokens=False)["input_ids"]
    end = next((i for i, token in enumerate(ids) if token in generator.ends), None)
    return ids[: end + 1] if end is not None else [*ids, generator.end]


def collate(generator: VlmGenerator, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch: tokens are padded at their end, fewer tiles of a picture with empty ones, the rest is stacked."""
    import torch

    pads = {"input_ids": generator.tokenizer.pad_token_id, "labels": IGNORED}
    batch = {}
    for name in items[0]:
        parts = [item[name] for item in items]
        if parts[0].ndim > 1 and (name in pads or len({part.shape[2:] for part in parts}) == 1):
            longest = max(part.shape[1] for part in parts)
            parts = [_padded(part, longest, pads.get(name, 0)) for part in parts]
        batch[name] = torch.cat(parts)
    return batch


def _padded(tensor: Any, length: int, value: int) -> Any:
    import torch

    if tensor.shape[1] == length:
        return tensor
    more = tensor.new_full((tensor.shape[0], length - tensor.shape[1], *tensor.shape[2:]), value)
    return torch.cat([tensor, more], 1)
