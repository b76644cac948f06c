"""Context -> prompt. The wording lives in ``data/templates/*.jinja``; captions enter as quoted, cleaned data."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import cache
from importlib.resources import files
from pathlib import Path

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ragvlm.errors import InputError
from ragvlm.language.labels import label_sentences
from ragvlm.types import Context, Prompt, Record

MAX_CHARS = 6000
MAX_CAPTION_CHARS = 800


def build_prompt(context: Context, *, template: str = "describe", max_chars: int = MAX_CHARS) -> Prompt:
    """The prompt for ``context``: its references numbered from 1, best first.

    Args:
        context: the query and its hits. Only captions (labels where there is no caption) and the words of the
            query are written down: no ids, subjects, studies, paths or extra columns.
        template: name of a file in ``data/templates``, or the path of your own ``.jinja`` file with the blocks
            ``system`` and ``user``.
        max_chars: bound on the characters of system and user text together (English: about four a token). The
            farthest references are dropped until the prompt fits.

    Returns:
        The prompt; ``cited_ids[i]`` is the record behind ``[i + 1]``.

    Raises:
        InputError: an unknown or broken template, or ``max_chars`` too small for the template itself.
    """
    page = _template(template)
    told = [(hit.record.id, text) for hit in context.hits if (text := reference_text(hit.record))]
    question = clean(context.query.text or "")
    while True:
        lines = [{"number": n, "text": text} for n, (_, text) in enumerate(told, 1)]
        system, user = (_render(page, block, lines, question) for block in ("system", "user"))
        if len(system) + len(user) <= max_chars:
            break
        if not told:
            needed = len(system) + len(user)
            raise InputError(f"max_chars={max_chars}: the template {template!r} alone needs {needed} characters")
        told.pop()
    images = () if context.query.image is None else (context.query.image,)
    return Prompt(system, user, images, tuple(record_id for record_id, _ in told), context)


def reference_text(record: Record) -> str:
    """What a prompt may say of ``record``: its caption, else its labels as sentences, else nothing; cleaned."""
    return clean(record.caption or "") or clean(" ".join(label_sentences(record)))


def clean(text: str, max_chars: int = MAX_CAPTION_CHARS) -> str:
    """``text`` as data for a quoted line: it can't close its quotes, start a line, fake a citation or a chat token.

    Control and invisible characters become spaces, double quotes single ones, square brackets round ones, and
    an angle bracket that would open a tag such as ``<|im_end|>`` a typographic one. Longer than ``max_chars``
    characters: cut at a word, with an ellipsis.
    """
    visible = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in unicodedata.normalize("NFKC", text))
    plain = re.sub(r"[\"“”„«»]", "'", visible).translate({91: "(", 93: ")", 96: "'"})
    plain = " ".join(re.sub(r"<(?=[^\s\d=])", "‹", plain).split())
    if len(plain) <= max_chars:
        return plain
    return plain[: max_chars - 1].rsplit(" ", 1)[0] + "…"


def prompt_hash(prompt: Prompt) -> str:
    """SHA-256 (hexadecimal) of what the generator reads: system text, a zero byte, user text, both UTF-8."""
    return hashlib.sha256(f"{prompt.system}\0{prompt.user}".encode()).hexdigest()


def template_names() -> list[str]:
    """The templates that ragvlm brings."""
    folder = files("ragvlm").joinpath("data/templates")
    return sorted(entry.name.removesuffix(".jinja") for entry in folder.iterdir() if entry.name.endswith(".jinja"))


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    # plain text for a language model, not HTML: clean() does the escaping that matters here
    return ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)


def _template(name: str) -> jinja2.Template:
    if name.endswith(".jinja"):
        try:
            source = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"template {name}: can't be read ({error}): give a UTF-8 text file") from error
    elif name in template_names():
        source = files("ragvlm").joinpath(f"data/templates/{name}.jinja").read_text(encoding="utf-8")
    else:
        raise InputError(f"unknown template {name!r}: choose one of {', '.join(template_names())}, or a .jinja file")
    try:
        page = _environment().from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"template {name}, line {error.lineno}: {error.message}") from error
    if missing := {"system", "user"} - set(page.blocks):
        raise InputError(f"template {name}: has no block {sorted(missing)[0]!r}: it needs the blocks system and user")
    return page


def _render(page: jinja2.Template, block: str, references: list[dict[str, object]], question: str) -> str:
    try:
        return "".join(page.blocks[block](page.new_context({"references": references, "question": question}))).strip()
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"template block {block!r} fails: {error}: it may use references and question") from error
