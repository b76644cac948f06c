"""Describe: the only place where the retriever meets the generator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import ragvlm
from ragvlm.abstain import NEIGHBOURS, Verdict, judge
from ragvlm.errors import ImageError, InputError
from ragvlm.evidence import EvidenceChecker, confidence, drop_unsupported, supported_text
from ragvlm.generators import load_generator
from ragvlm.index import Index
from ragvlm.prompt import clean, prompt_hash
from ragvlm.queries import as_query, small
from ragvlm.regions.findings import Counter, Finding, corrected, count_all
from ragvlm.retrieve import Retrieved, retrieve
from ragvlm.searching import SearchOptions
from ragvlm.templates import DEFAULT, load_template
from ragvlm.types import Context, Description, Evidence, Float32, Generator, Prompt
from ragvlm.writing import Writer


class Describer:
    """Describes pictures from the references of one index.

    generator: a name (see ``ragvlm models``) or a Generator. k: how many references it sees. alpha: the level of
    the abstention test, in [0, 1); 0 never abstains. template: which prompt template, by name or as your own .jinja
    file. max_chars: bound on the characters of a prompt, by which the farthest references are dropped (default: the
    generator's own tokenizer decides, else 6000). threshold: the support in
    [0, 1] from which a reference supports a sentence (default: as calibrated on the corpus). keep_unsupported:
    keep sentences that no reference supports, marked, instead of dropping them. counts: say what is counted in the
    picture instead of the references' counts, where the regions of the index were gathered (``ragvlm regions``). Any
    field of SearchOptions (mode, fusion, duplicates, diversity, exclude_subject, ...) may be given too; by default only
    references with a caption or labels are retrieved. generator_options go to the generator, encoder_options to the
    encoder of an index that is given by its path.

    Raises InputError for a value out of range.
    """

    def __init__(
        self,
        index: Index | str | Path,
        generator: str | Generator = "consensus",
        k: int = 5,
        *,
        alpha: float = 0.05,
        template: str = DEFAULT,
        max_chars: int | None = None,
        threshold: float | None = None,
        keep_unsupported: bool = False,
        counts: bool = True,
        generator_options: dict[str, Any] | None = None,
        encoder_options: dict[str, Any] | None = None,
        **search: Any,
    ) -> None:
        if k < 1:
            raise InputError(f"k is {k}: ask for at least 1 reference")
        if not 0 <= alpha < 1:
            raise InputError(f"alpha is {alpha}: choose a number from 0 to below 1")
        self.index = index if isinstance(index, Index) else Index.open(index, encoder_options=encoder_options)
        if alpha and "nonconformity" not in self.index.manifest.calibration:
            raise InputError(
                f"index {self.index.path} has no calibration, so nothing could be refused: finish or repeat its "
                "build (ragvlm index), or give alpha 0"
            )
        load_template(template)  # a wrong one is told before weights are loaded
        name = generator if isinstance(generator, str) else generator.name
        self.generator = load_generator(name, **generator_options or {}) if isinstance(generator, str) else generator
        self.writer = Writer(self.generator, template, max_chars)
        self.k, self.alpha = k, alpha
        self.keep_unsupported = keep_unsupported
        self.search = SearchOptions.of(**dict[str, Any](mode="image", with_text=True) | search)
        calibrated = self.index.manifest.calibration.get("evidence", {}).get("threshold")
        self.counter = Counter.of(self.index) if counts else None
        self.checker = EvidenceChecker(_TextTower(self.index), threshold if threshold is not None else calibrated)

    @overload
    def __call__(
        self,
        images: list[Any] | tuple[Any, ...],
        *,
        subject_id: str | None = None,
        question: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        regions: Any = None,
    ) -> list[Description]: ...
    @overload
    def __call__(
        self,
        images: Any,
        *,
        subject_id: str | None = None,
        question: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        regions: Any = None,
    ) -> Description: ...
    def __call__(
        self, images: Any, *, subject_id: str | None = None, question: str | None = None, **beside: Any
    ) -> Description | list[Description]:
        """Describe one picture (a path, a PIL image, an array, a Query) or a list of them.

        ``subject_id`` names the subject of the pictures: its own references are then left out. ``question`` is asked
        of each picture; in mode "image" the references are found without it. ``metadata`` and ``regions`` (a mask) are
        what else is known of the pictures, for fusion "learned".
        Raises ImageError where a picture can't be decoded, InputError for an empty question and a generator that hears
        none.
        """
        many = isinstance(images, (list, tuple))
        found = self._describe(list(images) if many else [images], question, subject_id=subject_id, **beside)
        return found if many else found[0]

    def batches(
        self,
        images: Sequence[Any],
        *,
        question: str | None = None,
        size: int = 16,
        skip: Callable[[Any, ImageError], None] | None = None,
        **known: Any,
    ) -> Iterator[list[Description]]:
        """Describe many pictures with bounded memory: yields the descriptions of ``size`` pictures at a time.

        They share one batch of the encoder and one of the generator. ``skip`` is called with a picture that can't be
        decoded and why, and the others of its batch are described; without it the first such picture ends the work.
        ``known`` are subject_id, metadata and regions, as in a call.
        """
        for start in range(0, len(images), size):
            yield self._describe(images[start : start + size], question, skip, **known)

    def from_retrieved(self, found: Sequence[Retrieved]) -> list[Description]:
        """Describe queries from references that were retrieved before, whatever ``k`` and the search options say."""
        return self._write(found, Clock(len(found)))

    def settings(self, question: str | None = None) -> dict[str, Any]:
        """What a description depends on beside its picture, as its provenance tells it."""
        return {
            "ragvlm": ragvlm.__version__,
            "index_fingerprint": self.index.fingerprint,
            "generator": self.generator.name,
            "question": question,
            "parameters": {
                "k": self.k,
                "alpha": self.alpha,
                "template": self.writer.template.name,
                "max_chars": self.writer.max_chars,
                "threshold": self.checker.threshold,
                "keep_unsupported": self.keep_unsupported,
                "counts": self.counter is not None,
                **self.search.to_dict(),
            },
        }

    def _describe(
        self,
        images: Sequence[Any],
        question: str | None,
        skip: Callable[[Any, ImageError], None] | None = None,
        **known: Any,
    ) -> list[Description]:
        clock = Clock(len(images))
        with clock("decode"):
            queries = []
            for item in images:
                try:
                    queries.append(as_query(item, picture=True, **known))
                except ImageError as error:
                    if skip is None:
                        raise
                    skip(item, error)
            for query in queries:
                if query.image is None:
                    raise InputError(f"{query.id!r} is words: give a picture to describe, or use search")
            if question is not None:
                queries = [replace(query, text=self._asked(question)) for query in queries]
        with clock("retrieve"):
            found = retrieve(self.index, queries, self.k, self.search, nearest=NEIGHBOURS)
        return self._write(found, clock)

    def _write(self, found: Sequence[Retrieved], clock: Clock) -> list[Description]:
        verdicts = [judge(item.nearest, self.calibration, self.alpha) for item in found]
        with clock("generate"):
            told = [i for i, item in enumerate(found) if item.context.hits and not verdicts[i].abstain]
            written = self.writer.first_turn([found[i].context for i in told])
        if "then" in self.writer.template.turns:
            with clock("second_turn"):
                written = self.writer.second_turn(written)
        with clock("evidence"):
            checked = self.checker.check_many([w.text for w in written], [found[i].context for i in told])
            evidence = dict(zip(told, checked, strict=True))
        asked = {i: found[i].context.query for i in told}
        findings = count_all(self.counter, asked, self.search.exclude_ids, clock)
        prompts = {i: w.prompts for i, w in zip(told, written, strict=True)}
        said = [(prompts.get(i, ()), evidence.get(i, ()), findings.get(i, ())) for i in range(len(found))]
        told_of = zip(found, verdicts, said, strict=True)
        return [self._assemble(item, verdict, *parts, clock.seconds) for item, verdict, parts in told_of]

    def _asked(self, question: str) -> str:
        if not clean(question):
            raise InputError("the question is empty: ask something, or leave it out")
        if self.search.mode == "image":
            self.writer.check_question()
        return question

    @property
    def calibration(self) -> list[float]:
        """The corpus' own scores of the abstention test."""
        scores: list[float] = self.index.manifest.calibration.get("nonconformity", [])
        return scores

    def _assemble(
        self,
        item: Retrieved,
        verdict: Verdict,
        prompts: tuple[Prompt, ...],
        evidence: tuple[Evidence, ...],
        findings: tuple[Finding, ...],
        seconds: dict[str, float],
    ) -> Description:
        # a sentence must be supported as it was written, before its counts are the picture's own
        kept = corrected(evidence if self.keep_unsupported else tuple(drop_unsupported(evidence)), findings)
        reason = self._reason(item.context, verdict, evidence, kept)
        dropped = len(evidence) - len(kept)
        kept = () if reason else kept
        return Description(
            query_id=item.context.query.id,
            text=supported_text(kept),
            evidence=kept,
            context=replace(item.context, query=small(item.context.query)),
            abstained=reason is not None,
            confidence=0.0 if reason else confidence(kept, item.context),
            reason=reason,
            provenance=self._provenance(item, verdict, prompts, dropped)
            | ({"findings": [finding.to_dict() for finding in findings]} if findings else {}),
            timings=seconds,
        )

    def _reason(
        self, context: Context, verdict: Verdict, evidence: Sequence[Evidence], kept: Sequence[Evidence]
    ) -> str | None:
        """Why nothing is said, or None."""
        if not context.hits:
            return "no reference with a caption or labels may be used for this picture"
        if verdict.abstain:
            return verdict.reason
        if not evidence:
            hint = (
                ""
                if any(hit.record.caption for hit in context.hits)
                else ", which have labels alone: try generator 'template'"
            )
            return f"generator {self.generator.name!r} found nothing to say from the references{hint}"
        if not kept:
            return f"none of the {len(evidence)} generated sentences is supported by a reference"
        return None

    def _provenance(
        self, item: Retrieved, verdict: Verdict, prompts: tuple[Prompt, ...], dropped: int
    ) -> dict[str, Any]:
        manifest = self.index.manifest
        first, second = (*(prompt_hash(prompt) for prompt in prompts), None, None)[:2]
        return {
            **self.settings(item.context.query.text),
            "encoder": {"name": manifest.encoder, "fingerprint": manifest.encoder_fingerprint},
            "prompt_hash": first,
            "second_prompt_hash": second,
            "abstention": verdict.to_dict(),
            "dropped_references": max((prompt.dropped for prompt in prompts), default=0),
            "dropped_sentences": dropped,
        }


class _TextTower:
    """The index's own, loaded only where a sentence isn't a reference's word by word."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        return self.index.encoder.encode_texts(texts)


class Clock:
    """Wall seconds by step, shared evenly by the pictures of one call."""

    def __init__(self, pictures: int) -> None:
        self.pictures = max(pictures, 1)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = (time.perf_counter() - start) / self.pictures
