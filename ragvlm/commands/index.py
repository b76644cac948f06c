"""``ragvlm index``, and what keeps an index: ``info``, ``compact``, ``verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out


def index(
    corpus: Annotated[str | None, typer.Argument(help="A folder or file that holds a corpus, or its URL.")] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Where to write the index [indexes/NAME].", metavar="DIR")
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="See `ragvlm models` [the index's own, else embedded].")] = None,
    encoder_option: arg.EncoderOptions = None,
    device: arg.Device = None,
    dtype: arg.Dtype = None,
    precision: arg.Precision = None,
    trust_remote_code: arg.Trust = False,
    store: arg.Store = "auto",
    store_option: arg.StoreOptions = None,
    column: arg.Columns = None,
    channel: arg.Channel = None,
    projection: arg.Projection = None,
    tile: arg.Tile = None,
    mpp: arg.Mpp = None,
    tissue: arg.Tissue = None,
    regions: Annotated[
        bool, typer.Option("--regions", help="Describe each record's mask or boxes, for --fusion learned.")
    ] = False,
    window: arg.Window = None,
    slices: arg.Slices = None,
    axis: arg.Axis = None,
    mask_burned_in: arg.MaskBurnedIn = False,
    plain_names: Annotated[
        bool, typer.Option("--plain-names", help="Keep the names of DICOM files as they are, not hashed.")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Pictures a batch.")] = 16,
    segment_rows: Annotated[int, typer.Option(help="Records a commit.")] = 512,
    merge_rows: Annotated[int, typer.Option(help="Merge segments up to so many records.")] = 16_384,
    max_pixels: arg.MaxPixels = None,
    engine: Annotated[str, typer.Option(help="What decodes and encodes: local, or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="Ray's cluster [this machine].", metavar="ADDR")] = None,
    workers: Annotated[int | None, typer.Option(help="Ray's actors at most [one a CPU].")] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove records that left the corpus.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Change nothing if any record can't be indexed.")] = False,
    delete: Annotated[
        list[str] | None,
        typer.Option("--delete", help="Instead: delete this record of the index --out; may be repeated.", metavar="ID"),
    ] = None,
    rehash: Annotated[
        bool,
        typer.Option("--rehash", help="Read all pictures and segments, also where the file system sees no change."),
    ] = False,
    recall: Annotated[
        float, typer.Option(help="Recall@10 to which a fast store is tuned that was chosen by size; 0: not.")
    ] = 0.95,
    wait: arg.Wait = False,
    plain_subjects: Annotated[
        bool, typer.Option("--plain-subjects", help="Keep subject and study ids as they are, not hashed.")
    ] = False,
    phi: Annotated[
        str,
        typer.Option(help="Names, dates and numbers of persons in captions: redact, report or keep.", metavar="MODE"),
    ] = "redact",
    hide_names: Annotated[
        bool, typer.Option("--hide-names", help="Tell ids and pictures by keyed hashes: file names may name persons.")
    ] = False,
    as_json: arg.Json = False,
) -> None:
    """Index a corpus, or bring its index up to date.

    What is new is added, what changed is encoded again, what left the corpus is kept and marked. An interrupted run
    goes on where it stopped when the same command is given again. With --delete, records leave all files of an index.
    """
    from ragvlm.corpus import Corpus
    from ragvlm.errors import InputError
    from ragvlm.index import Index

    encoder_options = arg.options(
        encoder_option,
        "--encoder-option",
        device=device,
        dtype=dtype,
        precision=precision,
        trust_remote_code=trust_remote_code,
    )
    if delete:
        if corpus is not None or to is None:
            raise InputError("--delete takes no corpus but the index: ragvlm index --out DIR --delete ID")
        done = Index.open(to, encoder=encoder, encoder_options=encoder_options).delete(delete, wait=wait)
        out.print_json(done.to_dict()) if as_json else typer.echo(str(done))
        return
    if corpus is None:
        raise InputError("name a corpus to index: a folder or a file")
    views = {"window": window, "slices": slices, "axis": axis, "channel": channel, "projection": projection}
    tiling = {"tile": tile, "mpp": mpp, "tissue": tissue}
    switches = {"mask_burned_in": mask_burned_in or None, "plain_names": plain_names or None}
    asked = {name: chosen for name, chosen in (views | tiling | switches).items() if chosen is not None}
    source = Corpus.load(
        corpus, columns=arg.pairs(column, "--column") or None, options=asked, phi=phi, hide_names=hide_names
    )
    if regions:
        from ragvlm.modalities.regions import with_regions

        source = with_regions(source)
    if source.dropped_columns:
        out.say(f"left out, since they identify a person: {', '.join(source.dropped_columns)}")
    if source.phi.found:
        out.say(f"{source.phi}; see docs/privacy.md")
    if source.unlisted:
        out.say(f"left out, since the metadata doesn't name them ({len(source.unlisted)}): {arg.some(source.unlisted)}")
    with out.progress("Indexing") as progress:
        built = Index.build(
            source,
            to,
            encoder=encoder,
            encoder_options=encoder_options,
            store=store,
            store_options=arg.options(store_option, "--store-option"),
            batch_size=batch_size,
            segment_rows=segment_rows,
            merge_rows=merge_rows,
            engine=engine,
            engine_options=arg.options(None, "", address=address, workers=workers),
            prune=prune,
            strict=strict,
            rehash=rehash,
            recall=recall,
            wait=wait,
            max_pixels=max_pixels,
            hash_subject=not plain_subjects,
            progress=progress,
        )
    report = built.report.to_dict()
    for item in report["skipped"]:
        out.say(f"skipped {item['item']}: {item['reason']}")
    out.print_json(report) if as_json else typer.echo(str(built.report))


def info(directory: arg.IndexFolder, as_json: arg.Json = False) -> None:
    """Show what is in an index."""
    from ragvlm.index import Index

    facts = Index.open(directory).info()
    out.print_json(facts) if as_json else out.terminal().show_mapping(facts)


def compact(
    directory: arg.IndexFolder,
    rows: Annotated[int, typer.Option(help="Merge segments up to so many records.")] = 16_384,
    wait: arg.Wait = False,
    as_json: arg.Json = False,
) -> None:
    """Merge the segments of an index, and remove what no state of it needs."""
    from ragvlm.index.upkeep import compact_index

    done = compact_index(directory, rows=rows, wait=wait)
    out.print_json(done.to_dict()) if as_json else typer.echo(str(done))


def verify(
    directory: arg.IndexFolder,
    mend: Annotated[bool, typer.Option("--repair", help="Make again what is made from the segments.")] = False,
    wait: arg.Wait = False,
    as_json: arg.Json = False,
) -> None:
    """Check all files of an index: checksums, counts, stores against segments. Exit code 1 where one is damaged."""
    from ragvlm.index.verify import repair, verify

    with out.progress("Verifying") as progress:
        found = repair(directory, progress, wait=wait) if mend else verify(directory, progress)
    out.print_json(found.to_dict()) if as_json else typer.echo(str(found))
    raise typer.Exit(0 if found.sound else 1)
