"""Labels with their prompts: words, a text file with one label a line, a TOML file, or a set that ragvlm brings."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from ragvlm.errors import InputError

SLOT = "{label}"
_SUFFIXES = (".toml", ".txt")
_FIELDS = {"name", "title", "source", "licence", "templates", "labels"}
_LABEL_FIELDS = {"id", "name", "prompts"}


@dataclass(frozen=True, slots=True)
class LabelSet:
    """``names[i]`` is shown for the label ``ids[i]``; ``phrases[i]`` are the words that stand for it in the templates.

    ``templates`` are sentences with {label} in them. ``name`` is the set's, None for words that were typed.
    """

    names: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]
    ids: tuple[str, ...]
    templates: tuple[str, ...] = (SLOT,)
    name: str | None = None
    title: str | None = None
    source: str | None = None
    licence: str | None = None

    @property
    def prompts(self) -> tuple[tuple[str, ...], ...]:
        """The texts of each label: every phrase through every template."""
        return tuple(
            tuple(template.replace(SLOT, phrase) for template in self.templates for phrase in phrases)
            for phrases in self.phrases
        )


def shipped() -> tuple[str, ...]:
    """The names of the label sets that ragvlm brings."""
    return tuple(sorted(item.name.removesuffix(".toml") for item in _shipped_folder().iterdir()))


def as_label_set(
    labels: str | Path | Sequence[str] | LabelSet, templates: str | Sequence[str] | None = None
) -> LabelSet:
    """``labels`` as a label set, with ``templates`` in place of its own where they are given.

    A string (or a list of one) is the path of a .toml or .txt file, or the name of a set that ragvlm brings, or else a
    label. Raises InputError for a file that can't be read, naming it and the place in it, for labels that are empty or
    double, and for a template without {label}.
    """
    found = labels if isinstance(labels, LabelSet) else _read(labels)
    if templates:
        found = replace(found, templates=(templates,) if isinstance(templates, str) else tuple(templates))
    _check(found)
    return found


def _read(labels: str | Path | Sequence[str]) -> LabelSet:
    words = [labels] if isinstance(labels, (str, Path)) else list(labels)
    if len(words) == 1:
        one = words[0]
        if one in shipped():
            return _from_toml(_shipped_folder().joinpath(f"{one}.toml").read_text(encoding="utf-8"), str(one))
        if isinstance(one, Path) or one.lower().endswith(_SUFFIXES):
            return _from_file(Path(one))
    if not all(isinstance(word, str) for word in words):
        raise InputError("labels are words, a .toml or .txt file, or the name of a label set: give one of these")
    return _of_words([str(word) for word in words])


def _of_words(words: Sequence[str], name: str | None = None) -> LabelSet:
    names = tuple(word.strip() for word in words)
    return LabelSet(names=names, phrases=tuple((word,) for word in names), ids=names, name=name)


def _from_file(path: Path) -> LabelSet:
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"labels {path}: give a .toml file, or a .txt file with one label a line")
    try:
        text = path.expanduser().read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(
            f"labels {path}: can't be read ({reason}); give a .toml or .txt file, or one of {', '.join(shipped())}"
        ) from error
    if path.suffix.lower() == ".toml":
        return _from_toml(text, str(path))
    return _of_words([line for line in text.splitlines() if line.strip()], path.stem)


def _from_toml(text: str, where: str) -> LabelSet:
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"labels {where}: {error}") from error
    _known(table, _FIELDS, where)
    rows = table.get("labels")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"labels {where}: holds no [[labels]] tables, one a label, each with a name")
    for number, row in enumerate(rows, 1):
        _known(row, _LABEL_FIELDS, f"{where}, label {number}")
    names = tuple(_text(row, "name", f"{where}, label {i}") for i, row in enumerate(rows, 1))
    about = {key: _text(table, key, where) for key in ("name", "title", "source", "licence") if key in table}
    return LabelSet(
        names=names,
        phrases=tuple(_texts(row, "prompts", f"{where}, label {i}") or (row["name"],) for i, row in enumerate(rows, 1)),
        ids=tuple(
            _text(row, "id", f"{where}, label {i}") if "id" in row else names[i - 1] for i, row in enumerate(rows, 1)
        ),
        templates=_texts(table, "templates", where) or (SLOT,),
        **{"name": Path(where).stem, **about},
    )


def _known(table: Mapping[str, Any], fields: set[str], where: str) -> None:
    strange = sorted(set(table) - fields)
    if strange:
        raise InputError(f"labels {where}: unknown key {strange[0]!r}: the keys are {', '.join(sorted(fields))}")


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"labels {where}: {key} is {value!r}: give some words in quotes")
    return value


def _texts(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    values = table.get(key, [])
    if not isinstance(values, list) or not all(isinstance(v, str) and v.strip() for v in values):
        raise InputError(f"labels {where}: {key} is {values!r}: give a list of words in quotes")
    return tuple(values)


def _check(found: LabelSet) -> None:
    where = f"labels {found.name}" if found.name else "labels"
    if not found.names:
        raise InputError(
            f"{where}: there are none: give two or more words, a .toml or .txt file, or one of {', '.join(shipped())}; "
            "or a classifier with labels of its own, such as vit"
        )
    for position, name in enumerate(found.names):
        if not name.strip():
            raise InputError(f"{where}: label {position + 1} is empty: leave it out or give it a name")
        if name in found.names[:position]:
            raise InputError(f"{where}: {name!r} stands there twice: leave one out")
    for template in found.templates:
        if SLOT not in template:
            raise InputError(
                f'template {template!r} has no {SLOT}: write it where the label goes, as in "a photo of {SLOT}"'
            )


def _shipped_folder() -> Any:
    return files("ragvlm").joinpath("data/labels")
