"""``ragvlm fuse``."""

from __future__ import annotations

from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out


def fuse(
    directory: arg.IndexFolder,
    objective: Annotated[
        str, typer.Option(help="What good references share with a query: caption, or a label or column.")
    ] = "caption",
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
    as_json: arg.Json = False,
) -> None:
    """Learn by how much pictures, captions, metadata and regions count, for --fusion learned.

    The corpus' own records are the queries, by cross-validation over its subjects; the weights are kept in the index.
    """
    from ragvlm.index import Index
    from ragvlm.weights import learn, summary

    found = learn(Index.open(directory), objective, seed=seed)
    out.print_json(found) if as_json else typer.echo(summary(found))
