"""Pictures, with a question or without, and their right labels, as transformers' classifiers learn them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.corpus import Corpus
from ragvlm.encoders import hub
from ragvlm.encoders.loading import one_error
from ragvlm.encoders.torch_tools import import_package
from ragvlm.errors import InputError
from ragvlm.evaluation.split import label_of, value_of
from ragvlm.readers.questions import questions_of
from ragvlm.types import Float32, Record

UNKNOWN = -100
"""What torch's cross entropy leaves out."""


@dataclass(frozen=True, slots=True)
class Example:
    """A record with its right label; of a question its words."""

    record: Record
    label: str
    words: str | None = None


def labelled_examples(records: Iterable[Record], column: str) -> list[Example]:
    """One a record."""
    return [Example(record, label_of(value_of(record, column))) for record in records]


def asked_examples(records: Iterable[Record]) -> list[Example]:
    """One a question; answers in lower case, without a full stop at the end."""
    found = []
    for record in records:
        for question in questions_of(record):
            answer = (question.get("answers") or [question.get("answer", "")])[0]
            found.append(Example(record, str(answer).strip().rstrip(".").lower(), str(question["question"])))
    return [example for example in found if example.label]


class Learner:
    """A checkpoint of transformers with a head over ``classes``, fresh unless they are its own.

    ``frozen``: only the head learns. Raises InputError for a model that isn't one of ``makers``, and RagvlmError as
    ``ragvlm.encoders.hub`` and transformers do.
    """

    def __init__(self, model: str, classes: Sequence[str], corpus: Corpus, *, frozen: bool, seed: int) -> None:
        transformers = import_package("transformers", "tune", "Trainer")
        self.model, self.revision = hub.split_revision(model, None)
        self.folder = folder = hub.checkpoint(self.model, self.revision, tokenizer=False)
        self.asks = model_type(folder) == "vilt"
        if hub.brings_code(folder):
            raise InputError(f"{self.model} brings Python code of its own: choose a model that transformers has")
        self.classes, self.corpus = tuple(classes), corpus
        self.place = {name: at for at, name in enumerate(self.classes)}
        maker = transformers.ViltForQuestionAnswering if self.asks else transformers.AutoModelForImageClassification
        named = {"id2label": dict(enumerate(self.classes)), "label2id": self.place, "num_labels": len(self.classes)}
        transformers.set_seed(seed)
        with one_error(self.model):
            kind = {} if self.asks else {"problem_type": "single_label_classification"}
            self.net = maker.from_pretrained(
                folder, dtype="float32", ignore_mismatched_sizes=True, local_files_only=True, **named, **kind,
                **hub.reading(folder),
            )  # fmt: skip
            eyes = transformers.AutoProcessor if self.asks else transformers.AutoImageProcessor
            self.processor = eyes.from_pretrained(folder, backend="pil", local_files_only=True)
        if frozen:
            for name, weights in self.net.named_parameters():
                weights.requires_grad_(_of_head(name))

    def items(self, examples: Sequence[Example]) -> Items:
        """Examples as ``fit`` takes them."""
        return Items(self, examples)

    def collate(self, items: Sequence[tuple[Example, Any]]) -> dict[str, Any]:
        """The model's arguments."""
        import torch

        pictures = [picture for _, picture in items]
        targets = [self.place.get(example.label, UNKNOWN) for example, _ in items]
        if not self.asks:
            inputs = self.processor(images=pictures, return_tensors="pt")
            return {"pixel_values": inputs["pixel_values"], "labels": torch.tensor(targets)}
        words = [example.words for example, _ in items]
        most = self.net.config.max_position_embeddings
        inputs = self.processor(pictures, words, padding=True, truncation=True, max_length=most, return_tensors="pt")
        rows = torch.zeros(len(items), len(self.classes))
        for row, target in zip(rows, targets, strict=True):
            if target != UNKNOWN:  # an answer that was never seen is none of the labels
                row[target] = 1.0
        return {**inputs, "labels": rows}

    def probabilities(self, examples: Sequence[Example], batch_size: int) -> Float32:
        """float32 (n, len(classes)), rows that add up to 1."""
        import torch

        items, device = self.items(examples), self.net.device
        rows = []
        for start in range(0, len(items), batch_size):
            batch = self.collate([items[i] for i in range(start, min(start + batch_size, len(items)))])
            batch.pop("labels")
            with torch.inference_mode():
                logits = self.net(**{name: tensor.to(device) for name, tensor in batch.items()}).logits
            rows.append(logits.float().softmax(dim=-1).cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, len(self.classes)), np.float32)

    def write(self, folder: Path) -> None:
        """Weights, configuration and preprocessing, as transformers reads them."""
        self.net.save_pretrained(folder, safe_serialization=True)
        self.processor.save_pretrained(folder)


class Items:
    """Examples with their pictures, decoded when they are asked for."""

    def __init__(self, learner: Learner, examples: Sequence[Example]) -> None:
        self.learner, self.examples = learner, list(examples)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: int) -> tuple[Example, Any]:
        from ragvlm.images import open_image

        return self.examples[i], open_image(self.learner.corpus.image_path(self.examples[i].record))


def model_type(folder: Path) -> str:
    """What config.json says."""
    config: Mapping[str, Any] = hub.read_json(folder / "config.json")
    return str(config.get("model_type", ""))


def _of_head(name: str) -> bool:
    return name.partition(".")[0] in {"classifier", "fc", "head", "score"}
