"""``ragvlm compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders that ragvlm eval or ragvlm score --out wrote.", metavar="RUN...")
    ],
    system: Annotated[
        list[str] | None,
        typer.Option("--system", help="Compare this one; may be repeated [those that both hold].", metavar="NAME"),
    ] = None,
    measure: Annotated[
        list[str] | None, typer.Option("--measure", help="Only this one; may be repeated.", metavar="NAME")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Of folders that don't name it.")] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Compare the items that all have, and leave others.")
    ] = False,
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Each with each, not all with the first.")] = False,
    seed: Annotated[int, typer.Option(help="Of intervals and p-values.", min=0)] = 0,
    resamples: Annotated[int, typer.Option(help="Of intervals and p-values.")] = 2000,
    as_json: arg.Json = False,
) -> None:
    """Compare runs on the same items: differences with 95 % intervals and corrected p-values.

    One folder alone: its systems among each other.
    """
    from ragvlm.evaluation.compare import compare

    with out.progress("Comparing", quiet=as_json) as update:
        found = compare(
            runs,
            systems=system or (),
            measures=measure or (),
            task=task,
            common=common,
            all_pairs=all_pairs,
            seed=seed,
            resamples=resamples,
            progress=update,
        )
    for warning in found.warnings:
        out.say(warning)
    if as_json:
        out.print_json(found.to_dict())
    else:
        out.terminal().show_comparison(found)
