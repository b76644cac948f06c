"""``ragvlm eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out


def evaluate(
    suite: Annotated[Path, typer.Argument(help="A suite: see eval/ and docs/evaluation.md.", metavar="SUITE.toml")],
    index_dir: Annotated[
        Path | None, typer.Option("--index", "-i", help="Retrieve from this index [the suite's own].", metavar="DIR")
    ] = None,
    generator: Annotated[
        list[str] | None,
        typer.Option(
            "--generator",
            "-g",
            help="What is evaluated; may be repeated: a generator, a classifier or a mode of search [the suite's].",
            metavar="NAME",
        ),
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="Of the suite's own index [embedded].")] = None,
    to: Annotated[Path | None, typer.Option("--out", help="The run's folder [eval/runs/NAME].", metavar="DIR")] = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Repeat all with blank and shuffled pictures and with other references.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Ask about at most so many pictures.", metavar="N")] = None,
    keep_leaks: Annotated[
        bool, typer.Option("--keep-leaks", help="Keep queries that share a picture with the index, and say so loudly.")
    ] = False,
    keep_subject: Annotated[
        bool, typer.Option("--keep-subject", help="Retrieve from a query's own subject too, and say so loudly.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Of random captions, controls and intervals [the suite's].")] = None,
    resamples: Annotated[int, typer.Option(help="Of intervals and p-values.")] = 2000,
    as_json: arg.Json = False,
) -> None:
    """Score a suite beside its baselines, with intervals and paired differences.

    An interrupted run goes on where it stopped when the same command is given again.
    """
    from ragvlm.errors import InputError
    from ragvlm.evaluation.run import evaluate

    if index_dir and encoder:
        raise InputError("give --encoder or --index, not both: an index brings its own encoder")
    results = evaluate(
        tuple(generator or ()),
        suite=suite,
        index=index_dir,
        encoder=encoder,
        out=to,
        controls=controls,
        limit=limit,
        keep_leaks=keep_leaks,
        keep_subject=keep_subject,
        seed=seed,
        resamples=resamples,
        progress=out.progress,
    )
    if results.warning:
        out.say(results.warning)
    if as_json:
        out.print_json({"folder": str(results.folder), **results.metrics})
    else:
        out.terminal().show_results(results)
        out.say(f"report: {results.folder / 'report.html'}")
