"""The plug-in ``smallcap``: describes and answers with what ``ragvlm tune describer`` trained."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ragvlm.encoders.torch_tools import choose_device
from ragvlm.errors import InputError, RagvlmError
from ragvlm.generators.batches import in_batches
from ragvlm.generators.smallcap.answers import SHOWN
from ragvlm.generators.smallcap.features import CELL, CELLS, WHOLE, PictureFeatures, Seen
from ragvlm.generators.smallcap.folder import SHIPPED, Trained, find
from ragvlm.generators.smallcap.ground import ground
from ragvlm.generators.smallcap.layout import Asked, captions_of, pairs_of
from ragvlm.generators.tidy import tidy
from ragvlm.prompt import clean
from ragvlm.types import Float32, Prompt, Record

CANDIDATES = 8
"""Answers that the decoder weighs."""


class SmallcapGenerator:
    """Writes from the picture, from what probes read in it, and from the nearest references' words; greedy.

    A question is answered by the likeliest of the training part's answers, where there were some; else in own words.

    Args:
        model: a folder that ``ragvlm tune describer`` wrote, or "simulated", which ships with ragvlm.
        max_new_tokens: a text ends there at the latest (default: as it was trained); a sentence that this cuts is
            left out.
        batch_size: prompts at a time. Another one may round the last bits differently.
        grounded: say what no reference states as the nearest reference says it (see ``ground``); without it the check
            of evidence drops such sentences.
        threads: of the CPU; None leaves it to torch.

    It runs on the CPU. Raises InputError for an option or a describer that can't be, MissingExtraError without
    ``ragvlm[smallcap]``, RagvlmError where it was trained on another decoder or image tower than is installed.
    """

    pictures = 1

    def __init__(
        self,
        model: str = SHIPPED,
        *,
        max_new_tokens: int | None = None,
        batch_size: int = 4,
        grounded: bool = True,
        threads: int | None = None,
    ) -> None:
        for name, number in (("max_new_tokens", max_new_tokens), ("batch_size", batch_size), ("threads", threads)):
            if number is not None and number < 1:
                raise InputError(f"{name} is {number}: choose 1 or more")
        find(model)
        self.name = "smallcap" if model == SHIPPED else f"smallcap:{model}"
        self.model, self.batch_size, self.grounded, self.threads = model, batch_size, grounded, threads
        self.max_new_tokens = max_new_tokens
        self.device = choose_device("cpu")

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """One text a prompt; empty for a blank one. References that the prompt doesn't cite are not looked at."""
        asked = [prompt for prompt in prompts if not prompt.blank]
        texts = iter(in_batches(self, asked, self._answer))
        return ["" if prompt.blank else next(texts) for prompt in prompts]

    @cached_property
    def _trained(self) -> Trained:
        return Trained.load(self.model)

    @cached_property
    def _features(self) -> PictureFeatures:
        found = PictureFeatures()
        if found.fingerprint != self._trained.features_fingerprint:
            raise RagvlmError(f"{self.name} was trained on another image tower than this ragvlm has: train it again")
        return found

    @cached_property
    def _net(self) -> tuple[Any, Any]:
        """The module with LoRA merged into the decoder, and the decoder."""
        import torch

        from ragvlm.generators.smallcap.decoder import load_decoder
        from ragvlm.generators.smallcap.net import Shape, Smallcap

        if self.threads:
            torch.set_num_threads(self.threads)
        decoder = load_decoder(self._trained.decoder)
        if decoder.fingerprint != self._trained.decoder_fingerprint:
            raise RagvlmError(f"{self.name} was trained on another decoder than is installed: train it again")
        net = Smallcap(decoder, Shape(**self._trained.shape))
        net.put(self._trained.net)
        return net.merged().eval(), decoder

    @cached_property
    def _words(self) -> Any:
        from ragvlm.encoders import load_encoder

        return load_encoder("embedded")

    def _answer(self, prompts: list[Prompt]) -> list[str]:
        import torch

        seen, sighted = self._look(prompts)
        readings = self._trained.readings.read(seen.whole)
        texts = []
        with torch.inference_mode():
            written: list[tuple[int, Asked]] = []
            for i, prompt in enumerate(prompts):
                records, question = _references(prompt), clean(prompt.context.query.text or "")
                read = readings[i] if sighted[i] else ""
                if question:
                    texts.append(self._choose(question, records, read, seen.rows([i]), sighted[i : i + 1]))
                else:
                    written.append((i, Asked(captions_of(records, self._trained.neighbours), read)))
                    texts.append("")
            if written:
                rows = [i for i, _ in written]
                own = self._write([a for _, a in written], seen.rows(rows), sighted[rows])
                for (i, _), text in zip(written, own, strict=True):
                    texts[i] = self._finished(text, prompts[i])
        return texts

    def _look(self, prompts: Sequence[Prompt]) -> tuple[Seen, Any]:
        """The features, zeros where there is no picture, and where there is one."""
        sighted = np.array([bool(prompt.images) for prompt in prompts])
        found = self._features([prompt.images[0].convert("RGB") for prompt in prompts if prompt.images])
        cells, whole = np.zeros((len(prompts), CELLS, CELL), np.float32), np.zeros((len(prompts), WHOLE), np.float32)
        cells[sighted], whole[sighted] = found.cells, found.whole
        return Seen(cells, whole), sighted

    def _write(
        self, asked: Sequence[Asked], seen: Seen, sighted: Any, most: int | None = None
    ) -> list[tuple[str, bool]]:
        """Texts, and whether each was cut."""
        net, decoder = self._net
        most = most or self.max_new_tokens or self._trained.words
        rows = net.write(*tensors(seen, sighted), [decoder.tokens(item.text) for item in asked], most)
        return [(decoder.tokenizer.decode(row, skip_special_tokens=True).strip(), len(row) >= most) for row in rows]

    def _finished(self, written: tuple[str, bool], prompt: Prompt) -> str:
        text = tidy(written[0], len(prompt.cited_ids), cut=written[1])
        return ground(text, [clean(r.caption or "") for r in _references(prompt)]) if self.grounded else text

    def _choose(self, question: str, records: Sequence[Record], read: str, seen: Seen, sighted: Any) -> str:
        """The answer: of the candidates the one that perceptron and decoder together find likeliest."""
        known = self._trained.answers
        if known is None:
            asked = Asked(pairs_of(question, records) or captions_of(records, self._trained.neighbours), read, question)
            return str(self._write([asked], seen, sighted)[0][0])
        guesses = known.logprobs(self._words.encode_texts([question]), seen.whole)[0]
        best = np.argsort(-guesses, kind="stable")[:CANDIDATES]
        options: list[str] = [known.vocabulary[i] for i in best]
        asked = Asked(pairs_of(question, records), read, question, tuple(options[:SHOWN]))
        scores = weigh(self._net, asked, options, guesses[best], seen, sighted, self._trained.trust)
        return options[int(scores.argmax())]


def weigh(
    parts: tuple[Any, Any],
    asked: Asked,
    options: Sequence[str],
    guesses: Float32,
    seen: Seen,
    sighted: Any,
    trust: float,
) -> Float32:
    """float32 (options,): ``trust`` of the decoder's mean log-probability of a token, the rest of the perceptron's."""
    if trust == 0:
        return guesses
    net, decoder = parts
    answers = [[*decoder.tokens(f" {option}"), decoder.end] for option in options]
    found = net.logprobs(*tensors(seen, sighted), decoder.tokens(asked.text), answers).numpy()
    scores: Float32 = trust * found + (1 - trust) * guesses
    return scores


def tensors(seen: Seen, sighted: Any) -> tuple[Any, Any, Any]:
    """The first three arguments of the module's methods."""
    import torch

    return torch.from_numpy(seen.whole), torch.from_numpy(seen.cells), torch.from_numpy(np.asarray(sighted, bool))


def _references(prompt: Prompt) -> list[Record]:
    cited = set(prompt.cited_ids)
    return [hit.record for hit in prompt.context.hits if hit.record.id in cited]
