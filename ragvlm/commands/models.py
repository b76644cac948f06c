"""``ragvlm models``: the list, and what is known of one, its weights, a try-out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ragvlm import arguments as arg
from ragvlm import output as out
from ragvlm.errors import InputError

app = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="A name of the list, or NAME:ORG/MODEL, NAME:FOLDER.", metavar="NAME")]
Kind = Annotated[str | None, typer.Option(help="encoder, generator or classifier, where a name is several.")]


@app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    as_json: arg.Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the list as Markdown, with all facts.")] = False,
) -> None:
    """List encoders, generators and classifiers; show, fetch and try one.

    What can't be used now stands with the command that makes it so.
    """
    if context.invoked_subcommand:
        return
    from ragvlm.catalogue import catalogue
    from ragvlm.modelpage import page

    rows = catalogue()
    if as_json:
        out.print_json([entry.to_dict() for entry in rows])
    elif markdown:
        typer.echo(page(rows), nl=False)
    else:
        out.terminal().models_table(rows)


@app.command()
def show(name: Name, kind: Kind = None, as_json: arg.Json = False) -> None:
    """Show all that is known of a model: checkpoint, licence, size, what it is for and what not."""
    from ragvlm.catalogue import named

    for entry in named(name, kind):
        facts = entry.to_dict()
        out.print_json(facts) if as_json else out.terminal().show_mapping(
            {k: v for k, v in facts.items() if v or v == 0}
        )


@app.command()
def pull(name: Name, kind: Kind = None, trust_remote_code: arg.Trust = False, as_json: arg.Json = False) -> None:
    """Fetch a model's weights into the hub's cache, for use without a network.

    An interrupted download goes on when the same command is given again. With --trust-remote-code the Python files
    of the model come too.
    """
    from ragvlm.catalogue import pull

    for item in pull(name, kind, trust_remote_code=trust_remote_code):
        if as_json:
            out.print_json(asdict(item))
        else:
            typer.echo(f"{item.model}: {item.files} files, {item.bytes / 1e6:.1f} MB in {item.folder}")


@app.command()
def check(
    name: Name,
    kind: Kind = None,
    image: Annotated[Path | None, typer.Option(help="A picture to run [one that is drawn].")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="An option of it; may be repeated.", metavar="NAME=VALUE")
    ] = None,
    precision: arg.Precision = None,
    corpus: Annotated[Path | None, typer.Option(help="What --precision changes for this corpus's pictures.")] = None,
    most: Annotated[int, typer.Option(help="How many of its pictures.")] = 500,
    k: Annotated[int, typer.Option("-k", help="How many neighbours of each are compared.")] = 10,
    device: arg.Device = None,
    dtype: arg.Dtype = None,
    trust_remote_code: arg.Trust = False,
    as_json: arg.Json = False,
) -> None:
    """Load a model and run one picture through it.

    With --precision int8 and --corpus: find each picture's nearest among the others in fp32 and in int8, and print how
    many are the same, how fast both are, and whether int8 is worth it there.
    """
    from ragvlm.catalogue import check
    from ragvlm.images import open_image

    options = arg.options(option, "--option", device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    if corpus:
        _compare(name, precision, corpus, most, k, options, as_json)
        return
    picture = open_image(image) if image else None
    options |= {"precision": precision} if precision else {}
    for facts in check(name, kind, image=picture, options=options):
        out.print_json(facts) if as_json else out.terminal().show_mapping(facts)


def _compare(
    name: str, precision: str | None, corpus: Path, most: int, k: int, options: dict[str, Any], as_json: bool
) -> None:
    from ragvlm.agreement import compare_precisions
    from ragvlm.corpus import Corpus

    if precision is None or precision == "fp32":
        raise InputError("--corpus compares a precision with fp32: give --precision int8 too")
    with out.progress("Comparing") as progress:
        found = compare_precisions(
            name, precision, Corpus.load(corpus), most=most, k=k, options=options, progress=progress
        )
    out.print_json(found.to_dict()) if as_json else out.terminal().show_agreement(found)


@app.command()
def export(
    name: Name,
    precision: Annotated[str, typer.Option(help="fp32 or int8.")] = "fp32",
    corpus: Annotated[Path | None, typer.Option(help="Measure on this corpus's pictures and captions too.")] = None,
    most: Annotated[int, typer.Option(help="How many of its records.")] = 64,
    trust_remote_code: arg.Trust = False,
    as_json: arg.Json = False,
) -> None:
    """Export an encoder's towers for ONNX Runtime, so that a query starts without torch.

    Prints the cosine of the exported towers' vectors to torch's in float32. An index in int8 is then built with
    --encoder-option precision=int8.
    """
    from ragvlm.corpus import Corpus
    from ragvlm.encoders import export_towers
    from ragvlm.images import open_image

    source = Corpus.load(corpus) if corpus else None
    records = source.records[:most] if source else ()
    report = export_towers(
        name,
        precision=precision,
        pictures=[open_image(source.root / r.image) for r in records if source and r.image],
        texts=[record.caption for record in records if record.caption],
        trust_remote_code=trust_remote_code,
    )
    out.print_json(report.to_dict()) if as_json else typer.echo(str(report))
