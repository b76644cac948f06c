"""Context -> prompt. The wording lives in templates (``ragvlm.templates``); captions enter as quoted, cleaned data."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from ragvlm.errors import InputError
from ragvlm.language.labels import label_sentences
from ragvlm.templates import DEFAULT, Template, cut_at_pictures, load_template, mark
from ragvlm.types import Context, Prompt, Record

MAX_CHARS = 6000
MAX_CAPTION_CHARS = 800
MAX_DRAFT_CHARS = 4000


def build_prompt(
    context: Context,
    *,
    template: str | Template = DEFAULT,
    max_chars: int | None = None,
    fits: Callable[[Prompt], bool] | None = None,
    pictures: int | None = None,
    draft: str | None = None,
    choices: Sequence[str] = (),
) -> Prompt:
    """The prompt for ``context``: its references numbered from 1, best first; ``cited_ids[i]`` is behind ``[i + 1]``.

    The farthest references are dropped until the prompt fits; ``Prompt.dropped`` counts them.

    Args:
        context: the query and its hits. Only captions (labels where there is no caption) and the words of the
            query are written down: no ids, subjects, studies, paths or extra columns.
        template: name of a file in ``data/templates``, or the path of your own ``.jinja`` file.
        max_chars: bound on the characters of system and user text together (English: about four a token). None
            is 6000, or no bound where ``fits`` is given.
        fits: whether a prompt fits the generator, as its own tokenizer counts.
        pictures: how many the generator takes, the query's included (None: any number); the nearest references' go in.
        draft: what the generator wrote in the first turn; given, this is the prompt of the second.
        choices: the answers that are allowed.

    Raises InputError for an unknown or broken template, a ``draft`` for a template of one turn, and a prompt that is
    too long even with its nearest reference alone.
    """
    page = load_template(template) if isinstance(template, str) else template
    turn = "user" if draft is None else "then"
    if turn not in page.turns:
        raise InputError(f"template {page.name}: has no block 'then': it asks once")
    told = [hit.record for hit in context.hits if reference_text(hit.record)] if page.tells(turn) else []
    bound = MAX_CHARS if max_chars is None and fits is None else max_chars
    least = min(1, len(told))  # no reference at all would be another task
    room = len(told) if pictures is None else pictures - 1
    for count in range(len(told), least - 1, -1):
        values = _values(context, told[:count], room, clean(draft or "", MAX_DRAFT_CHARS))
        values["choices"] = [clean(choice) for choice in choices]
        prompt = _filled(page, turn, context, values, told[:count], len(told) - count)
        if (bound is None or _chars(prompt) <= bound) and (fits is None or fits(prompt)):
            return prompt
    raise _too_long(prompt, page.name, bound)


def reference_text(record: Record) -> str:
    """What a prompt may say of ``record``: its caption, else its labels as sentences, else nothing; cleaned."""
    return clean(record.caption or "") or clean(" ".join(label_sentences(record)))


def clean(text: str, max_chars: int = MAX_CAPTION_CHARS) -> str:
    """``text`` as data for a quoted line: it can't close its quotes, start a line, fake a citation or a chat token.

    Control, private and invisible characters become spaces, double quotes single ones, square brackets round ones,
    and an angle bracket that would open a tag such as ``<|im_end|>`` a typographic one. Longer than ``max_chars``
    characters: cut at a word, with an ellipsis.
    """
    visible = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in unicodedata.normalize("NFKC", text))
    plain = re.sub(r"[\"“”„‟❝❞〝〞〟«»]", "'", visible).translate({91: "(", 93: ")", 96: "'"})
    # "<5 um" and "p <= 0.05" are numbers, <0x0A> is a token
    plain = " ".join(re.sub(r"<(?=[^\s\d=]|[\d=]\S*>)", "‹", plain).split())
    if len(plain) <= max_chars:
        return plain
    return plain[: max_chars - 1].rsplit(" ", 1)[0] + "…"


def prompt_hash(prompt: Prompt) -> str:
    """SHA-256 (hexadecimal) of what the generator reads: system text, a zero byte, user text, both UTF-8.

    Where the template gives pictures their places, a zero byte and ``Prompt.parts`` as JSON too.
    """
    places = f"\0{json.dumps(prompt.parts)}" if prompt.parts else ""
    return hashlib.sha256(f"{prompt.system}\0{prompt.user}{places}".encode()).hexdigest()


def _values(context: Context, told: Sequence[Record], room: int, draft: str) -> dict[str, Any]:
    """What a template sees; ``room`` is for that many pictures of references."""
    return {
        "references": [
            {"number": n, "text": reference_text(record), "picture": mark(n) if record.image and n <= room else ""}
            for n, record in enumerate(told, 1)
        ],
        "picture": "" if context.query.image is None else mark(0),
        "question": clean(context.query.text or ""),
        "draft": draft,
    }


def _filled(
    page: Template, turn: str, context: Context, values: dict[str, Any], told: Sequence[Record], dropped: int
) -> Prompt:
    system, parts = page.render("system", values), cut_at_pictures(page.render(turn, values))
    if any(isinstance(part, int) for part in cut_at_pictures(system)):
        raise InputError(f"template {page.name}: the block 'system' holds a picture: write it into the block {turn!r}")
    return Prompt(
        system=system,
        user="".join(part for part in parts if isinstance(part, str)),
        images=() if context.query.image is None else (context.query.image,),
        cited_ids=tuple(record.id for record in told),
        context=context,
        parts=parts if any(isinstance(part, int) for part in parts) else (),
        dropped=dropped,
        blank=page.tells(turn) and not told,
    )


def _chars(prompt: Prompt) -> int:
    return len(prompt.system) + len(prompt.user)


def _too_long(prompt: Prompt, template: str, bound: int | None) -> InputError:
    what = f"template {template!r} with {'the nearest reference alone' if prompt.cited_ids else 'no reference'}"
    if bound is not None and _chars(prompt) > bound:
        return InputError(f"max_chars={bound}: {what} needs {_chars(prompt)} characters: give that many")
    return InputError(
        f"query {prompt.context.query.id!r}: {what} is too long for this generator: "
        "take a shorter template or answer, fewer or smaller pictures, or a generator with a longer context"
    )
