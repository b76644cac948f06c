"""``ragvlm tune describer``."""

from __future__ import annotations

from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out
from ragvlm.commands.tuneoptions import Common, trains


@trains
def describer(
    index_dir: arg.IndexDir,
    common: Common,
    neighbours: Annotated[int, typer.Option(help="References that the describer is told; 0: none.")] = 3,
    rank: Annotated[int, typer.Option(help="Of the adapters (LoRA) of the decoder's linear layers.")] = 4,
    decoder: Annotated[str, typer.Option(help="smollm2, or a folder with a causal model of transformers.")] = "smollm2",
) -> None:
    """Train the embedded describer `smallcap` on the captions and answered questions of an index.

    Frozen picture features, neighbours' captions and SmolLM2-135M with adapters; fits a laptop without a GPU.
    """
    from ragvlm.tuning.describer import DEFAULTS, tune_describer

    tuned = tune_describer(
        index_dir,
        common.to,
        decoder=decoder,
        neighbours=neighbours,
        rank=rank,
        validation=common.validation,
        test=common.test,
        settings=common.settings(**DEFAULTS),
        progress=out.progress,
        command=common.command,
    )
    common.show(tuned)
