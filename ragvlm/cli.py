"""The command line: which commands there are, and how an error leaves the program."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

import typer

from ragvlm import output as out
from ragvlm.commands.ask import ask
from ragvlm.commands.classify import WordsCommand, classify
from ragvlm.commands.compare import compare
from ragvlm.commands.compare_images import compare_images
from ragvlm.commands.corpus import simulate
from ragvlm.commands.describe import describe
from ragvlm.commands.doctor import doctor
from ragvlm.commands.eval import evaluate
from ragvlm.commands.fuse import fuse
from ragvlm.commands.ground import ground, segment
from ragvlm.commands.index import compact, index, info, verify
from ragvlm.commands.mcp import mcp
from ragvlm.commands.models import app as models_app
from ragvlm.commands.regions import regions
from ragvlm.commands.score import score
from ragvlm.commands.search import search
from ragvlm.commands.serve import serve
from ragvlm.commands.tune import app as tune_app
from ragvlm.commands.tune import tune_index
from ragvlm.commands.tuneclassifier import classifier
from ragvlm.commands.tunedescriber import describer
from ragvlm.commands.tunehead import head
from ragvlm.commands.tunelora import lora, merge
from ragvlm.commands.tuneprompt import prompt, template
from ragvlm.config import Taken, defaults
from ragvlm.errors import RagvlmError

app = typer.Typer(
    help="Describe biomedical images from their nearest references, every sentence with its evidence.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help starts in half the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
corpus_app = typer.Typer(help="Make and inspect corpora.", no_args_is_help=True, rich_markup_mode=None)
for command in (index, search, describe, ask, compare_images, info, verify, compact, fuse, doctor, serve, mcp):
    app.command()(command)
app.command()(ground)
app.command()(segment)
app.command()(regions)
app.command(cls=WordsCommand)(classify)
app.command("eval")(evaluate)
app.command("tune-index")(tune_index)
app.command()(score)
app.command()(compare)
corpus_app.command()(simulate)
app.add_typer(models_app, name="models")
tune_app.command()(describer)
tune_app.command()(head)
tune_app.command()(lora)
tune_app.command()(merge)
tune_app.command()(prompt)
tune_app.command()(template)
tune_app.command()(classifier)
app.add_typer(tune_app, name="tune")
app.add_typer(corpus_app, name="corpus")


def _version(wanted: bool) -> None:
    if wanted:
        from ragvlm import __version__

        typer.echo(f"ragvlm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    context.default_map = defaults(dict(_options(context.command, ())))


def _options(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Taken]]]:
    """Of each command its options, by the names that they have on the command line."""
    if commands := getattr(command, "commands", None):
        for name, below in commands.items():
            yield from _options(below, (*path, name))
    else:
        options = [param for param in command.params if param.opts[0].startswith("-")]
        yield path, {max(param.opts, key=len).lstrip("-"): Taken(param.name, param.multiple) for param in options}


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
    except (RagvlmError, out.InterruptError) as error:
        out.say(f"ragvlm: {error}")
        sys.exit(130 if isinstance(error, out.InterruptError) else 2)
    except OSError as error:  # a full disk, a folder that can't be listed
        out.say(f"ragvlm: {error.filename or 'output'}: {error.strerror or error}")
        sys.exit(2)
    sys.exit(0)
