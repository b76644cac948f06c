"""What writes the text: one plug-in a file, all with the same two members, ``name`` and ``generate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ragvlm.registry import create

if TYPE_CHECKING:
    from ragvlm.types import Generator


def load_generator(name: str = "consensus", **options: Any) -> Generator:
    """The generator ``name``, made with ``options``.

    ``name`` is a plug-in's name, or name and model joined by a colon, as in "openai:MODEL".

    Raises InputError for an unknown name or option, MissingExtraError with the pip command where a package is
    absent.
    """
    return cast("Generator", create("generators", name, options))
