"""``ragvlm tune`` (the sub-commands join it in cli.py) and ``ragvlm tune-index``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out

app = typer.Typer(
    help="Train on a corpus of your own: adapters, prompts, heads, classifiers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def recipes(as_json: arg.Json = False) -> None:
    """List the recipes: settings of the literature by name, for --recipe."""
    from ragvlm.tuning.recipes import load_recipe, recipe_names

    found = [load_recipe(name) for name in recipe_names()]
    if as_json:
        out.print_json([asdict(recipe) for recipe in found])
    else:
        out.terminal().show_mapping({r.name: f"{r.command}: {r.summary}" for r in found})


def tune_index(
    directory: Annotated[Path, typer.Argument(help="An index folder.", metavar="DIR")],
    recall: Annotated[float, typer.Option(help="The share of true neighbours to find.")] = 0.99,
    k: Annotated[int, typer.Option("-k", "--k", help="Neighbours a query.")] = 10,
    queries: Annotated[int, typer.Option(help="Queries to measure with.")] = 400,
    seed: Annotated[int, typer.Option(help="Chooses the queries.")] = 0,
    as_json: arg.Json = False,
) -> None:
    """Measure how far a fast store must look to find the neighbours, and keep that setting in the index.

    Exit code 1 where no setting reaches the recall: the best is kept.
    """
    from ragvlm.index.tune import tune_index as tune

    with out.progress("Tuning") as progress:
        found = tune(directory, recall=recall, k=k, queries=queries, seed=seed, progress=progress)
    if as_json:
        out.print_json([item.to_dict() for item in found])
    else:
        for item in found:
            typer.echo(str(item))
    if not all(item.reached for item in found):
        out.say(f"a recall of {recall:g} is not reached: try another store, or a store option such as m=48")
        raise typer.Exit(1)
