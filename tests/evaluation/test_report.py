"""report.html: on its own, the same twice, readable by everybody, safe with hostile captions, without empty parts."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaltools import rows_of, squares, suite_file, write_rows
from tiny import COLOURS, ColourEncoder

import ragvlm as rv
from ragvlm.corpus import Corpus
from ragvlm.errors import InputError, MissingExtraError
from ragvlm.evaluation.page import figures, plots, tables, words
from ragvlm.evaluation.page.reading import HEADLINES, Run
from ragvlm.evaluation.report import render_report, write_report
from ragvlm.measures import measures
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


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with controls, a copy in the index that is kept, hostile captions and a published figure."""
    root = tmp_path_factory.mktemp("described")
    rows = squares(root / "corpus", organ=[f"organ {i % 2}" for i in range(16)])
    for row in rows[:4]:
        row["caption"] += f" {HOSTILE}"
    shutil.copy(root / "corpus" / "p05.png", root / "corpus" / "copy.png")
    write_rows(root / "corpus", [*rows, rows[5] | {"file_name": "copy.png", "id": "copy", "subject_id": "other"}])
    literature = '[[literature]]\nsystem = "Peer"\nmetric = "ROUGE-L"\nvalue = 0.7957\nsplit = "official test"\n'
    literature += 'source = "Somebody 2020, Table 2"\nurl = "javascript:alert(3)"\nnote = "trained on it"\n'
    suite = suite_file(
        root, "describe", literature, top='measures = ["BLEU-1", "ROUGE-L", "labels F1"]\ngroup = "organ"'
    )
    return run(suite, "run", ("consensus", "nearest"), controls=True, keep_leaks=True)


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("classified")
    squares(root / "corpus")
    suite = suite_file(root, "classify", top='label = "label"\nmeasures = ["accuracy", "macro F1", "ECE (15 bins)"]')
    return run(suite, "run", Mean())


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ranked")
    squares(root / "corpus")
    more = '[relevance]\nby = "labels"\nlabels = ["label"]'
    return run(suite_file(root, "retrieve", more, top='measures = ["nDCG@3", "Recall@1", "Recall@3"]'), "run", "image")


@pytest.fixture
def copied(described: Path, tmp_path: Path) -> Path:
    """The described run, to be changed."""
    shutil.copytree(described.parent, tmp_path / "root")
    return tmp_path / "root" / "run"


