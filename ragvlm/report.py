"""Descriptions -> one self-contained HTML page that can be read, checked and printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import ragvlm
from ragvlm.errors import RagvlmError
from ragvlm.images import open_image, thumbnail_data_uri
from ragvlm.index import Index
from ragvlm.language.labels import label_sentences
from ragvlm.locator import Locator
from ragvlm.paths import atomic_path
from ragvlm.types import Description, Hit


def write_report(descriptions: Sequence[Description], index: Index, path: str | Path) -> Path:
    """Write the page to ``path``: each picture, its sentences with their references, and the references' pictures.

    Raises StoreError where ``path`` can't be written.
    """
    page = render_report(descriptions, index)
    with atomic_path(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def render_report(descriptions: Sequence[Description], index: Index) -> str:
    """The page as a string."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files("ragvlm").joinpath("data/report.html.jinja").read_text(encoding="utf-8")
    pictures = _Pictures(index)
    return environment.from_string(source).render(
        version=ragvlm.__version__,
        index=index.info(),
        described=sum(not d.abstained for d in descriptions),
        items=[_view(number, d, pictures) for number, d in enumerate(descriptions, start=1)],
    )


def _view(number: int, description: Description, pictures: _Pictures) -> dict[str, Any]:
    """What the template shows of one description."""
    rank = {hit.record.id: hit.rank for hit in description.context.hits}
    query = description.context.query
    cited = {i for item in description.evidence for i in item.record_ids}
    return {
        "number": number,
        "name": Path(description.query_id).name,
        "picture": thumbnail_data_uri(query.image, 512) if query.image is not None else None,
        "question": query.text,
        "abstained": description.abstained,
        "reason": description.reason,
        "confidence": description.confidence,
        "sentences": [
            {"text": e.sentence, "support": e.support, "ranks": [rank[i] for i in e.record_ids if i in rank]}
            for e in description.evidence
        ],
        "hits": [
            {"hit": hit, "words": _words(hit), "picture": pictures.of(hit), "cited": hit.record.id in cited}
            for hit in description.context.hits
        ],
        "slides": pictures.slides(description.context.hits),
        "provenance": description.provenance,
        "seconds": sum(description.timings.values()),
    }


def _words(hit: Hit) -> str:
    return hit.record.caption or " ".join(label_sentences(hit.record)) or "(no caption)"


class _Pictures:
    """Thumbnails of references, each decoded once; a reference whose file is gone has none."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.known: dict[str, str | None] = {}

    def of(self, hit: Hit) -> str | None:
        record = hit.record
        if record.id not in self.known:
            path = self.index.image_path(record)
            try:
                self.known[record.id] = thumbnail_data_uri(open_image(path), 224) if path else None
            except RagvlmError:
                self.known[record.id] = None
        return self.known[record.id]

    def slides(self, hits: Sequence[Hit]) -> list[tuple[str, str]]:
        """Name and overview of each slide that ``hits`` are tiles of, with the tiles drawn by rank."""
        from ragvlm.slides import Rect, draw_rects

        tiles: dict[tuple[Path, str], dict[str, Rect]] = {}
        for hit in hits:
            region = hit.record.extra.get("region")
            if hit.record.image and isinstance(region, Mapping) and region.keys() >= {"x", "y", "width", "height"}:
                rect = Rect(*(int(region[name]) for name in ("x", "y", "width", "height")))
                slide = hit.record.id.rpartition("@")[0]  # ids are hidden where names of files must be
                tiles.setdefault((Locator.of(hit.record.image).file, slide), {})[f"[{hit.rank}]"] = rect
        found = []
        for (path, slide), rects in tiles.items():
            with suppress(RagvlmError, OSError):
                found.append((slide, thumbnail_data_uri(draw_rects(path, rects), 640)))
        return found
