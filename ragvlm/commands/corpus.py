"""``ragvlm corpus``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragvlm import output as out


def simulate(
    directory: Annotated[Path, typer.Argument(help="Where to write the corpus.", metavar="DIR")],
    n: Annotated[int, typer.Option(help="How many micrographs.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers.")] = 0,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; may be repeated.")] = None,
    regions: Annotated[
        bool, typer.Option("--regions", help="Write boxes and masks of all objects too, for `ragvlm ground`.")
    ] = False,
) -> None:
    """Simulate a corpus of micrographs with exact captions and labels."""
    from ragvlm.simulate import simulate_corpus

    with out.progress("Simulating") as progress:
        simulate_corpus(directory, n, seed, kinds=kind, regions=regions, progress=progress)
    typer.echo(f"{n} micrographs in {directory}")
