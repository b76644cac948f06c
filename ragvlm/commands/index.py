"""``ragvlm index`` and ``ragvlm info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out


def index(
    corpus: Annotated[Path, typer.Argument(help="A folder or file that holds a corpus.")],
    to: Annotated[
        Path | None, typer.Option("--out", help="Where to write the index [indexes/NAME].", metavar="DIR")
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="See `ragvlm models` [the index's own, else embedded].")] = None,
    encoder_option: arg.EncoderOptions = None,
    device: arg.Device = None,
    dtype: arg.Dtype = None,
    trust_remote_code: arg.Trust = False,
    store: Annotated[str, typer.Option(help="faiss or numpy.")] = "faiss",
    column: arg.Columns = None,
    batch_size: Annotated[int, typer.Option(help="Pictures a batch.")] = 16,
    segment_rows: Annotated[int, typer.Option(help="Records a commit.")] = 512,
    merge_rows: Annotated[int, typer.Option(help="Merge segments up to so many records.")] = 16_384,
    max_pixels: arg.MaxPixels = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove records that left the corpus.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Change nothing if any record can't be indexed.")] = False,
    rehash: Annotated[
        bool,
        typer.Option("--rehash", help="Read all pictures and segments, also where the file system sees no change."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for another process that writes the index.")] = False,
    plain_subjects: Annotated[
        bool, typer.Option("--plain-subjects", help="Keep subject and study ids as they are, not hashed.")
    ] = False,
    as_json: arg.Json = False,
) -> None:
    """Index a corpus, or bring its index up to date.

    What is new is added, what changed is encoded again, what left the corpus is kept and marked. An interrupted run
    goes on where it stopped when the same command is given again.
    """
    from ragvlm.corpus import Corpus
    from ragvlm.index import Index

    source = Corpus.load(corpus, columns=arg.pairs(column, "--column") or None)
    if source.dropped_columns:
        out.say(f"left out, since they identify a person: {', '.join(source.dropped_columns)}")
    if source.unlisted:
        out.say(f"left out, since the metadata doesn't name them ({len(source.unlisted)}): {arg.some(source.unlisted)}")
    with out.progress("Indexing") as progress:
        built = Index.build(
            source,
            to,
            encoder=encoder,
            encoder_options=arg.options(
                encoder_option, "--encoder-option", device=device, dtype=dtype, trust_remote_code=trust_remote_code
            ),
            store=store,
            batch_size=batch_size,
            segment_rows=segment_rows,
            merge_rows=merge_rows,
            prune=prune,
            strict=strict,
            rehash=rehash,
            wait=wait,
            max_pixels=max_pixels,
            hash_subject=not plain_subjects,
            progress=progress,
        )
    report = built.report.to_dict()
    for item in report["skipped"]:
        out.say(f"skipped {item['item']}: {item['reason']}")
    out.print_json(report) if as_json else typer.echo(str(built.report))


def info(
    directory: Annotated[Path, typer.Argument(help="An index folder.", metavar="DIR")], as_json: arg.Json = False
) -> None:
    """Show what is in an index."""
    from ragvlm.index import Index

    facts = Index.open(directory).info()
    out.print_json(facts) if as_json else out.terminal().show_mapping(facts)
