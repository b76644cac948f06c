"""What the commands of ``ragvlm tune`` share: their options, recipes, and how a result is shown."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragvlm import arguments as arg
from ragvlm import output as out
from ragvlm.errors import InputError

if TYPE_CHECKING:
    from ragvlm.tuning.folder import Tuned
    from ragvlm.tuning.settings import TrainSettings

CorpusPath = Annotated[Path, typer.Option("--corpus", "-c", help="A corpus: see `ragvlm index`.", metavar="PATH")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="FIELD=COLUMN, e.g. caption=report or labels=wbc,rbc.", metavar="FIELD=COLUMN"),
]


def _follow(context: typer.Context, name: str | None) -> str | None:
    """Let the options that weren't given be those of the recipe."""
    if name is None:
        return None
    from ragvlm.tuning.recipes import load_recipe

    recipe = load_recipe(name)
    if recipe.command != context.info_name:
        raise InputError(f"recipe {name} is one of `ragvlm tune {recipe.command}`, not of {context.info_name}")
    known = {str(param.name) for param in context.command.params}
    if unknown := sorted(set(recipe.options) - known):
        raise InputError(f"recipe {name}: `ragvlm tune {recipe.command}` has no option {unknown[0]!r}")
    context.default_map = {**(context.default_map or {}), **recipe.options}
    return name


_TRAINING: dict[str, Any] = {
    "epochs": Annotated[float | None, typer.Option(help="Passes over the training part, at most.")],
    "max_steps": Annotated[int | None, typer.Option(help="Steps of the optimiser, at most.")],
    "batch_size": Annotated[int | None, typer.Option(help="Items that go through the model at a time.")],
    "accumulate": Annotated[int | None, typer.Option(help="Batches whose gradients are summed for one step.")],
    "lr": Annotated[float | None, typer.Option(help="The highest learning rate.")],
    "schedule": Annotated[str | None, typer.Option(help="How it falls: cosine, linear or constant.")],
    "warmup": Annotated[float | None, typer.Option(help="Share of the steps in which it rises.")],
    "weight_decay": Annotated[float | None, typer.Option(help="Of AdamW.")],
    "eval_steps": Annotated[int | None, typer.Option(help="Steps between evaluations [once an epoch].")],
    "patience": Annotated[int | None, typer.Option(help="Evaluations without a better one until it stops; 0: never.")],
    "precision": Annotated[
        str | None, typer.Option(help="float32, or mixed with bfloat16 or float16 where the device has it; auto.")
    ],
    "device": arg.Device,
    "seed": Annotated[int | None, typer.Option(help="Of the split, the order and the first weights.")],
    "checkpoint_minutes": Annotated[float | None, typer.Option(help="Minutes between checkpoints.")],
}
_COMMON: dict[str, Any] = {
    "to": Annotated[Path, typer.Option("--out", "-o", help="The result's folder, a new one.", metavar="DIR")],
    "validation": Annotated[float, typer.Option(help="Share of the subjects that is validated on.")],
    "test": Annotated[float, typer.Option(help="Share of the subjects that is tested on at the end; 0: none.")],
    "recipe": Annotated[
        str | None,
        typer.Option(
            help="Options by name (see `ragvlm tune recipes`) or a .toml file; those that are given here come first.",
            callback=_follow,
            is_eager=True,
            metavar="NAME",
        ),
    ],
    "as_json": arg.Json,
}
_DEFAULTS = {"to": inspect.Parameter.empty, "validation": 0.1, "test": 0.1, "recipe": None, "as_json": False}


@dataclass(frozen=True, slots=True)
class Common:
    """The shared options as they were given."""

    to: Path
    validation: float
    test: float
    recipe: str | None
    as_json: bool
    training: dict[str, Any]

    def settings(self, **defaults: Any) -> TrainSettings:
        """The settings of the training; ``defaults`` are the command's own."""
        from ragvlm.tuning.settings import settings_of

        return settings_of(self.training, **defaults)

    @property
    def command(self) -> str:
        """The command as it was given, for the model card."""
        return command_line()

    def show(self, tuned: Tuned) -> None:
        """Print the result."""
        if self.as_json:
            out.print_json(tuned.to_dict())
            return
        card = tuned.card
        training = card["training"]
        if training["note"]:
            out.say(training["note"])
        rows = {
            f"{part} {name}": value for part, measures in card["metrics"].items() for name, value in measures.items()
        }
        out.terminal().show_mapping({"folder": str(tuned.folder), "steps": training["steps"], **rows})
        out.say(f"report: {tuned.folder / 'report.html'}")
        out.say(f"use it: {card['use'].format(folder=tuned.folder)}")


def command_line() -> str:
    """The command as it was given."""
    return shlex.join(["ragvlm", *sys.argv[1:]])


def trains(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the options that every training has; it gets them as its last argument, a Common."""
    own = inspect.signature(command, eval_str=True)
    parameters = [
        *([p.replace(kind=p.KEYWORD_ONLY) for p in own.parameters.values() if p.annotation is not Common]),
        *(_parameter(name, kind, _DEFAULTS[name]) for name, kind in _COMMON.items()),
        *(_parameter(name, kind, None) for name, kind in _TRAINING.items()),
    ]
    parameters.sort(key=lambda p: p.default is not p.empty)

    @wraps(command)
    def run(**given: Any) -> None:
        training = {name: given.pop(name) for name in _TRAINING}
        common = Common(training=training, **{name: given.pop(name) for name in _COMMON})
        command(**given, common=common)

    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def _parameter(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
