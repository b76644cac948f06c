"""Names of plug-ins -> the class behind them, imported on demand, and what is known of the models behind the names.

The plug-ins that ragvlm brings stand in ``data/models.toml``; a third party adds its own by an entry point in
the group ``ragvlm.encoders``, ``ragvlm.generators``, ``ragvlm.classifiers`` or ``ragvlm.stores``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from ragvlm.errors import InputError, missing_extra

# how a plain type is told
_TYPES: Mapping[str, tuple[type, str]] = {
    "bool": (bool, "true or false"),
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
    "str": (str, "words (a number as words stands in double quotes)"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One name: ``target`` is "module:Class", ``extra`` and ``modules`` what it needs installed.

    ``hub_id`` at ``revision`` (a commit) is the checkpoint, which the class takes as its option ``model`` with
    ``scheme`` in front; ``options`` are further arguments that go with the name. ``package`` names pip packages that
    bring weights instead. ``gated``: the hub asks for terms to be accepted. ``parameters`` are the model's, all towers
    together; ``input_size`` the side of its square input in pixels. ``run`` says what the project's tests ran it with:
    "real" weights, "tiny" random ones of its true architecture, a "stand-in" for code that a model brings, or "" where
    it has no weights. ``note``: what is peculiar.
    """

    kind: str
    name: str
    target: str
    summary: str = ""
    extra: str | None = None
    modules: tuple[str, ...] = ()
    hub_id: str | None = None
    revision: str | None = None
    scheme: str = ""
    package: str | None = None
    licence: str | None = None
    gated: bool = False
    parameters: int | None = None
    input_size: int | None = None
    languages: tuple[str, ...] = ()
    use: str | None = None
    limits: str | None = None
    run: str = ""
    note: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that it needs and that are not installed."""
        return tuple(m for m in self.modules if importlib.util.find_spec(m) is None)

    @property
    def cached(self) -> bool:
        """Whether the hub's cache here holds weights of its checkpoint, and its text tower where one is apart."""
        tower, _, commit = str(self.options.get("text_tower", "")).partition("@")
        return bool(self.hub_id) and (
            any(path.suffix in {".safetensors", ".bin", ".pt"} for path in _snapshot(str(self.hub_id), self.revision))
            and (not tower or any(path.name == "config.json" for path in _snapshot(tower, commit)))
        )

    @property
    def command(self) -> str | None:
        """The command that makes it usable, or None where it is usable now, without a network."""
        if self.missing:
            return f'pip install "ragvlm[{self.extra}]"'
        return f"ragvlm models pull {self.name}" if self.hub_id and not self.cached else None

    @property
    def model(self) -> str | None:
        """The checkpoint as the class takes it, or None where the name stands for none."""
        pinned = f"@{self.revision}" if self.revision else ""
        return f"{self.scheme}{self.hub_id}{pinned}" if self.hub_id else None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the class that go with the name."""
        return {**({"model": self.model} if self.model else {}), **self.options}

    def load(self) -> Any:
        """The class. Raises MissingExtraError with the pip command where a package is absent."""
        if self.missing:
            raise missing_extra(self.missing[0], self.extra or "all")
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)

    def to_dict(self) -> dict[str, Any]:
        """The object that ``ragvlm models --json`` prints."""
        hidden = ("target", "modules", "scheme", "options")
        facts = {name: value for name, value in asdict(self).items() if name not in hidden}
        facts |= {"kind": self.kind.removesuffix("s"), "languages": list(self.languages)}
        return {**facts, "usable": self.command is None, "command": self.command}


def _snapshot(repo: str, commit: str | None) -> list[Path]:
    """The files of a repository in the hub's cache."""
    if importlib.util.find_spec("huggingface_hub") is None:
        return []
    from huggingface_hub.constants import HF_HUB_CACHE

    return list((Path(HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "snapshots").glob(f"{commit or '*'}/*"))


@cache
def entries(kind: str) -> dict[str, Entry]:
    """All plug-ins of ``kind`` ("encoders", "generators", "classifiers", "stores"), those of third parties last."""
    table = tomllib.loads(files("ragvlm").joinpath("data/models.toml").read_text(encoding="utf-8"))
    found = {name: _entry(kind, name, row) for name, row in table.get(kind, {}).items()}
    for point in importlib.metadata.entry_points(group=f"ragvlm.{kind}"):
        found.setdefault(point.name, Entry(kind=kind, name=point.name, target=point.value, summary=str(point.dist)))
    return found


def _entry(kind: str, name: str, row: Mapping[str, Any]) -> Entry:
    lists = {key: tuple(value) for key, value in row.items() if isinstance(value, list)}
    return Entry(kind=kind, name=name, **{**row, **lists})


def create(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """The plug-in ``name`` of ``kind``, made with its own and the given options.

    ``name`` may be a plug-in's name and a model joined by a colon, or a folder that ``ragvlm tune`` wrote.

    Raises InputError for an unknown name or option and for a value of another type than the option's, MissingExtraError
    with the pip command where a package is absent, and whatever the plug-in raises.
    """
    plug_in, model = split(name)
    entry = find(kind, plug_in)
    chosen = {**entry.arguments, **({"model": model} if model else {}), **options}
    maker = entry.load()
    known = inspect.signature(maker).parameters
    for option, value in chosen.items():
        if option not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise InputError(f"{kind.removesuffix('s')} {plug_in!r} has no option {option!r}: {takes}")
        if wanted := _other_type(value, known[option].annotation):
            raise InputError(f"{kind.removesuffix('s')} {plug_in!r}: option {option!r} takes {wanted}, not {value!r}")
    return maker(**chosen)


def _other_type(value: Any, annotation: Any) -> str | None:
    """What a parameter takes, in words, where ``value`` isn't that; else, and where its type isn't simple, None."""
    # a text such as "False" would else count as true, and run code that nobody trusts
    names = {name.strip() for name in str(getattr(annotation, "__name__", annotation)).split("|")}
    simple = names & set(_TYPES)
    if not simple or names - simple - {"None"} or (value is None and "None" in names):
        return None
    fits = "bool" in simple if isinstance(value, bool) else any(isinstance(value, _TYPES[name][0]) for name in simple)
    return None if fits else " or ".join(_TYPES[name][1] for name in sorted(simple))


def takes(kind: str, name: str, option: str) -> bool:
    """Whether the plug-in ``name`` of ``kind`` (see ``create``) has ``option``; raises what ``create`` raises."""
    return option in inspect.signature(find(kind, split(name)[0]).load()).parameters


def split(name: str) -> tuple[str, str]:
    """Plug-in and model ("" where none is given) of a name as ``create`` takes it.

    A folder that ``ragvlm tune`` wrote is the model of the plug-in that its card names.
    """
    try:
        card = json.loads((Path(name) / "card.json").read_text(encoding="utf-8"))
        return str(card["plug_in"]), name
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        plug_in, _, model = name.partition(":")
        return plug_in, model


def find(kind: str, name: str) -> Entry:
    """The plug-in ``name`` of ``kind``. Raises InputError that lists the known names."""
    known = entries(kind)
    if name not in known:
        raise InputError(f"unknown {kind[:-1]} {name!r}: choose one of {', '.join(known)}")
    return known[name]
