"""report.html: on its own, the same twice, readable by everybody, safe with hostile captions, without empty parts."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaltools import rows_of
from reporttools import HEADINGS, Page, corpus_of, page

from ragvlm.errors import InputError, MissingExtraError
from ragvlm.evaluation.page import plots, tables
from ragvlm.evaluation.report import render_report, write_report


def test_the_page_loads_nothing(folder: Path) -> None:
    html = render_report(folder, corpus=corpus_of(folder))
    shown = Page(html)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in shown.tags}
    for tag, attributes in shown.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in {"src", "srcset", "data", "poster", "background"} & attributes.keys():
            assert (attributes[name] or "").startswith("data:image/"), (tag, attributes)
        assert "href" not in attributes or re.match(r"#|https?://", attributes["href"] or ""), attributes
    assert "url(" not in html and "@import" not in html


def test_the_page_can_be_read_by_everybody(folder: Path) -> None:
    shown = page(folder)
    levels = [int(tag[1]) for tag, _ in shown.tags if tag in HEADINGS]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert shown.of("img") and all((image["alt"] or "").strip() for image in shown.of("img"))
    assert shown.of("th") and all(head["scope"] in ("col", "row") for head in shown.of("th"))
    assert len(shown.of("caption")) == len(shown.of("table"))
    assert shown.of("html")[0]["lang"] == "en"
    names = [attributes["id"] for _, attributes in shown.tags if "id" in attributes]
    assert len(names) == len(set(names))
    links = [str(a["href"])[1:] for a in shown.of("a") if str(a["href"]).startswith("#")]
    assert set(links) <= set(names)


@pytest.mark.parametrize("media", ["light", "dark"])
def test_contrast_is_enough(described: Path, media: str) -> None:
    style = render_report(described).partition("<style>")[2].partition("</style>")[0]
    rules = re.findall(r":root \{(.*?)\}", style)[0 if media == "light" else 1]
    colour = dict(re.findall(r"--(\w+): (#\w{6})", rules))
    grounds = {"ink": ("paper", "wash", "glow"), "soft": ("paper", "wash", "glow"), "mark": ("paper", "wash"),
               "warn": ("paper", "warnwash")}  # fmt: skip
    for name, on in grounds.items():
        for ground in on:
            assert _contrast(colour[name], colour[ground]) >= 4.5, (name, ground)
    assert _contrast(plots.INK, "#ffffff") >= 4.5 and _contrast(plots.MAIN, "#ffffff") >= 4.5


def _contrast(a: str, b: str) -> float:
    """The ratio of WCAG 2.1."""

    def luminance(colour: str) -> float:
        channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_twice_the_same_bytes(folder: Path) -> None:
    first = write_report(folder, corpus=corpus_of(folder)).read_bytes()
    (folder / "report.html").unlink()
    assert write_report(folder, corpus=corpus_of(folder)).read_bytes() == first


def test_the_run_writes_it_with_pictures(described: Path) -> None:
    shown = Page((described / "report.html").read_text(encoding="utf-8"))
    assert sum(str(image["src"]).startswith("data:image/jpeg") for image in shown.of("img")) >= 6


def test_hostile_captions_are_text(described: Path) -> None:
    html = render_report(described, corpus=corpus_of(described))
    assert "<script" not in html and "<img src=x" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "javascript:" not in html


def test_leaks_are_loud_on_top_and_listed(described: Path) -> None:
    shown = page(described)
    mark = "LEAKAGE: 2 of 17 queries share a subject or a picture with the index and were kept"
    first = next(text for tag, text in shown.texts if text.startswith("LEAKAGE") and tag == "p")
    assert first.startswith(mark)
    assert shown.text.index(mark) < shown.text.index("In short")
    assert shown.texts[0][1].startswith("LEAKAGE")  # the title
    assert ("th", "copy") in shown.texts and ("td", "KEPT") in shown.texts
    assert all("LEAKAGE" in text for tag, text in shown.texts if tag == "caption" and "all 17 items" in text)


def test_a_run_without_leaks_has_no_mark(ranked: Path) -> None:
    assert "LEAKAGE" not in render_report(ranked)


def test_figures_stand_with_intervals_and_differences_with_p(described: Path) -> None:
    metrics = json.loads((described / "metrics.json").read_text())
    shown = page(described)
    cells = [text for tag, text in shown.texts if tag in ("td", "small")]
    for system in ("consensus", "nearest", "random caption", "oracle neighbour"):
        figure = metrics["systems"][system]["ROUGE-L"]
        assert f"{figure['value']:.3f}" in cells
        assert f"[{figure['low']:.3f}, {figure['high']:.3f}]" in cells
    for row in metrics["differences"]:
        assert any(cell.startswith(f"p {tables.p_value(row['p'])}, n {row['n']}") for cell in cells)
    organ = metrics["systems"]["consensus"]["ROUGE-L"]["by_group"]["organ 1"]
    assert f"[{organ['low']:.3f}, {organ['high']:.3f}]" in cells


def test_controls_tell_what_rests_on_what(described: Path) -> None:
    shown = page(described)
    assert "What the score rests on" in shown.headings()
    rows = [r for r in json.loads((described / "metrics.json").read_text())["differences"] if r["shows"] == "picture"]
    row = next(
        r for r in rows if r["a"] == "consensus" and r["b"].endswith("blank picture") and r["measure"] == "ROUGE-L"
    )
    assert f"on the picture {tables.number(row['difference'])} {tables.limits(row)} (blank picture)" in shown.text


def test_published_figures_stand_apart(described: Path) -> None:
    shown = page(described)
    assert shown.headings().index("Published elsewhere") > shown.headings().index("Differences")
    assert ("td", "0.7957") in shown.texts and ("td", "official test") in shown.texts
    before = shown.text.partition("Published elsewhere")[0]
    assert "0.7957" not in before and "Peer" not in before


def test_each_measure_is_explained(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    shown = page(folder).text.partition("What the measures say")[2]
    for name, figure in next(iter(metrics["systems"].values())).items():
        assert name in shown and figure["source"] in shown
    assert shown.count("Lower is better.") == sum(
        not f["higher_is_better"] for f in next(iter(metrics["systems"].values())).values()
    )


def test_no_subject_and_no_path_is_shown(described: Path) -> None:
    html = render_report(described, corpus=corpus_of(described))
    assert str(described.parent) not in html
    subjects = {row["subject_id"] for row in rows_of(described.parent / "corpus" / "metadata.jsonl")}
    told = set(re.findall(r"\w+", page(described).text))
    assert not (subjects - {"other"}) & told


def test_missing_parts_are_left_out(copied: Path) -> None:
    for name in ("predictions.jsonl", "scores.jsonl", "references.jsonl", "neighbours.jsonl", "leakage.json",
                 "config.json", "machine.json", "suite.toml"):  # fmt: skip
        (copied / name).unlink()
    shutil.rmtree(copied / "index")
    metrics = json.loads((copied / "metrics.json").read_text())
    metrics["differences"], metrics["literature"] = [], []
    for of_system in metrics["systems"].values():
        for figure in of_system.values():
            figure.pop("by_group", None)
    (copied / "metrics.json").write_text(json.dumps(metrics))
    shown = Page(render_report(copied))
    assert shown.headings() == ["Squares", "In short", "What was evaluated", "Measures", "What the measures say"]
    (copied / "metrics.json").unlink()
    with pytest.raises(InputError, match="finish the run"):
        render_report(copied)


def test_without_matplotlib_the_page_says_why_it_has_no_plots(described: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, extra: str) -> Any:
        raise MissingExtraError(f"{name} is missing: pip install 'ragvlm[{extra}]'")

    monkeypatch.setattr(plots, "require", absent)
    shown = page(described)
    assert shown.of("figure") == []
    assert "No plots: matplotlib is missing: pip install 'ragvlm[eval]'." in shown.text
    assert shown.of("table")
