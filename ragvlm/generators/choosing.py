"""Closed questions: a model's answer is held to the options that are allowed, token by token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ragvlm.types import Float32

SAMPLING = 0.7
"""The temperature at which texts are drawn, as in the work on self-consistency (arXiv:2203.11171)."""
Chosen = tuple[str, float | None]
"""An option, "" for none, and its probability among the options, None where the generator tells none."""


def variants(option: str) -> tuple[str, ...]:
    """``option`` as it is and with a capital: which of them begins an answer is the model's custom."""
    return tuple(dict.fromkeys((option, option[:1].upper() + option[1:])))


def shares(logarithms: Sequence[float]) -> list[float]:
    """Probabilities that add up to 1, of log-probabilities or logits."""
    weights = np.exp(np.array(logarithms, np.float64) - max(logarithms))
    return [float(share) for share in weights / weights.sum()]


class Choices:
    """The ways to write ``options`` as tokens of ``tokenizer`` (of transformers); ``ends`` are those that end a text.

    Greedy decoding that may take ``allowed`` tokens alone writes one of the options.
    """

    def __init__(self, tokenizer: Any, options: Sequence[str], ends: Iterable[int]) -> None:
        self.options, self.ends = tuple(options), frozenset(ends)
        self.paths: dict[tuple[int, ...], str] = {}
        for option in options:
            # some models begin an answer with the space that parts it from the prompt
            for text in (lead + one for one in variants(option) for lead in ("", " ")):
                path = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
                if path:
                    self.paths.setdefault(path, option)

    @property
    def longest(self) -> int:
        """The tokens of the longest way, with the one that ends it."""
        return max(map(len, self.paths)) + 1

    def allowed(self, written: Sequence[int]) -> list[int]:
        """The tokens that may follow ``written``: those of an option, and an end where one is whole."""
        done = tuple(written)
        following = {path[len(done)] for path in self.paths if path[: len(done)] == done and len(path) > len(done)}
        return sorted(following | (self.ends if done in self.paths or not following else frozenset()))

    def chosen(self, written: Sequence[int], logits: Sequence[Float32]) -> Chosen:
        """The option of the tokens ``written``, and its probability by the scores of the steps, float (vocabulary,).

        The options' probabilities are those of their first tokens where these tell them apart, each with a capital and
        without; else that of the way taken among those allowed.
        """
        first = self._first_tokens()
        if first is not None:
            order = sorted(first)
            by_option = dict.fromkeys(self.options, 0.0)
            for token, share in zip(order, shares([float(logits[0][token]) for token in order]), strict=True):
                by_option[first[token]] += share
            best = max(self.options, key=lambda option: by_option[option])
            return best, by_option[best]
        taken: list[int] = []
        probability = 1.0
        for token, step in zip(written, logits, strict=False):
            tokens = self.allowed(taken)
            if token not in tokens:
                break
            probability *= shares([float(step[one]) for one in tokens])[tokens.index(token)]
            if token in self.ends and tuple(taken) in self.paths:
                break
            taken.append(token)
        option = self.paths.get(tuple(taken), "")
        return option, probability if option else None

    def _first_tokens(self) -> dict[int, str] | None:
        """The option of each first token; None where two options begin alike."""
        found: dict[int, str] = {}
        for path, option in self.paths.items():
            if found.setdefault(path[0], option) != option:
                return None
        return found
