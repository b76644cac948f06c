"""Any server that speaks the chat-completions protocol of OpenAI: vLLM, Ollama, llama.cpp, TGI, or OpenAI itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from ragvlm.errors import InputError, RagvlmError
from ragvlm.generators.chatserver import ChatServer, RefusedError
from ragvlm.generators.choosing import SAMPLING, Chosen
from ragvlm.generators.pictures import data_uri, picture
from ragvlm.generators.tidy import tidy
from ragvlm.language.asking import choose
from ragvlm.types import Prompt

T = TypeVar("T")


class OpenAIGenerator:
    """Writes from the numbered references of the prompt and, with ``with_image``, from the picture itself.

    What leaves this computer is the prompt (captions or labels of the references, the words of the query, in a second
    turn what the server wrote in the first), the pixels of the query's picture and, with a template that shows them
    such as "few-shot-pictures", those of the references' pictures, each drawn anew as JPEG without its metadata: no
    ids, subjects, studies, paths or extra columns. Words burnt into the pixels go with them.

    Args:
        base_url: where the server's API begins, as in "http://127.0.0.1:8000/v1"; default ``$OPENAI_BASE_URL``.
        model: one of the server's models; None takes the only one that it offers.
        max_tokens: a text ends there at the latest; a sentence that this cuts is left out.
        temperature: 0 asks for the likeliest tokens; servers need not give equal texts even so.
        timeout: seconds of silence after which the server counts as gone.
        with_image: whether pictures go along; the model must then be one that sees.
        max_side: pixels; a larger picture is scaled down to this on its longer side.
        concurrency: requests at a time.
        retries: how often a busy server (429, 5xx) is asked again, after 1, 2, 4, ... times ``backoff`` seconds, or
            as long as it asks for, 60 seconds at most.

    The API key is read from ``$RAGVLM_API_KEY``, else ``$OPENAI_API_KEY``; it is sent to ``base_url`` alone.

    Raises InputError for an option out of range or a model that must be named, RagvlmError for a server that
    can't be reached or does not answer as it should.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        timeout: float = 120.0,
        with_image: bool = True,
        max_side: int = 1024,
        concurrency: int = 2,
        retries: int = 4,
        backoff: float = 1.0,
    ) -> None:
        for name, number, least in (
            ("max_tokens", max_tokens, 1), ("temperature", temperature, 0), ("max_side", max_side, 32),
            ("concurrency", concurrency, 1), ("retries", retries, 0), ("backoff", backoff, 0),
        ):  # fmt: skip
            if number < least:
                raise InputError(f"{name} is {number}: choose {least} or more")
        self.server = ChatServer(base_url, timeout=timeout, retries=retries, backoff=backoff)
        self.model = model or self.server.only_model()
        self.name = f"openai:{self.model}"
        self.max_tokens, self.temperature, self.with_image = max_tokens, temperature, with_image
        self.pictures = None if with_image else 0
        self.max_side, self.concurrency = max_side, concurrency
        self._schemas = True  # until the server refuses one

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """One text a prompt, without the model's own citations; empty for a blank one.

        Raises RagvlmError at the first prompt that the server does not answer; the others are not sent any more.
        """
        return self._pooled(self._write, prompts)

    def sample(self, prompts: Sequence[Prompt], seed: int) -> list[str]:
        """As ``generate``, with tokens drawn at SAMPLING where the temperature is 0; servers may ignore ``seed``."""
        drawn = {"temperature": self.temperature or SAMPLING, "seed": seed}
        return self._pooled(lambda prompt: self._write(prompt, **drawn), prompts)

    def _pooled(self, write: Callable[[Prompt], T], prompts: Sequence[Prompt]) -> list[T]:
        pool = ThreadPoolExecutor(self.concurrency)
        try:
            return list(pool.map(write, prompts))
        finally:
            pool.shutdown(cancel_futures=True)

    def choose(self, prompts: Sequence[Prompt], options: Sequence[str]) -> list[Chosen]:
        """One of ``options`` a prompt, by the server's structured output (a JSON schema), without a probability.

        Of a server that knows no schemas, and of one that ignores them, the option that its answer means; "" where it
        means none. Raises what ``generate`` raises.
        """
        return self._pooled(lambda prompt: (self._choose(prompt, options), None), prompts)

    def _choose(self, prompt: Prompt, options: Sequence[str]) -> str:
        if prompt.blank:
            return ""
        text = ""
        if self._schemas:
            try:
                text = self._ask(prompt, response_format=_schema(options))[0]
            except RefusedError:  # the same without a schema tells whether it was that
                self._schemas = False
        text = text or self._ask(prompt)[0]
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            text = str(json.loads(text)["answer"])
        return choose(text, options) or ""

    def _write(self, prompt: Prompt, **more: Any) -> str:
        if prompt.blank:
            return ""
        text, cut = self._ask(prompt, **more)
        return tidy(text, len(prompt.cited_ids), cut=cut)

    def _ask(self, prompt: Prompt, **more: Any) -> tuple[str, bool]:
        """The answer, and whether the bound on tokens cut it."""
        body = {
            "model": self.model,
            "messages": self._messages(prompt),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stream": False,
        }
        return _first_choice(self.server.post("chat/completions", body | more), self.server.base_url)

    def _messages(self, prompt: Prompt) -> list[dict[str, Any]]:
        content: Any = prompt.user
        if self.with_image and (prompt.images or prompt.parts):
            parts = prompt.parts or (prompt.user,)
            new = () if 0 in parts or not prompt.images else (0,)
            content = [self._part(prompt, part) for part in (*parts, *new)]
        return [{"role": "system", "content": prompt.system}, {"role": "user", "content": content}]

    def _part(self, prompt: Prompt, part: str | int) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        return {"type": "image_url", "image_url": {"url": data_uri(picture(prompt, part), self.max_side)}}


def _schema(options: Sequence[str]) -> dict[str, Any]:
    """OpenAI's structured output, which vLLM, llama.cpp, Ollama and TGI take as well."""
    answer = {"type": "string", "enum": list(options)}
    shape = {"type": "object", "properties": {"answer": answer}, "required": ["answer"], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": shape}}


def _first_choice(answer: Any, base_url: str) -> tuple[str, bool]:
    """The text, and whether the bound on tokens cut it."""
    try:
        choice = answer["choices"][0]
        text, reason = choice["message"]["content"] or "", choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise RagvlmError(
            f"{base_url}: the answer holds no choices[0].message.content: is it a chat server?"
        ) from error
    if not isinstance(text, str):
        raise RagvlmError(f"{base_url}: the answer's content is not text: choose a model that writes text")
    # reasoning models think aloud before they answer; a thought that the bound cut has no answer after it
    return re.sub(r"<think>.*?(</think>|$)", "", text, flags=re.DOTALL).strip(), reason == "length"
