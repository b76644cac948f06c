"""``ragvlm tune classifier``."""

from __future__ import annotations

from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out
from ragvlm.commands.tuneoptions import Columns, Common, CorpusPath, trains


@trains
def classifier(
    corpus: CorpusPath,
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="vit, resnet, vilt, a checkpoint like them, or an encoder.", metavar="NAME"),
    ],
    labels: Annotated[
        str | None, typer.Option(help="The label or column to learn; vilt learns answers and takes none.")
    ] = None,
    train: Annotated[
        str, typer.Option(help="full or head of a checkpoint; linear or knn on an encoder [linear there].")
    ] = "full",
    k: Annotated[int, typer.Option("-k", "--k", help="Neighbours of knn.")] = 10,
    column: Columns = None,
    *,
    common: Common,
) -> None:
    """Learn to tell labels apart: fine-tune a model or its head, or probe an encoder.

    The result is a classifier: ragvlm classify PICTURE --labels FOLDER; of vilt a generator. After a kill the same
    command goes on.
    """
    from ragvlm.tuning.classifier import DEFAULTS, tune_classifier

    common.show(
        tune_classifier(
            model,
            corpus,
            common.to,
            labels,
            train=train,
            k=k,
            settings=common.settings(**DEFAULTS),
            columns=arg.pairs(column, "--column"),
            validation=common.validation,
            test=common.test,
            command=common.command,
            progress=out.progress,
        )
    )
