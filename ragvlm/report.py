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
from ragvlm.results import ImageComparison
from ragvlm.types import MEASURED, Description, Evidence, Hit


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
    pictures = _Pictures(index)
    return _filled(
        "report.html.jinja",
        index,
        described=sum(not d.abstained for d in descriptions),
        items=[_view(number, d, pictures) for number, d in enumerate(descriptions, start=1)],
    )


def write_comparison(found: ImageComparison, index: Index, path: str | Path) -> Path:
    """Write the page of two compared pictures to ``path``. Raises StoreError where it can't be written."""
    page = render_comparison(found, index)
    with atomic_path(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def render_comparison(found: ImageComparison, index: Index) -> str:
    """The page of two compared pictures as a string."""
    from markupsafe import Markup

    pictures = _Pictures(index)
    descriptions = {"a": found.a, "b": found.b}
    ranks = {key: {hit.record.id: hit.rank for hit in d.context.hits} for key, d in descriptions.items()}

    def cited(evidence: Evidence | None, key: str) -> Markup:
        mine = [ranks[key][i] for i in (evidence.record_ids if evidence else ()) if i in ranks[key]]
        links = (Markup('<a class="cite" href="#{0}{1}">[{1}]</a>').format(key, rank) for rank in mine)
        return Markup("").join(links)

    def said(words: str | None, evidence: Evidence | None, key: str) -> Markup:
        return Markup("{} {}").format(words or "-", cited(evidence, key))

    sides = [
        {
            "key": key,
            "title": title,
            "name": Path(d.query_id).name,
            "words": str(d),
            "picture": thumbnail_data_uri(d.context.query.image, 512) if d.context.query.image is not None else None,
            "hits": [{"hit": hit, "words": _words(hit), "picture": pictures.of(hit)} for hit in d.context.hits],
        }
        for (key, d), title in zip(descriptions.items(), ("First picture", "Second picture"), strict=True)
    ]
    return _filled("comparison.html.jinja", index, found=found, sides=sides, cited=cited, said=said)


def _filled(template: str, index: Index, **values: Any) -> str:
    """A page of ``data`` with its style."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    data = files("ragvlm").joinpath("data")
    style = Markup(data.joinpath("report.css").read_text(encoding="utf-8"))  # noqa: S704 - a file of ours
    page = environment.from_string(data.joinpath(template).read_text(encoding="utf-8"))
    return page.render(version=ragvlm.__version__, index=index.info(), style=style, **values)


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
            {
                "text": e.sentence,
                "support": e.support,
                "ranks": [rank[i] for i in e.record_ids if i in rank],
                "measured": MEASURED in e.record_ids,
            }
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
