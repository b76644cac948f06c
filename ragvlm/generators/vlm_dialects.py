"""How each family of vision-language models is asked: a prompt and its pictures -> the tensors that the model reads."""

from __future__ import annotations

import re
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ragvlm.errors import InputError
from ragvlm.generators.pictures import picture, pictured
from ragvlm.prompt import clean
from ragvlm.types import Prompt

if TYPE_CHECKING:
    from PIL.Image import Image


class Dialect(ABC):
    """One way to ask. ``most`` pictures fit a prompt (None: any number); ``reads`` as in the protocol Generator;
    ``task`` replaces the words of the table.
    """

    most: int | None = 1
    reads = "prompt"

    def __init__(self, processor: Any, model: str, *, neighbours: int, task: str | None) -> None:
        self.processor, self.model, self.neighbours, self.task = processor, model, neighbours, task
        if neighbours and self.most is not None:
            raise InputError(f"{model} reads one picture at a time: give neighbour_images=0")

    @abstractmethod
    def text(self, prompt: Prompt) -> str:
        """The words that go in, with their image tokens; prompts of one batch are padded to the longest."""

    def pictures(self, prompt: Prompt) -> list[Image]:
        """The pictures that go in, in the order of their image tokens."""
        return [picture(prompt, 0)]

    def answer(self, prompt: Prompt, text: str) -> str:
        """What a model that has learnt to write ``text`` writes where ``text(prompt)`` ends."""
        return text

    def inputs(self, prompts: Sequence[Prompt]) -> Any:
        """The batch as a BatchFeature of tensors."""
        texts, pictures = [self.text(p) for p in prompts], [self.pictures(p) for p in prompts]
        return self.processor(text=texts, images=pictures, padding=True, return_tensors="pt")


class Chat(Dialect):
    """The checkpoint's own chat template: SmolVLM, Idefics, LLaVA, Qwen-VL, MedGemma and most others."""

    most = None

    def text(self, prompt: Prompt) -> str:
        return self._said(prompt, [])

    def answer(self, prompt: Prompt, text: str) -> str:
        """As the template ends a turn of the model's; where it knows none, ``text`` after a space."""
        asked, whole = self.text(prompt), self._said(prompt, [_turn("assistant", [text])])
        return whole.removeprefix(asked) if whole.startswith(asked) else f" {text}"

    def _said(self, prompt: Prompt, answers: list[dict[str, Any]]) -> str:
        import jinja2

        try:
            turns = [_turn("system", [prompt.system]), _turn("user", self._parts(prompt)), *answers]
            return self._render(turns, open_end=not answers)
        except (jinja2.TemplateError, ValueError, TypeError):  # a template without a system turn
            turns = [_turn("user", self._parts(prompt, f"{prompt.system}\n\n")), *answers]
            return self._render(turns, open_end=not answers)

    def pictures(self, prompt: Prompt) -> list[Image]:
        return [picture(prompt, part) for part in self._parts(prompt) if isinstance(part, int)]

    def _parts(self, prompt: Prompt, lead: str = "") -> list[str | int]:
        """The user's turn: words, the first of which ``lead``, and numbers of pictures.

        Pictures to which the prompt gives no place come first, the query's own last among them.
        """
        parts: list[str | int] = list(prompt.parts or (prompt.user,))
        if lead:
            parts[:1] = [lead + parts[0]] if isinstance(parts[0], str) else [lead, parts[0]]
        placed = {part for part in parts if isinstance(part, int)}
        beside = [] if placed - {0} else pictured(prompt, self.neighbours)
        said, before = table()["words"], list[str | int]()
        for number in beside:
            before += [said["reference"].format(number=number), number]
        if 0 not in placed:
            before += [said["query"], 0] if beside else [0]
        return before + parts

    def _render(self, messages: list[dict[str, Any]], *, open_end: bool) -> str:
        return str(self.processor.apply_chat_template(messages, add_generation_prompt=open_end, tokenize=False))


