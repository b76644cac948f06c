"""Listen, answer, and finish what was accepted."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ragvlm.assistant import Assistant
from ragvlm.errors import InputError, require
from ragvlm.index import Index
from ragvlm.service.access import Gate, check_host, read_tokens
from ragvlm.service.served import Served


def run(
    index: str | Path,
    generator: str = "consensus",
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    token_file: Path | None = None,
    per_minute: int = 0,
    limits: Any = None,
    say: Callable[[str], None] = print,
    **describing: Any,
) -> None:
    """Serve ``index`` until SIGTERM or SIGINT; ``describing`` are arguments of ``Describer``.

    Raises InputError for an address that can't be listened on, or that others reach without a token.
    """
    tokens = read_tokens(token_file)
    check_host(host, tokens)
    uvicorn = require("uvicorn", "serve")
    require("fastapi", "serve")
    from ragvlm.service.app import create_app

    listening = _listen(host, port)
    try:
        opened = Index.open(index)
        first = Assistant(opened, generator, **describing)
        # the generator's weights are loaded once, whatever becomes of the index
        served = Served(first, partial(Assistant, generator=first.generator, **describing))
        logging.getLogger("ragvlm.service").setLevel(logging.INFO)
        address = listening.getsockname()
        say(f"ragvlm answers on http://{host}:{address[1]} ({opened.manifest.counts.records} records); try /docs")
        config = uvicorn.Config(
            create_app(served, Gate(tokens, per_minute), limits), access_log=False, log_level="warning",
            timeout_keep_alive=5, h11_max_incomplete_event_size=16_384, server_header=False,
        )  # fmt: skip
        uvicorn.Server(config).run([listening])
    finally:
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)  # who comes while models are loaded waits
    except OSError as error:
        raise InputError(f"can't listen on {host}:{port}: {error.strerror or error}; choose another --port") from error
    return listening
