"""Results as a notebook shows them: HTML that stands by itself, all words escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from ragvlm.images import thumbnail_data_uri
from ragvlm.results import Answer, ImageComparison
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


def answer_card(found: Answer) -> str:
    """The picture, the question with its answer, and what the references answer."""
    image = found.context.query.image
    said = lines(found.question, str(found), "" if found.abstained else f"confidence {found.confidence:.2f}")
    rows = ((n.record_id, n.question or "", n.answer, f"{n.weight:.3f}") for n in found.neighbours)
    references = table(("id", "question", "answer", "weight"), rows)
    return card(found.query_id, said, references, pictures=[image] if image is not None else [])


def comparison_card(found: ImageComparison) -> str:
    """Both pictures, what differs, and the references of each."""
    pictures = [d.context.query.image for d in (found.a, found.b) if d.context.query.image is not None]
    rows = ((d.a or "", d.b or "", f"{d.confidence:.2f}") for d in found.differences)
    title = f"{found.a.query_id} and {found.b.query_id}"
    said = lines(str(found)) if found.abstained else table(("first", "second", "confidence"), rows)
    shared = lines(*(f"Both: {own.sentence}" for own, _ in found.shared))
    return card(title, said, shared, *(hits_table(d.context.hits) for d in (found.a, found.b)), pictures=pictures)


def hits_table(hits: Sequence[Hit]) -> str:
    """A row a hit."""
    rows = ((f"[{hit.rank}]", f"{hit.score:.3f}", hit.record.id, hit.record.caption or "") for hit in hits)
    return table(("", "score", "id", "caption"), rows)
