"""Runs of each task for the report's tests, and the page as a reader's program sees it."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from tiny import ColourEncoder

import ragvlm as rv
from ragvlm.corpus import Corpus
from ragvlm.evaluation.page.reading import Run
from ragvlm.evaluation.page.showcase import Pictures, sections
from ragvlm.evaluation.report import render_report
from ragvlm.types import Float32

HOSTILE = '<script>alert(1)</script> "><img src=x onerror=alert(2)> $\\frac{1$'


class Mean:
    """A classifier by the mean colour; it can't tell grey."""

    name, rule = "mean", "softmax"
    labels = ("red", "green", "blue")

    def classify(self, images: Sequence[Any]) -> Float32:
        rows = np.array([np.asarray(image, float).mean(axis=(0, 1)) for image in images]) + 1
        return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float32)


HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags with their attributes, the text by the tag it stands in, and whether all tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.texts.append((self.open[-1], " ".join(data.split())))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def headings(self) -> list[str]:
        return [text for tag, text in self.texts if tag in HEADINGS]

    @property
    def text(self) -> str:
        return " ".join(text for tag, text in self.texts if tag != "style")


def run(suite: Path, out: str, systems: Any = (), **options: Any) -> Path:
    results = rv.evaluate(
        systems, suite=suite, out=suite.parent / out, encoder=ColourEncoder(), resamples=50, **options
    )
    return results.folder


def page(folder: Path) -> Page:
    return Page(render_report(folder, corpus=corpus_of(folder)))


def corpus_of(folder: Path) -> Corpus:
    return Corpus.load(folder.parent / "corpus")


def sections_of(folder: Path) -> Sequence[Any]:
    """The cases that are shown, without pictures."""
    return sections(Run.open(folder), Pictures(None, None))
