"""``ragvlm models``."""

from __future__ import annotations

from ragvlm import arguments as arg
from ragvlm import output as out


def models(as_json: arg.Json = False) -> None:
    """List encoders and generators.

    What can't be used now stands with the command that makes it so.
    """
    from ragvlm.registry import entries

    rows = [entry for kind in ("encoders", "generators") for entry in entries(kind).values()]
    out.print_json([entry.to_dict() for entry in rows]) if as_json else out.terminal().models_table(rows)
