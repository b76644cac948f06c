"""``ragvlm mcp``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragvlm import arguments as arg


def mcp(
    index: arg.IndexDir,
    generator: Annotated[str, typer.Option("-g", "--generator", help="What writes the text.")] = "consensus",
    k: Annotated[int, typer.Option("-k", help="How many references a description sees.")] = 5,
    alpha: Annotated[float, typer.Option(help="Level of the abstention test; 0 never abstains.")] = 0.05,
    pictures: Annotated[Path, typer.Option(help="Pictures are read below this folder alone.", metavar="DIR")] = Path(),
) -> None:
    """Offer search, describe and ask as tools of the Model Context Protocol, on stdin and stdout."""
    from ragvlm.assistant import Assistant
    from ragvlm.service.tools import mcp_server

    mcp_server(Assistant(index, generator, k, alpha=alpha), pictures).run("stdio")
