"""Contexts -> texts: a template's turns, asked of one generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ragvlm.errors import InputError
from ragvlm.language.sentences import normalise, split_sentences
from ragvlm.prompt import build_prompt, clean
from ragvlm.templates import DEFAULT, Template, load_template
from ragvlm.types import Context, Generator, Prompt


@dataclass(frozen=True, slots=True)
class Written:
    """A text and the prompts behind it, one a turn."""

    text: str
    prompts: tuple[Prompt, ...]


class Writer:
    """Asks ``generator`` by ``template``; references that don't fit are dropped, the farthest first.

    max_chars: bound on a prompt's characters; None leaves it to the generator's own tokenizer, else to 6000.

    Raises InputError for an unusable template or bound, and for a generator that the template can't be told to.
    """

    def __init__(self, generator: Generator, template: str = DEFAULT, max_chars: int | None = None) -> None:
        if max_chars is not None and max_chars < 1:
            raise InputError(f"max_chars is {max_chars}: choose 1 or more")
        self.generator, self.max_chars = generator, max_chars
        self.template = load_template(template)
        self.reads = str(getattr(generator, "reads", "prompt"))
        self.pictures: int | None = getattr(generator, "pictures", 1)
        self._check(self.template)

    def first_turn(self, contexts: Sequence[Context]) -> list[Written]:
        """One text a context, in order, from one call of the generator."""
        prompts = [self._prompt(context) for context in contexts]
        texts = self.generator.generate(prompts)
        return [Written(text, (prompt,)) for text, prompt in zip(texts, prompts, strict=True)]

    def second_turn(self, written: Sequence[Written]) -> list[Written]:
        """``written`` and what the generator adds to it; where the first turn said nothing it isn't asked again.

        Sentences that the second turn repeats are left out.
        """
        prompts = {i: self._prompt(w.prompts[0].context, w.text) for i, w in enumerate(written) if clean(w.text)}
        texts = self.generator.generate(list(prompts.values())) if prompts else []
        found = list(written)
        for (i, prompt), text in zip(prompts.items(), texts, strict=True):
            first = found[i]
            found[i] = replace(first, text=_joined(first.text, text), prompts=(*first.prompts, prompt))
        return found

    def check_question(self) -> None:
        """Raises InputError where the generator would not hear a question."""
        if self.reads == "references":
            raise InputError(
                f"generator {self.generator.name!r} hears no question: choose one that writes, such as smollm2 or "
                "smolvlm, or mode fused, where the words help to find the references"
            )

    def _prompt(self, context: Context, draft: str | None = None) -> Prompt:
        fits = getattr(self.generator, "fits", None)
        return build_prompt(
            context,
            template=self.template,
            max_chars=self.max_chars,
            fits=fits,
            pictures=self.pictures,
            draft=draft,
        )

    def _check(self, template: Template) -> None:
        pictures, name = self.pictures, f"generator {self.generator.name!r}"
        if self.reads != "prompt":
            if template.name != DEFAULT:
                raise InputError(
                    f"{name} reads no prompt, so template {template.name!r} would change nothing: leave it out, or "
                    "choose a generator that follows instructions, such as smollm2 or smolvlm"
                )
            return
        if template.shows_pictures and pictures is not None and pictures < 2:
            raise InputError(
                f"{name} takes {'one picture a prompt' if pictures else 'no pictures'}, but template {template.name!r} "
                "shows several: choose a generator that takes them, such as smolvlm or openai"
            )
        if not template.shows_references and pictures == 0:
            raise InputError(
                f"{name} sees no pictures, and template {template.name!r} tells no references: it would write from "
                "nothing; choose another template, or a generator that sees, such as smolvlm"
            )


def _joined(first: str, second: str) -> str:
    """Both texts, the second as a paragraph of its own, so that no sentence runs on into it."""
    said = {normalise(sentence) for sentence in split_sentences(first)}
    new = [sentence for sentence in split_sentences(second) if normalise(sentence) not in said]
    return "\n\n".join([first, " ".join(new)] if new else [first])
