"""``ragvlm tune prompt`` and ``ragvlm tune template``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out
from ragvlm.commands.tunelora import Index, Model, Task
from ragvlm.commands.tuneoptions import Columns, Common, CorpusPath, command_line, trains


@trains
def prompt(
    corpus: CorpusPath,
    model: Model,
    tokens: Annotated[int, typer.Option(help="Vectors that are learnt.")] = 16,
    words: Annotated[str | None, typer.Option(help="Words whose vectors they begin as.")] = None,
    quantize: Annotated[str, typer.Option(help="int8 or int4: learn over a base in 8 or 4 bits.")] = "none",
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
    """Learn a soft prompt: a few vectors beside the words, the model as it is.

    The result is a generator: ragvlm describe ... --generator DIR. After a kill the same command goes on.
    """
    from ragvlm.tuning.lora import PROMPT_DEFAULTS, tune_prompt

    common.show(
        tune_prompt(
            model,
            corpus,
            common.to,
            tokens=tokens,
            **({"words": words} if words else {}),
            settings=common.settings(**PROMPT_DEFAULTS),
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
    )


def template(
    corpus: CorpusPath,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A generator, or a vision-language model.", metavar="NAME")
    ],
    to: Annotated[Path, typer.Option("--out", "-o", help="The result's folder, a new one.", metavar="DIR")],
    template: Annotated[
        list[str], typer.Option("--template", "-t", help="Two or more: names, or .jinja files.", metavar="NAME")
    ],
    index: Index = None,
    k: Annotated[int, typer.Option("-k", "--k", help="References a prompt.")] = 3,
    scored_by: Annotated[
        str | None, typer.Option(help="A measure [ROUGE-L of captions, Exact Match of answers].")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many items of a part.")] = 100,
    task: Task = "auto",
    validation: Annotated[float, typer.Option(help="Share of the subjects that is chosen on.")] = 0.3,
    test: Annotated[float, typer.Option(help="Share of the subjects that is tested on; 0: none.")] = 0.3,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    column: Columns = None,
    generator_option: arg.GeneratorOptions = None,
    as_json: arg.Json = False,
) -> None:
    """Find the written template that a generator does best with, with intervals. After a kill it goes on."""
    from ragvlm.tuning.template_search import search_templates

    tuned = search_templates(
        model,
        corpus,
        to,
        templates=template,
        index=index,
        k=k,
        scored_by=scored_by,
        limit=limit,
        task=task,
        columns=arg.pairs(column, "--column"),
        validation=validation,
        test=test,
        seed=seed,
        options=arg.options(generator_option, "--generator-option"),
        command=command_line(),
        progress=out.progress,
    )
    if as_json:
        out.print_json(tuned.to_dict())
        return
    typer.echo((tuned.folder / "README.md").read_text(encoding="utf-8"))
