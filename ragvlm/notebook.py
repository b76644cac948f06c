"""Results as a notebook shows them: HTML that stands by itself, all words escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from ragvlm.images import thumbnail_data_uri
from ragvlm.types import Description, Hit

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 256  # pixels on the longer side of a picture
_CELL = 'style="text-align: left; padding: 2px 10px; vertical-align: top"'


def card(title: str, *parts: str, pictures: Sequence[Image] = ()) -> str:
    """``title`` and ``pictures``, then ``parts``, which are HTML as ``lines`` and ``table`` make it."""
    shown = "".join(f'<img src="{thumbnail_data_uri(picture, SIDE)}" style="margin: 4px">' for picture in pictures)
    return f"<div><b>{escape(title)}</b><div>{shown}</div>{''.join(parts)}</div>"


def lines(*texts: str) -> str:
    """A paragraph a text; empty ones are left out."""
    return "".join(f"<p>{escape(text)}</p>" for text in texts if text)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a line of titles."""
    titles = "".join(f"<th {_CELL}>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td {_CELL}>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{titles}</tr>{body}</table>"


def description_card(description: Description) -> str:
    """The picture, what is said of it, and the references."""
    image = description.context.query.image
    said = lines(str(description), "" if description.abstained else f"confidence {description.confidence:.2f}")
    pictures = [image] if image is not None else []
    return card(description.query_id, said, hits_table(description.context.hits), pictures=pictures)


def hits_table(hits: Sequence[Hit]) -> str:
    """A row a hit."""
    rows = ((f"[{hit.rank}]", f"{hit.score:.3f}", hit.record.id, hit.record.caption or "") for hit in hits)
    return table(("", "score", "id", "caption"), rows)
