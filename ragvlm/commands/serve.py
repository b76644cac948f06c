"""``ragvlm serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out


def serve(
    index: arg.IndexDir,
    generator: Annotated[str, typer.Option("-g", "--generator", help="What writes the text.")] = "consensus",
    k: Annotated[int, typer.Option("-k", help="How many references a description sees.")] = 5,
    alpha: Annotated[float, typer.Option(help="Level of the abstention test; 0 never abstains.")] = 0.05,
    host: Annotated[str, typer.Option(help="Another than 127.0.0.1 needs --token-file.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: one that is free.", min=0, max=65535)] = 8080,
    token_file: Annotated[
        Path | None, typer.Option(help="Tokens, one a line, of which each request must bring one.")
    ] = None,
    per_minute: Annotated[int, typer.Option(help="Requests of a token; 0: no bound.", min=0)] = 0,
    max_mb: Annotated[float, typer.Option(help="Of one request.", min=0.001)] = 50.0,
    max_pixels: Annotated[int | None, typer.Option(help="Of a picture [RAGVLM_MAX_PIXELS].", min=1)] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for one request, waiting included.", min=0.1)] = 120.0,
    batch: Annotated[int, typer.Option(help="Requests that go through the models together.", min=1)] = 16,
    queue: Annotated[int, typer.Option(help="Requests that may wait; more are told to come again.", min=1)] = 64,
) -> None:
    """Answer over HTTP: POST /describe, /search and /classify; GET /health, /ready, /metrics, /docs.

    A newer version of the index is taken up while it runs. SIGTERM or Ctrl-C: what was accepted is finished.
    """
    from ragvlm.service.desk import Limits
    from ragvlm.service.run import run

    limits = Limits(max_mb=max_mb, max_pixels=max_pixels, timeout=timeout, batch=batch, queue=queue)
    run(
        index, generator, k=k, alpha=alpha, host=host, port=port, token_file=token_file, per_minute=per_minute,
        limits=limits, say=out.say,
    )  # fmt: skip
