"""What the embedded describer is told of each item, and what of it is fitted before the decoder learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ragvlm.encoders import load_encoder
from ragvlm.errors import InputError
from ragvlm.evaluation.split import subject_of
from ragvlm.generators.smallcap.answers import SHOWN, Answers, fit_answers
from ragvlm.generators.smallcap.decoder import Decoder
from ragvlm.generators.smallcap.generator import CANDIDATES, tensors, weigh
from ragvlm.generators.smallcap.layout import Asked, captions_of, pairs_of
from ragvlm.generators.smallcap.readings import FOLDS, Readings, fit_readings, folds
from ragvlm.index import Index
from ragvlm.tuning.describer_items import Lesson, Pictures, lessons_of, tell
from ragvlm.tuning.split import PARTS, Split

MAX_TOKENS = 448
TRUSTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Weights of the decoder against the perceptron, of which the validation part chooses."""
WEIGHED = 64
"""Questions of a part, evenly drawn, that are answered to measure that."""
UNLIKELY = 0.15
"""Share of the training questions that are not told the likely answers."""
_IGNORED = -100


@dataclass(frozen=True)
class School:
    """All that items are made of. ``read`` and ``likely`` are what probes and perceptron say of pictures and questions
    that they were not fitted to."""

    pictures: Pictures = field(repr=False)
    lessons: Mapping[str, list[Lesson]] = field(repr=False)
    allowed: Any = field(repr=False)
    readings: Readings = field(repr=False)
    read: Sequence[str] = field(repr=False)
    answers: Answers | None = field(repr=False)
    guesses: Mapping[Lesson, tuple[list[str], Any]] = field(repr=False)
    neighbours: int
    seed: int

    @classmethod
    def of(cls, pictures: Pictures, split: Split, index: Index, count: int, seed: int) -> School:
        """Raises InputError where the training or the validation part has nothing to learn."""
        part = {record.id: name for name in PARTS for record in getattr(split, name)}
        places = {name: [i for i, r in enumerate(pictures.records) if part.get(r.id) == name] for name in PARTS}
        lessons = {name: lessons_of(pictures, places[name]) for name in PARTS}
        for name in PARTS[:2]:
            if not lessons[name]:
                raise InputError(f"index {index.path}: no caption and no answer in the {name} part: give more records")
        allowed = np.zeros(len(pictures.records), bool)
        allowed[places["train"]] = True
        whole, own = pictures.seen.whole, [pictures.records[i] for i in places["train"]]
        readings, unseen = fit_readings(whole[places["train"]], own, [subject_of(record) for record in own])
        read = readings.read(whole)
        for place, text in zip(places["train"], unseen, strict=True):
            read[place] = text
        answers, guesses = _likely(pictures, lessons, seed)
        return cls(pictures, lessons, allowed, readings, read, answers, guesses, count, seed)

    def items(self, part: str, decoder: Decoder) -> Items:
        """The items of a part; those of the training part are told something else each epoch."""
        return Items(self, self.lessons[part], decoder, dice=part == "train")

    def asked(self, lesson: Lesson, dice: Any) -> tuple[Asked, bool]:
        """What the decoder is told of ``lesson``, and whether it sees the picture."""
        told = tell(self.pictures, lesson, self.allowed, dice, max(self.neighbours, 1))
        records = [self.pictures.records[i] for i in told.neighbours] if self.neighbours else []
        read = self.read[lesson.picture] if told.sighted else ""
        if not lesson.question:
            return Asked(captions_of(records, self.neighbours), read), told.sighted
        shown = tuple(self.guesses[lesson][0][:SHOWN]) if lesson in self.guesses else ()
        if dice is not None and dice.random() < UNLIKELY:
            shown = ()
        return Asked(pairs_of(lesson.question, records), read, lesson.question, shown), told.sighted

    def words(self, decoder: Decoder) -> int:
        """Tokens that a text may have: a quarter more than the longest of the training part."""
        return min(max(len(decoder.tokens(lesson.text)) for lesson in self.lessons["train"]) * 5 // 4 + 4, 256)

    def trust(
        self, net: Any, decoder: Decoder, part: str, of: Sequence[float] = TRUSTS
    ) -> tuple[float, dict[str, float]]:
        """The weight of the decoder with which most answers of ``part`` are right, and their share."""
        import torch

        lessons = [lesson for lesson in self.lessons[part] if lesson in self.guesses]
        step = max(len(lessons) // WEIGHED, 1)
        lessons = lessons[::step][:WEIGHED]
        if not lessons:
            return 0.5, {}
        right = np.zeros((len(lessons), len(of)))
        with torch.inference_mode():
            for i, lesson in enumerate(lessons):
                options, guesses = self.guesses[lesson]
                asked, seen = self.asked(lesson, None)[0], self.pictures.seen.rows([lesson.picture])
                own = weigh((net, decoder), asked, options, guesses, seen, [True], 1.0)
                for j, trust in enumerate(of):
                    best = int((trust * own + (1 - trust) * guesses).argmax())
                    right[i, j] = options[best].lower() == lesson.text.lower()
        found = right.mean(0)
        alone = {"exact match, perceptron alone": float(right[:, 0].mean())} if len(of) > 1 else {}
        return of[int(found.argmax())], {"exact match": float(found.max()), **alone}


def _likely(
    pictures: Pictures, lessons: Mapping[str, list[Lesson]], seed: int
) -> tuple[Answers | None, dict[Lesson, tuple[list[str], Any]]]:
    """The perceptron, and of each question the likeliest answers with their log-probabilities; for those of the
    training part by perceptrons that saw no question of the subject."""
    train = [lesson for lesson in lessons["train"] if lesson.question]
    if not train:
        return None, {}
    every = [lesson for part in PARTS for lesson in lessons[part] if lesson.question]
    # the describer brings its own text tower: the index may have been built with another
    rows = load_encoder("embedded").encode_texts([lesson.question for lesson in every])
    vectors = dict(zip(every, rows, strict=True))

    def inputs(chosen: Sequence[Lesson]) -> tuple[Any, Any]:
        return np.stack([vectors[x] for x in chosen]), pictures.seen.whole[[x.picture for x in chosen]]

    whole = fit_answers(*inputs(train), [lesson.text for lesson in train], seed=seed)
    if whole is None:
        return None, {}
    found: dict[Lesson, tuple[list[str], Any]] = {}
    fold = folds([subject_of(pictures.records[lesson.picture]) for lesson in train])
    jobs = [(whole, [lesson for lesson in every if lesson not in set(train)])]
    for number in range(FOLDS):
        inside = [lesson for lesson, own in zip(train, fold, strict=True) if own == number]
        outside = [lesson for lesson, own in zip(train, fold, strict=True) if own != number]
        part = (
            fit_answers(*inputs(outside), [lesson.text for lesson in outside], seed=seed)
            if inside and outside
            else None
        )
        jobs.append((part or whole, inside))
    for net, chosen in jobs:
        for lesson, row in zip(chosen, net.logprobs(*inputs(chosen)) if chosen else (), strict=True):
            best = np.argsort(-row, kind="stable")[:CANDIDATES]
            found[lesson] = [net.vocabulary[i] for i in best], row[best]
    return whole, found


class Items:
    """Items by number for torch. What one is told in an epoch depends on seed, epoch and number alone, so that a
    training that was killed goes on with the same."""

    def __init__(self, school: School, lessons: Sequence[Lesson], decoder: Decoder, *, dice: bool) -> None:
        self.school, self.lessons, self.decoder, self.dice, self.epoch = school, lessons, decoder, dice, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by ``fit``."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lessons)

    def __getitem__(self, number: int) -> dict[str, Any]:
        lesson = self.lessons[number]
        dice = np.random.default_rng([self.school.seed, self.epoch, number]) if self.dice else None
        asked, sighted = self.school.asked(lesson, dice)
        text = [*self.decoder.tokens(f" {lesson.text}"), self.decoder.end]
        before = self.decoder.tokens(asked.text)[-max(MAX_TOKENS - len(text), 1) :]
        return {"picture": lesson.picture, "sighted": sighted, "asked": before, "text": text[:MAX_TOKENS]}


class Collate:
    """Items -> the arguments of ``Smallcap.forward``."""

    def __init__(self, school: School, decoder: Decoder) -> None:
        self.seen, self.end = school.pictures.seen, decoder.end

    def __call__(self, items: list[Any]) -> Mapping[str, Any]:
        import torch

        longest = max(len(item["asked"]) + len(item["text"]) for item in items)
        ids, mask, labels = [], [], []
        for item in items:
            row, pad = [*item["asked"], *item["text"]], longest - len(item["asked"]) - len(item["text"])
            ids.append(row + [self.end] * pad)
            mask.append([1] * len(row) + [0] * pad)
            labels.append([_IGNORED] * len(item["asked"]) + item["text"] + [_IGNORED] * pad)
        whole, cells, sighted = tensors(self.seen.rows([i["picture"] for i in items]), [i["sighted"] for i in items])
        words = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        return {"whole": whole, "cells": cells, "sighted": sighted, **{k: torch.tensor(v) for k, v in words.items()}}