@pytest.fixture(params=["described", "classified", "ranked"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


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


@pytest.mark.parametrize("task", list(HEADLINES))
def test_every_default_measure_has_words(task: str, described: Path) -> None:
    figure = {"source": "", "higher_is_better": True, "value": 0.5}
    names = {one.name: figure for one in measures(task)}
    metrics = {"task": task, "systems": {"a": names}, "about": {"a": {"role": "system"}}}
    told = words.definitions(Run(described, rv.Results(described, metrics)))
    assert [row["name"] for row in told if not row["text"]] == []


def test_cases_are_the_best_the_worst_and_the_most_changed(described: Path) -> None:
    scores: dict[str, dict[str, float]] = {"consensus": {}, "nearest": {}}
    for row in rows_of(described / "scores.jsonl"):
        if row["system"] in scores:
            scores[row["system"]][row["id"]] = row["scores"]["ROUGE-L"]
    found = {s.title: [c["id"] for c in s.cases] + [i for _, i in s.again] for s in _sections(described)}
    own = scores["consensus"]
    assert sorted(own[i] for i in found["Best"]) == sorted(own.values())[-3:]
    assert sorted(own[i] for i in found["Worst"]) == sorted(own.values())[:3]
    gaps = {i: abs(own[i] - scores["nearest"][i]) for i in own}
    assert sorted(gaps[i] for i in found.get("Most changed", [])) == sorted(g for g in gaps.values() if g > 0)[-3:]


def _sections(folder: Path) -> Sequence[Any]:
    from ragvlm.evaluation.page.showcase import Pictures, sections

    return sections(Run.open(folder), Pictures(None, None))


def test_citations_lead_to_the_neighbours(described: Path) -> None:
    case = _sections(described)[0].cases[0]
    said = {r["system"]: r for r in rows_of(described / "predictions.jsonl") if r["id"] == case["id"]}["consensus"]
    hits = next(r["hits"] for r in rows_of(described / "neighbours.jsonl") if r["id"] == case["id"])
    ranks = {hit[0]: rank for rank, hit in enumerate(hits, 1)}
    assert [part["ranks"] for part in case["answers"][0]["parts"]] == [
        sorted(ranks[i] for i in e["record_ids"]) for e in said["evidence"]
    ]
    assert [n["id"] for n in case["neighbours"]] == list(ranks)


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


def test_a_classification_has_its_plots(classified: Path) -> None:
    shown = Run.open(classified)
    found = {plot.title: plot.alt for plot in figures.class_plots(shown)}
    assert set(found) == {
        "Recall of mean by class", "Confusion matrix of mean", "Reliability of mean"
    }  # fmt: skip
    right = {row["id"]: row["references"] for row in rows_of(classified / "references.jsonl")}
    said = [r for r in rows_of(classified / "predictions.jsonl") if r["system"] == "mean"]
    named = {r["id"]: max(r["prediction"], key=r["prediction"].__getitem__) for r in said}
    hits = sum(named[i] == right[i] for i in right)
    assert f"{hits} of 16 on the diagonal" in found["Confusion matrix of mean"]
    for colour in COLOURS:
        share = np.mean([named[i] == colour for i in right if right[i] == colour])
        assert f"{colour} (n 4) {share:.3f}" in found["Recall of mean by class"]


def test_a_ranking_has_curves_of_its_measures(ranked: Path) -> None:
    metrics = json.loads((ranked / "metrics.json").read_text())["systems"]
    found = {plot.title: plot.alt for plot in figures.retrieval_plots(Run.open(ranked))}
    assert list(found) == ["Recall@K over K", "Precision@K over K"]
    ends = [metrics["image"][f"Recall@{k}"]["value"] for k in (1, 3)]
    assert f"image {ends[0]:.3f} at K = 1, {ends[1]:.3f} at K = 3" in found["Recall@K over K"]
    assert any("relevant" in str(c["answers"][0]["parts"]) for s in _sections(ranked) for c in s.cases)


def test_risk_falls_with_coverage_where_confidence_is_right(described: Path, copied: Path) -> None:
    rows = rows_of(copied / "predictions.jsonl")
    scores = {(r["system"], r["id"]): r["scores"]["ROUGE-L"] for r in rows_of(copied / "scores.jsonl")}
    for row in rows:
        if row["system"] == "consensus":
            row["confidence"] = scores["consensus", row["id"]]
    (copied / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    alt = figures.risk_plots(Run.open(copied))[0].alt
    first, last = map(float, re.findall(r"consensus ([\d.]+) at [\d]+%, ([\d.]+) at full", alt)[0])
    own = [score for (system, _), score in scores.items() if system == "consensus"]
    assert first == pytest.approx(1 - max(own), abs=5e-4) and last == pytest.approx(1 - np.mean(own), abs=5e-4)


def test_bars_without_an_interval_and_odd_names_can_be_drawn() -> None:
    rows = [
        plots.Bar(HOSTILE, 0.5, float("nan"), float("nan")),
        plots.Bar("\u202e\x00 名", -0.1, -0.2, 0.0, main=False),
    ]
    assert plots.bars(rows, "$x_1", zero=True) == plots.bars(rows, "$x_1", zero=True)
    assert plots.bars(rows, "a") != plots.bars(rows[:1], "a")


def test_corrected_p_values_that_can_not_be_small_are_said_so(described: Path) -> None:
    shown = Run.open(described)
    tested = sum(row["p"] is not None for row in shown.metrics["differences"])
    least = tables.least_corrected(shown)
    assert least is None or least == min(1.0, tested / 51)
    assert ("no corrected p-value can be below" in " ".join(words.summary(shown))) == (least is not None)
