"""``ragvlm tune head``."""

from __future__ import annotations

from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out
from ragvlm.commands.tuneoptions import Common, trains


@trains
def head(
    index: arg.IndexDir,
    loss: Annotated[str, typer.Option(help="infonce or sigmoid.")] = "infonce",
    hidden: Annotated[
        int | None,
        typer.Option(help="Units of a hidden layer [map: none, adapter: width / 4]."),
    ] = None,
    negatives: Annotated[int, typer.Option(help="Hard negatives a picture, from the index.")] = 4,
    dropout: Annotated[float, typer.Option(help="Of the picture's vector.")] = 0.1,
    *,
    common: Common,
) -> None:
    """Bring the pictures and captions of an index into one space, by a head on its encoder.

    The result is an encoder: ragvlm index CORPUS --out DIR --encoder FOLDER. After a kill the same command goes on.
    """
    from ragvlm.tuning.head import DEFAULTS, HeadSettings, tune_head

    common.show(
        tune_head(
            index,
            common.to,
            head=HeadSettings(loss, hidden, negatives, dropout),
            settings=common.settings(**DEFAULTS),
            validation=common.validation,
            test=common.test,
            command=common.command,
            progress=out.progress,
        )
    )