class Text(Dialect):
    """The picture, then the whole prompt as plain text: BLIP-2 (Li et al. 2023, arXiv:2301.12597)."""

    def text(self, prompt: Prompt) -> str:
        return f"{prompt.system}\n\n{prompt.user}"

    def answer(self, prompt: Prompt, text: str) -> str:
        """After a space: byte-level tokenizers begin a word with it."""
        return f" {text}"

    def inputs(self, prompts: Sequence[Prompt]) -> Any:
        """As above, but its processor wants a flat list of pictures."""
        texts, pictures = [self.text(p) for p in prompts], [picture(p, 0) for p in prompts]
        return self.processor(text=texts, images=pictures, padding=True, return_tensors="pt")


class Task(Dialect):
    """The picture, then task words; the references don't go in: PaliGemma 1 and 2."""

    reads = "question"

    def text(self, prompt: Prompt) -> str:
        question = clean(prompt.context.query.text or "")
        words = self.task or task_words(self.model, asked=bool(question))
        return f"{self.processor.image_token}{words.replace('{question}', question)}"

    def inputs(self, prompts: Sequence[Prompt]) -> Any:
        """As above, without the labels that its processor makes for training."""
        made = super().inputs(prompts)
        made.pop("labels", None)
        return made

    def asked(self, image: Image, words: str) -> Any:
        """One picture, asked by ``words`` alone."""
        text = f"{self.processor.image_token}{clean(words)}"
        made = self.processor(text=[text], images=[image], padding=True, return_tensors="pt")
        made.pop("labels", None)
        return made


class Prefix(Dialect):
    """The picture, then the bare start of the text; no references: GIT (Wang et al. 2022, arXiv:2205.14100).

    The start is the question where one is asked, else ``task``, else nothing: CLS and ids, no SEP, which would end it.
    """

    reads = "question"

    def text(self, prompt: Prompt) -> str:
        return clean(prompt.context.query.text or "") or self.task or ""

    def inputs(self, prompts: Sequence[Prompt]) -> Any:
        """As above; prompts of equal length only, since GIT counts positions through padding."""
        tokenizer = self.processor.tokenizer
        made = self.processor(images=[picture(p, 0) for p in prompts], return_tensors="pt")
        words = [tokenizer(self.text(p), add_special_tokens=False)["input_ids"] for p in prompts]
        starts = [{"input_ids": [tokenizer.cls_token_id, *ids]} for ids in words]
        made.update(tokenizer.pad(starts, padding=False, return_tensors="pt"))
        return made


DIALECTS = {"text": Text, "task": Task, "prefix": Prefix}


def dialect_of(processor: Any, model_type: str, model: str) -> type[Dialect]:
    """The way to ask ``model``. Raises InputError where neither its family is known nor a chat template is there."""
    if name := table()["dialects"].get(model_type):
        return DIALECTS[name]
    if getattr(processor, "chat_template", None):
        return Chat
    raise InputError(f"{model} is a {model_type!r} model without a chat template: choose one with a chat template")


@cache
def table() -> dict[str, Any]:
    """``data/vlm.toml``."""
    return tomllib.loads(files("ragvlm").joinpath("data/vlm.toml").read_text(encoding="utf-8"))


def task_words(model: str, *, asked: bool) -> str:
    """PaliGemma's words for a checkpoint by its name (``-pt-``, ``-mix-``, ``-ft-``; else as ``ft``).

    Raises InputError for a checkpoint that was tuned to answer questions where none is asked.
    """
    rows = table()["paligemma"]
    name = model.rstrip("/").rpartition("/")[2].lower()
    kind = next((k for k in ("pt", "mix", "ft") if re.search(rf"(^|[-_]){k}([-_]|$)", name)), "ft")
    if kind == "ft" and not asked and any(part in name for part in rows["answers"]["names"]):
        raise InputError(f"{model} was tuned to answer questions: ask one, give task=..., or choose a -mix- checkpoint")
    return str(rows[kind]["question" if asked else "describe"])


def _turn(role: str, parts: Sequence[str | int]) -> dict[str, Any]:
    content = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in parts]
    return {"role": role, "content": content}
