"""The command line: parse, call, print. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ragvlm import arguments as arg
from ragvlm.errors import RagvlmError, one_line

if TYPE_CHECKING:
    from ragvlm.describe import Describer
    from ragvlm.types import Description

app = typer.Typer(
    help="Describe biomedical images from their nearest references, every sentence with its evidence.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help starts in half the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
corpus_app = typer.Typer(help="Make and inspect corpora.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(corpus_app, name="corpus")


class InterruptError(Exception):
    """Ctrl-C during long work; says how far it came."""


@app.command()
def index(
    corpus: Annotated[Path, typer.Argument(help="A folder or file that holds a corpus.")],
    out: Annotated[Path | None, typer.Option(help="Where to write the index [indexes/NAME].", metavar="DIR")] = None,
    encoder: Annotated[str, typer.Option(help="See `ragvlm models`.")] = "embedded",
    store: Annotated[str, typer.Option(help="faiss or numpy.")] = "faiss",
    column: arg.Columns = None,
    batch_size: Annotated[int, typer.Option(help="Pictures a batch.")] = 16,
    segment_rows: Annotated[int, typer.Option(help="Records a commit.")] = 512,
    max_pixels: arg.MaxPixels = None,
    plain_subjects: Annotated[
        bool, typer.Option("--plain-subjects", help="Keep subject and study ids as they are, not hashed.")
    ] = False,
    as_json: arg.Json = False,
) -> None:
    """Index a corpus, or bring its index up to date.

    An interrupted run goes on where it stopped when the same command is given again.
    """
    from ragvlm.corpus import Corpus
    from ragvlm.index import Index

    source = Corpus.load(corpus, columns=arg.pairs(column, "--column") or None)
    if source.dropped_columns:
        _say(f"left out, since they identify a person: {', '.join(source.dropped_columns)}")
    if source.unlisted:
        _say(f"left out, since the metadata doesn't name them ({len(source.unlisted)}): {arg.some(source.unlisted)}")
    with _progress("Indexing") as progress:
        built = Index.build(
            source,
            out,
            encoder=encoder,
            store=store,
            batch_size=batch_size,
            segment_rows=segment_rows,
            max_pixels=max_pixels,
            hash_subject=not plain_subjects,
            progress=progress,
        )
    report = built.report.to_dict()
    for item in report["skipped"]:
        _say(f"skipped {item['item']}: {item['reason']}")
    _print(report) if as_json else typer.echo(str(built.report))


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="A picture's path, or words.")],
    index_dir: arg.IndexDir,
    k: Annotated[int, typer.Option("-k", help="How many references.")] = 10,
    mode: Annotated[str, typer.Option(help="auto, image, text or fused.")] = "auto",
    fusion: arg.Fusion = "rrf",
    duplicates: arg.Duplicates = "report",
    diversity: arg.Diversity = 0.0,
    subject_id: arg.Subject = None,
    keep_subject: arg.KeepSubject = False,
    exclude_id: arg.ExcludeId = None,
    as_json: arg.Json = False,
) -> None:
    """Find the references nearest to a picture or words."""
    from ragvlm.index import Index
    from ragvlm.types import hit_to_dict

    hits = Index.open(index_dir).search(
        query,
        k,
        mode,
        fusion=fusion,
        duplicates=duplicates,
        diversity=diversity,
        subject_id=subject_id,
        exclude_subject=not keep_subject,
        exclude_ids=frozenset(exclude_id or ()),
    )
    if as_json:
        _print({"query": query, "hits": [hit_to_dict(hit) for hit in hits]})
    else:
        _terminal().hits_table(hits)


@app.command()
def describe(
    images: Annotated[list[Path], typer.Argument(help="Pictures to describe.", metavar="IMAGE...")],
    index_dir: arg.IndexDir,
    generator: Annotated[str, typer.Option("--generator", "-g", help="See `ragvlm models`.")] = "consensus",
    k: Annotated[int, typer.Option("-k", help="How many references the generator sees.")] = 5,
    alpha: Annotated[float, typer.Option(help="Level of the abstention test; 0 never abstains.")] = 0.05,
    mode: Annotated[str, typer.Option(help="image or fused.")] = "image",
    fusion: arg.Fusion = "rrf",
    duplicates: arg.Duplicates = "report",
    diversity: arg.Diversity = 0.0,
    subject_id: arg.Subject = None,
    keep_subject: arg.KeepSubject = False,
    exclude_id: arg.ExcludeId = None,
    template: Annotated[str, typer.Option(help="Prompt template.")] = "describe",
    threshold: arg.Threshold = None,
    keep_unsupported: arg.KeepUnsupported = False,
    generator_option: arg.GeneratorOptions = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report.", metavar="OUT.html")] = None,
    as_json: arg.Json = False,
) -> None:
    """Describe pictures with evidence, or abstain.

    With --json one object a line is printed for each picture.
    """
    from ragvlm.describe import Describer
    from ragvlm.paths import check_writable

    describer = Describer(
        index_dir,
        generator,
        k,
        alpha=alpha,
        template=template,
        threshold=threshold,
        keep_unsupported=keep_unsupported,
        mode=mode,
        fusion=fusion,
        duplicates=duplicates,
        diversity=diversity,
        exclude_subject=not keep_subject,
        exclude_ids=frozenset(exclude_id or ()),
        generator_options={
            name: arg.value(text) for name, text in arg.pairs(generator_option, "--generator-option").items()
        },
    )
    if report:
        check_writable(report)
    found = _show(describer, [str(path) for path in images], subject_id, as_json)
    if report:
        from ragvlm.report import write_report

        write_report(found, describer.index, report)
        _say(f"report: {report}")


def _show(describer: Describer, images: list[str], subject_id: str | None, as_json: bool) -> list[Description]:
    """Describe ``images`` and print each description as soon as it is there."""
    found: list[Description] = []
    with _progress("Describing", quiet=len(images) < 2) as progress:
        for batch in describer.batches(images, subject_id=subject_id):
            found += batch
            progress(len(found), len(images))
            for description in batch:
                _print(description.to_dict()) if as_json else _terminal().show_description(description)
    return found


@app.command()
def info(
    directory: Annotated[Path, typer.Argument(help="An index folder.", metavar="DIR")], as_json: arg.Json = False
) -> None:
    """Show what is in an index."""
    from ragvlm.index import Index

    facts = Index.open(directory).info()
    _print(facts) if as_json else _terminal().show_mapping(facts)


@app.command()
def models(as_json: arg.Json = False) -> None:
    """List encoders and generators.

    What can't be used now stands with the command that makes it so.
    """
    from ragvlm.registry import entries

    rows = [entry for kind in ("encoders", "generators") for entry in entries(kind).values()]
    _print([entry.to_dict() for entry in rows]) if as_json else _terminal().models_table(rows)


@corpus_app.command()
def simulate(
    directory: Annotated[Path, typer.Argument(help="Where to write the corpus.", metavar="DIR")],
    n: Annotated[int, typer.Option(help="How many micrographs.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers.")] = 0,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; may be repeated.")] = None,
) -> None:
    """Simulate a corpus of micrographs with exact captions and labels."""
    from ragvlm.simulate import simulate_corpus

    with _progress("Simulating") as progress:
        simulate_corpus(directory, n, seed, kinds=kind, progress=progress)
    typer.echo(f"{n} micrographs in {directory}")


def _version(wanted: bool) -> None:
    if wanted:
        from ragvlm import __version__

        typer.echo(f"ragvlm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def _terminal() -> ModuleType:
    """What draws for a person; a program that asks for JSON doesn't pay for loading it."""
    from ragvlm import terminal

    return terminal


