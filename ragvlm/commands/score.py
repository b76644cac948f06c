"""``ragvlm score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out


def score(
    predictions: Annotated[
        Path, typer.Argument(help="What was predicted: .jsonl, .json, .csv, .tsv or a TREC run.", metavar="PREDICTIONS")
    ],
    references: Annotated[
        Path, typer.Argument(help="What is right, by the same ids; for a TREC run its qrels.", metavar="REFERENCES")
    ],
    task: Annotated[
        str | None, typer.Option(help="describe, vqa, classify, retrieve, ground or pictures [by the columns].")
    ] = None,
    measure: Annotated[
        list[str] | None, typer.Option("--measure", help="Only this one; may be repeated [the task's].", metavar="NAME")
    ] = None,
    common: Annotated[bool, typer.Option("--common", help="Leave out ids that only one file has.")] = False,
    to: Annotated[
        Path | None, typer.Option("--out", help="A folder that ragvlm compare can take.", metavar="DIR")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of intervals.", min=0)] = 0,
    resamples: Annotated[int, typer.Option(help="Of intervals.")] = 2000,
    as_json: arg.Json = False,
) -> None:
    """Score anybody's predictions: figures with 95 % intervals, by subject where the references name one."""
    from ragvlm.evaluation.score import score

    with out.progress("Scoring") as update:
        found = score(
            predictions,
            references,
            task=task,
            measures=measure or (),
            common=common,
            out=to,
            seed=seed,
            resamples=resamples,
            progress=update,
        )
    if as_json:
        out.print_json(found.metrics)
    else:
        out.terminal().show_scores(found)
        if found.undefined:
            out.say(f"not defined on these files: {', '.join(found.undefined)}")
