"""A generator that is shown the nearest labelled references and held to the labels, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.classifiers.indexed import Judgement
from ragvlm.classifiers.knn import KnnClassifier
from ragvlm.classifiers.labelled import Labelled
from ragvlm.errors import InputError
from ragvlm.generators import load_generator
from ragvlm.images import open_image
from ragvlm.index import Index
from ragvlm.labelsets import LabelSet
from ragvlm.modalities.metadata import value_of
from ragvlm.prompt import build_prompt
from ragvlm.types import Context, Float32, Generator, Hit, Int64, Query

QUESTION = "What is the {column} of the new image?"


class GeneratorClassifier(KnnClassifier):
    """``generator`` (a name, loaded with ``generator_options``, or a Generator with ``choose``) answers QUESTION.

    It sees the ``k`` nearest references, each with its label, those of a query's own subject left out, and, where it
    sees pictures, the query's. It tells the probability of its answer; the other labels share the rest evenly, and all
    of it where it tells none. Every calibration picture is an answer: the temperature is fitted on ``records`` of the
    index, drawn by ``seed``; 0 leaves the probabilities as they are. The other arguments and what is raised are those
    of ``IndexClassifier``; InputError for a generator that can't be held to answers.
    """

    name = "generator"

    def __init__(
        self,
        index: Index | str | Path = "",
        labels: str | Path | Sequence[str] | LabelSet = (),
        *,
        generator: str | Generator = "smollm2",
        generator_options: dict[str, Any] | None = None,
        k: int = 5,
        records: int = 0,
        alpha: float | None = None,
        seed: int = 0,
    ) -> None:
        if records < 0:
            raise InputError(f"records is {records}: give 0, or how many the temperature is fitted on")
        self.generator: Any = (
            load_generator(generator, **generator_options or {}) if isinstance(generator, str) else generator
        )
        if not hasattr(self.generator, "choose"):
            raise InputError(
                f"generator {self.generator.name!r} can't be held to answers: choose one that can, such as smollm2 or "
                "smolvlm"
            )
        self.records = records
        super().__init__(index, labels, k=k, alpha=alpha, calibrate=records > 0, seed=seed)

    @property
    def provenance(self) -> dict[str, Any]:
        """As of KnnClassifier, with the generator."""
        return super().provenance | {"generator": self.generator.name}

    def _crossed(self) -> tuple[Float32, Int64]:
        order = np.random.default_rng(self.seed).permutation(len(self.data))[: self.records]
        groups = self.data.groups
        return self._asked(self.data.part(order), groups[order, None] == groups[None, :]), self.data.truth[order]

    def _of(self, others: Labelled) -> Float32:
        return self._asked(others, np.zeros((len(others), len(self.data)), bool))

    def _judge(self, queries: Sequence[Query]) -> list[Judgement]:
        found = super()._judge(queries)
        rows = self._answers(queries, [one.neighbours for one in found])
        return [replace(one, probabilities=row) for one, row in zip(found, rows, strict=True)]

    def _asked(self, data: Labelled, hidden: Any) -> Float32:
        """The answers about records of the index, float32 (n, L)."""
        queries, hits = [], []
        for own, vector, row in zip(hidden, data.vectors, data.rows, strict=True):
            scores, places = self._nearest(vector[None], own[None])
            record = self.index.records[int(row)]
            image = open_image(str(self.index.image_path(record))) if self._sees else None
            queries.append(Query(record.id, image))
            hits.append(self._hits(scores[0], places[0]))
        return self._answers(queries, hits)

    @property
    def _sees(self) -> bool:
        return getattr(self.generator, "pictures", 1) != 0

    def _answers(self, queries: Sequence[Query], hits: Sequence[tuple[Hit, ...]]) -> Float32:
        column = self.column.rpartition(".")[2].replace("_", " ")
        prompts = []
        for query, own in zip(queries, hits, strict=True):
            asked = replace(query, text=QUESTION.format(column=column), image=query.image if self._sees else None)
            context = Context(asked, tuple(replace(hit, record=self._told(hit)) for hit in own))
            fits = getattr(self.generator, "fits", None)
            prompts.append(
                build_prompt(
                    context,
                    template="ask",
                    choices=self.labels,
                    fits=fits,
                    pictures=getattr(self.generator, "pictures", 1),
                )
            )
        chosen = self.generator.choose(prompts, self.labels)
        return np.array([self._shared(*one) for one in chosen], np.float32).reshape(len(queries), len(self.labels))

    def _told(self, hit: Hit) -> Any:
        """The record as the prompt tells it: its label, then its caption."""
        label = value_of(hit.record, self.column)
        return replace(hit.record, caption=f"{label}: {hit.record.caption}" if hit.record.caption else str(label))

    def _shared(self, label: str, probability: float | None) -> list[float]:
        count = len(self.labels)
        if label not in self.labels:
            return [1 / count] * count
        own = 1.0 if probability is None else min(max(probability, 1 / count), 1.0)
        return [own if one == label else (1 - own) / (count - 1) for one in self.labels]
