"""Templates of prompts: files of ``data/templates`` or your own, Jinja with a block a turn.

``system`` and ``user`` are the first turn; a block ``then`` is a second one, asked with the same ``system``. They see

- ``references``: each with ``number``, ``text`` (cleaned, to be put in double quotes) and ``picture``,
- ``picture``: the new picture; it and a reference's ``picture`` are written where the picture shall stand,
- ``question``: the words of the query, or nothing,
- ``draft``: what the first turn wrote, or nothing,
- ``choices``: the answers that are allowed, or none.

What a template needs follows from what its blocks use: one without ``references`` gets none, one that writes a
reference's ``picture`` asks for a generator that takes several pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ragvlm.errors import InputError

TURNS = ("user", "then")
DEFAULT = "describe"
# private-use characters, which no cleaned text holds, around the number of a picture
_MARK = re.compile("\ue000(\\d+)\ue001")


def mark(number: int) -> str:
    """What a template writes where the picture of reference ``number`` stands; 0 is the new picture."""
    return f"\ue000{number}\ue001"


def cut_at_pictures(text: str) -> tuple[str | int, ...]:
    """``text`` as its parts: words, and numbers of pictures."""
    pieces = _MARK.split(text)
    return tuple(int(piece) if i % 2 else piece for i, piece in enumerate(pieces) if piece)


@dataclass(frozen=True, slots=True)
class Template:
    """A template that can be rendered. ``uses``: names of variables and attributes by block."""

    name: str
    blocks: Mapping[str, Any]
    uses: Mapping[str, frozenset[str]]
    page: jinja2.Template

    @property
    def turns(self) -> tuple[str, ...]:
        """The blocks that are asked one after the other: "user", and "then" where there is a second turn."""
        return tuple(turn for turn in TURNS if turn in self.blocks)

    @property
    def shows_pictures(self) -> bool:
        """Whether the pictures of references are to go along."""
        return any({"references", "picture of reference"} <= used for used in self.uses.values())

    @property
    def shows_references(self) -> bool:
        """Whether any turn tells what the references say."""
        return any(self.tells(turn) for turn in self.turns)

    def tells(self, turn: str) -> bool:
        """Whether ``turn`` tells what the references say."""
        return "references" in self.uses["system"] | self.uses[turn]

    def render(self, block: str, values: Mapping[str, Any]) -> str:
        """The text of ``block``. Raises InputError where it fails."""
        try:
            return "".join(self.blocks[block](self.page.new_context(dict(values)))).strip()
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise InputError(
                f"template {self.name}, block {block!r} fails: {error}: it may use {', '.join(values)}"
            ) from error


def load_template(name: str) -> Template:
    """The template ``name`` of ``data/templates``, or the ``.jinja`` file ``name``.

    Raises InputError for an unknown name, a file that can't be read or parsed, and an absent block.
    """
    return _parsed(name, template_source(name))


def template_source(name: str) -> str:
    """What stands in the file of a template. Raises InputError for an unknown name, and a file that can't be read."""
    if name.endswith(".jinja"):
        try:
            return Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"template {name}: can't be read ({error}): give a UTF-8 text file") from error
    if name in template_names():
        return files("ragvlm").joinpath(f"data/templates/{name}.jinja").read_text(encoding="utf-8")
    raise InputError(f"unknown template {name!r}: choose one of {', '.join(template_names())}, or a .jinja file")


@lru_cache(maxsize=32)
def _parsed(name: str, source: str) -> Template:
    try:
        tree, page = _environment().parse(source), _environment().from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"template {name}, line {error.lineno}: {error.message}") from error
    if missing := {"system", "user"} - set(page.blocks):
        raise InputError(f"template {name}: has no block {sorted(missing)[0]!r}: it needs the blocks system and user")
    return Template(name, page.blocks, {block.name: _used(block) for block in tree.find_all(nodes.Block)}, page)


def template_names() -> list[str]:
    """The templates that ragvlm brings."""
    folder = files("ragvlm").joinpath("data/templates")
    return sorted(entry.name.removesuffix(".jinja") for entry in folder.iterdir() if entry.name.endswith(".jinja"))


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    # plain text for a language model, not HTML: prompt.clean() does the escaping that matters here
    return ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)


def _used(block: nodes.Block) -> frozenset[str]:
    names = {node.name for node in block.find_all(nodes.Name) if node.ctx == "load"}
    items: Sequence[nodes.Expr] = [node.arg for node in block.find_all(nodes.Getitem)]
    attributes = {node.attr for node in block.find_all(nodes.Getattr)}
    attributes |= {node.value for node in items if isinstance(node, nodes.Const)}
    return frozenset(names | {"picture of reference"} if "picture" in attributes else names)
