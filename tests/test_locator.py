"""Places in files: what they look like, and that everything which takes a picture takes one."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny import build

from ragvlm import paths
from ragvlm.corpus import Corpus
from ragvlm.describe import Describer
from ragvlm.errors import ImageError, InputError
from ragvlm.formats import Source
from ragvlm.images import image_info, open_image
from ragvlm.index import prepare, scan
from ragvlm.locator import Locator
from ragvlm.report import render_report
from ragvlm.types import Record

COLOURS = ((250, 0, 0), (0, 250, 0), (0, 0, 250))


@pytest.fixture
def pages(tmp_path):
    """A TIFF of three pages, each of one colour."""
    first, *rest = [Image.new("RGB", (8, 8), colour) for colour in COLOURS]
    first.save(tmp_path / "pages.tif", save_all=True, append_images=rest)
    return tmp_path / "pages.tif"


@given(
    st.text(min_size=1).filter(lambda path: "\0" not in path),
    st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]*", fullmatch=True), st.text(), min_size=1, max_size=4),
)
def test_a_locator_reads_what_it_writes(path, parts):
    try:
        parts = {key: value.encode().decode() for key, value in parts.items()}
    except UnicodeEncodeError:
        return
    place = Locator(path, parts)
    assert Locator.of(str(place)) == place
    assert "/" not in str(place)[len(path) :]


@pytest.mark.parametrize(
    "name", ["a.png", "a#b.png", "a#1", "#slice=1", "a#", "a#=1", "a#k=1&", "a#k=b/c.png", "a#K=1"]
)
def test_other_names_are_plain(name):
    assert Locator.of(name) == Locator(name)


def test_a_file_that_is_there_comes_first(pages):
    odd = pages.with_name("pages.tif#page=1")
    shutil.copy(pages, odd)
    Image.new("RGB", (8, 8), "white").save(odd, "PNG")
    assert Locator.of(odd).parts == {}
    assert open_image(odd).getpixel((0, 0)) == (255, 255, 255)
    odd.unlink()
    assert open_image(odd).getpixel((0, 0)) == COLOURS[1]


def test_a_part_can_be_changed_and_is_checked(pages):
    place = Locator.of(f"{pages}#page=2")
    assert str(place.but(page=None, window="lung")) == f"{pages}#window=lung"
    assert str(place.but(page=1)) == f"{pages}#page=1"
    assert open_image(str(place)).getpixel((0, 0)) == COLOURS[2]
    assert image_info(str(place)).width == 8
    for wrong, message in {
        "page=x": "page=x: give a whole number",
        "page=3": "has 3 pages",
        "slice=1": "a picture has no part 'slice': it has page",
    }.items():
        with pytest.raises(ImageError, match=rf"^{pages}#{wrong}: .*{message}"):
            open_image(f"{pages}#{wrong}")


def corpus_of(pages):
    words = ("red", "green", "blue")
    rows = [{"file_name": f"pages.tif#page={n}", "caption": f"A {words[n]} page."} for n in range(3)]
    table = "".join(json.dumps(row) + "\n" for row in rows)
    (pages.parent / "metadata.jsonl").write_text(table)
    return Corpus.load(pages.parent)


def test_a_corpus_takes_places_and_knows_their_file(pages):
    corpus = corpus_of(pages)
    assert [record.id for record in corpus] == [f"pages.tif#page={n}" for n in range(3)]
    assert corpus.unlisted == ()
    assert [open_image(corpus.image_path(r)).getpixel((0, 0)) for r in corpus] == list(COLOURS)
    with pytest.raises(InputError, match=r"no format has an option 'slizes'"):
        Corpus.load(pages.parent, options={"slizes": 1})


def test_an_index_of_places_is_searched_described_and_shown(pages, tmp_path_factory, monkeypatch):
    counted = Counter()
    monkeypatch.setattr(scan, "sha256_file", lambda path: counted.update([path]) or paths.sha256_file(path))
    corpus = corpus_of(pages)
    folder = tmp_path_factory.mktemp("out") / "index"
    index = build(corpus, folder, store="numpy")
    assert counted == {pages: 1}  # once a file, not once a picture
    hits = index.search(f"{pages}#page=1", k=3)
    assert (hits[0].record.id, hits[0].record.image) == ("pages.tif#page=1", f"{pages}#page=1")
    assert hits[0].duplicate == "exact"
    description = Describer(index, k=1, alpha=0)(f"{pages}#page=2")
    assert description.text == "A blue page."
    assert render_report([description], index).count("data:image/jpeg") == 2
    assert build(corpus, folder, store="numpy").report.unchanged == 3


def test_a_series_is_a_folder_with_parts(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    digests = prepare.FileDigests(scan.Scan())
    before = digests(Locator.of(f"{tmp_path}#slice=1"))
    assert digests(Locator.of(f"{tmp_path}#slice=2")) == before
    (tmp_path / "a").write_bytes(b"other")
    assert prepare.FileDigests(scan.Scan())(Locator.of(f"{tmp_path}#slice=1")) != before
    kept = Corpus.from_records([Record(id="x", image=f"{tmp_path.name}#slice=1")], root=tmp_path.parent)
    assert kept.image_path(kept.records[0]) == tmp_path.parent / f"{tmp_path.name}#slice=1"


class Stack:
    """A format of the test: a text file whose lines name pictures beside it."""

    name = "stack"
    options = frozenset({"every"})

    def matches(self, start, path):
        return start.startswith(b"STACK")

    def open(self, source: Source):
        source.place.only({"line"}, "a stack")
        names = source.stream.read().decode().split()[1:]
        return source.place.file.with_name(names[source.place.whole("line", 0)]).open("rb")

    def expand(self, record, path, options):
        for line in range(0, len(path.read_text().split()) - 1, options.get("every", 1)):
            yield Record(
                id=f"{record.id}/{line}", image=str(Locator(record.image).but(line=line)), caption=record.caption
            )


def test_a_format_opens_and_expands_its_files(pages, monkeypatch):
    monkeypatch.setattr("ragvlm.formats.FORMATS", (Stack(),))
    for name, colour in zip("ab", COLOURS, strict=False):
        Image.new("RGB", (4, 4), colour).save(pages.parent / f"{name}.png")
    (pages.parent / "all.stack").write_text("STACK a.png b.png")
    (pages.parent / "captions.csv").write_text("file_name,caption\nall.stack,Two colours.\na.png,One.\n")
    corpus = Corpus.load(pages.parent)
    assert [record.id for record in corpus] == ["all.stack/0", "all.stack/1", "a.png"]
    assert [open_image(corpus.image_path(r)).getpixel((0, 0)) for r in corpus] == [COLOURS[0], COLOURS[1], COLOURS[0]]
    assert len(Corpus.load(pages.parent, options={"every": 2})) == 2
    assert image_info(corpus.image_path(corpus.records[1])).n_pages == 1
    with pytest.raises(ImageError, match=r"all\.stack#slice=1: a stack has no part 'slice': it has line"):
        open_image(pages.parent / "all.stack#slice=1")
