"""``ragvlm tune lora`` and ``ragvlm tune merge``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out
from ragvlm.commands.tuneoptions import Columns, Common, CorpusPath, trains

if TYPE_CHECKING:
    from ragvlm.tuning.folder import Tuned

Model = Annotated[
    str,
    typer.Option("--model", "-m", help="smolvlm, paligemma, blip2, git, ...; ORG/NAME or a folder.", metavar="NAME"),
]
Task = Annotated[str, typer.Option(help="Learn to describe, or to answer (vqa) [auto: captions where there are any].")]
Index = Annotated[
    Path | None, typer.Option("--index", "-i", help="Put references from this index into the prompts.", metavar="DIR")
]


@trains
def lora(
    corpus: CorpusPath,
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            help="smolvlm, paligemma, blip2, git, ...; ORG/NAME or a folder; several, for a table of them.",
            metavar="NAME",
        ),
    ],
    rank: Annotated[int, typer.Option(help="Of the matrices that are added.")] = 8,
    alpha: Annotated[int, typer.Option(help="They are scaled by alpha / rank.")] = 32,
    dropout: Annotated[float, typer.Option(help="Before them.")] = 0.1,
    target: Annotated[
        str | None,
        typer.Option(help="Layers, as a regular expression [attention of the language model; BLIP-2: its Q-Former]."),
    ] = None,
    quantize: Annotated[str, typer.Option(help="int8 or int4: train over a base in 8 or 4 bits (QLoRA).")] = "none",
    task: Task = "auto",
    index: Index = None,
    k: Annotated[int, typer.Option("-k", "--k", help="References a prompt.")] = 3,
    drop: Annotated[float, typer.Option(help="Share of the examples that see no references.")] = 0.2,
    template: Annotated[str, typer.Option(help="Of prompts with references.")] = "describe",
    column: Columns = None,
    generator_option: arg.GeneratorOptions = None,
    *,
    common: Common,
) -> None:
    """Fine-tune a vision-language model by low-rank adapters (LoRA).

    The result is a generator: ragvlm describe ... --generator DIR. After a kill the same command goes on.
    """
    from ragvlm.tuning.adapters import LoraSettings
    from ragvlm.tuning.lora import LORA_DEFAULTS, tune_lora
    from ragvlm.tuning.several import tune_several

    def tune(name: str, to: Path) -> Tuned:
        return tune_lora(
            name,
            corpus,
            to,
            lora=LoraSettings(rank, alpha, dropout, target),
            settings=common.settings(**LORA_DEFAULTS),
            task=task,
            columns=arg.pairs(column, "--column"),
            index=index,
            k=k,
            drop=drop,
            template=template,
            validation=common.validation,
            test=common.test,
            quantize=quantize,
            options=arg.options(generator_option, "--generator-option"),
            command=common.command,
            progress=out.progress,
        )

    for tuned in [tune(model[0], common.to)] if len(model) == 1 else tune_several(model, common.to, tune):
        common.show(tuned)
    if len(model) > 1:
        out.say(f"table: {common.to / 'table.md'}")


def merge(
    adapter: Annotated[Path, typer.Argument(help="What `ragvlm tune lora` wrote.", metavar="DIR")],
    to: Annotated[Path, typer.Option("--out", "-o", help="The whole checkpoint, a new folder.", metavar="DIR")],
    device: arg.Device = None,
) -> None:
    """Write base and adapter as one checkpoint, which needs no peft: --generator vlm:DIR."""
    from ragvlm.tuning.merging import merge_adapter

    typer.echo(str(merge_adapter(adapter, to, device=device or "auto")))
