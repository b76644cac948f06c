"""The tasks as tools of the Model Context Protocol, for assistants that call tools: ``ragvlm mcp``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ragvlm
from ragvlm.assistant import Assistant
from ragvlm.errors import InputError, RagvlmError, require
from ragvlm.results import hit_to_dict

ABOUT = (
    "References of one corpus of biomedical images. Descriptions and answers rest on these references, which are named "
    "with each sentence; where nothing is close, they abstain. Not for clinical use."
)


def mcp_server(assistant: Assistant, pictures: str | Path) -> Any:
    """An ``MCPServer`` whose tools answer from the index of ``assistant``; pictures are read below ``pictures`` alone.

    Raises InputError where that is no folder.
    """
    require("mcp", "mcp")
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    folder = Path(pictures).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"{pictures}: is no folder of pictures")
    server = MCPServer("ragvlm", version=ragvlm.__version__, instructions=ABOUT, log_level="ERROR")

    def below(picture: str) -> str:
        # an assistant is told what to do by others too: it must not look about on this machine
        path = (folder / picture).resolve()
        if not path.is_relative_to(folder):
            raise InputError(f"{picture!r} lies outside the folder of pictures")
        return str(path)

    @server.tool()
    def search(text: str = "", picture: str = "", k: int = 5) -> dict[str, Any]:
        """The k references nearest to words, or to a picture (a path below the folder of pictures)."""
        with _telling(ToolError):
            if bool(text) == bool(picture):
                raise InputError("give words as text, or a path as picture")
            hits = assistant.index.search(below(picture) if picture else text, k)
            return {"hits": [hit_to_dict(hit, provenance=True) for hit in hits]}

    @server.tool()
    def describe(picture: str, subject_id: str = "") -> dict[str, Any]:
        """Describe a picture (a path below the folder of pictures), each sentence with its references, or abstain.

        subject_id names whose picture it is, so that references of the same subject are left out.
        """
        with _telling(ToolError):
            return assistant(below(picture), subject_id=subject_id or None).to_dict() | {"image": picture}

    @server.tool()
    def ask(picture: str, question: str, options: list[str] | None = None) -> dict[str, Any]:
        """Answer a question about a picture (a path below the folder of pictures); options are the answers allowed."""
        with _telling(ToolError):
            return assistant.ask(below(picture), question, options).to_dict() | {"image": picture}

    return server


@contextmanager
def _telling(error: type[Exception]) -> Iterator[None]:
    """What ragvlm says of a wrong argument, as the protocol's own error."""
    try:
        yield
    except RagvlmError as told:
        raise error(str(told)) from told
