"""``ragvlm doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out


def doctor(
    index: Annotated[Path | None, typer.Option(help="An index to look at, too.", metavar="DIR")] = None,
    as_json: arg.Json = False,
) -> None:
    """Say what is installed of ragvlm's extras, what is missing, and what to type.

    Exit code 1 where something keeps ragvlm itself, its cache or the index from working; an extra that isn't installed
    is no fault.
    """
    from ragvlm.doctor import examine

    found = examine(index)
    if as_json:
        out.print_json(found.to_dict())
    else:
        out.terminal().show_examination(found)
    if found.findings:
        raise typer.Exit(1)