def _print(value: Any) -> None:
    # of a file's name that is no UTF-8 this makes JSON's own escapes
    typer.echo(json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace"))


def _say(line: str) -> None:
    typer.echo(one_line(line), err=True)


@contextmanager
def _progress(title: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and ETA on stderr; silent where stderr is no terminal."""
    try:
        if quiet or not sys.stderr.isatty():
            yield lambda done, total: None
        else:
            with _terminal().progress_bar(title) as update:
                yield update
    except KeyboardInterrupt as error:  # caught here: the command-line library would swallow its message
        raise InterruptError(str(error) or "interrupted; run the same command again to go on") from None


def main() -> NoReturn:
    """Run the command; its exit codes stand in docs/output.md."""
    for name in ("PIL", "tifffile"):  # what is wrong with a picture stands in our own line
        logging.getLogger(name).addHandler(logging.NullHandler())
        warnings.filterwarnings("ignore", module=name)
    notes = logging.StreamHandler()  # what takes long for the first time is said, on stderr
    notes.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("ragvlm").addHandler(notes)
    logging.getLogger("ragvlm").setLevel(logging.INFO)
    try:
        app()
    except (RagvlmError, InterruptError) as error:
        _say(f"ragvlm: {error}")
        sys.exit(130 if isinstance(error, InterruptError) else 2)
    except OSError as error:  # a full disk, a folder that can't be listed
        _say(f"ragvlm: {error.filename or 'output'}: {error.strerror or error}")
        sys.exit(2)
    sys.exit(0)
