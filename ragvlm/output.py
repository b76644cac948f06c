"""Where the commands write: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import typer

from ragvlm.errors import one_line

if TYPE_CHECKING:
    from ragvlm.errors import ImageError


class InterruptError(Exception):
    """Ctrl-C during long work; says how far it came."""


def terminal() -> ModuleType:
    """What draws for a person; a program that asks for JSON doesn't pay for loading it."""
    from ragvlm import terminal

    return terminal


def print_json(value: Any) -> None:
    # of a file's name that is no UTF-8 this makes JSON's own escapes
    typer.echo(json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace"))


def say(line: str) -> None:
    typer.echo(one_line(line), err=True)


@contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """A bar with rate and ETA on stderr: ``update(done, total, note="")``; silent where stderr is no terminal."""
    try:
        if quiet or not sys.stderr.isatty():
            yield lambda done, total, note="": None
        else:
            with terminal().progress_bar(title) as update:
                yield update
    except KeyboardInterrupt as error:  # caught here: the command-line library would swallow its message
        raise InterruptError(str(error) or "interrupted; run the same command again to go on") from None


class Skip:
    """Counts and names pictures that can't be read; one that stands ``alone`` is an error."""

    def __init__(self, alone: bool = False) -> None:
        self.alone, self.count = alone, 0

    def __call__(self, picture: str, error: ImageError) -> None:
        if self.alone:
            raise error
        self.count += 1
        say(f"skipped {error}")
