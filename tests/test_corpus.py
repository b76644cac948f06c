"""Corpora as a whole: what is checked, what is reported, what the fingerprint sees."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from ragvlm.corpus import Corpus
from ragvlm.errors import CorpusError, InputError
from ragvlm.readers import READERS
from ragvlm.readers.columns import DEFAULTS
from ragvlm.types import Record, Skipped

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    return tmp_path


def write(folder, *rows):
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_pictures_that_no_row_names_are_reported(folder):
    corpus = Corpus.load(write(folder, {"file_name": "b.png", "caption": "x"}))
    assert corpus.unlisted == ("a.png", "c.png")
    assert [record.id for record in corpus] == ["b.png"]
    assert (len(corpus), corpus.root, corpus.name, corpus.reader) == (1, folder, folder.name, "image-folder")
    assert corpus.image_path(corpus.records[0]) == folder / "b.png"


def test_what_cannot_be_a_record_is_skipped_with_its_reason(folder):
    (folder / "d.png").mkdir()
    (folder / "e.png").symlink_to(folder / "e.png")
    os.mkfifo(folder / "f.png")
    os.mkfifo(folder / "g.tif")
    rows = [{"file_name": f"{name}.png", "caption": "x"} for name in ("a", "absent", "d", "e", "f", "a", "x" * 300)]
    write(folder, *rows, {"file_name": "b.png", "caption": ["x"]}, {"file_name": "c.png"})
    corpus = Corpus.load(folder)
    assert [record.id for record in corpus] == ["a.png", "c.png"]
    assert corpus.skipped == (
        Skipped("absent.png", "is not there"),
        Skipped("d.png", "is not a file"),
        Skipped("e.png", "Too many levels of symbolic links"),
        Skipped("f.png", "is not a file"),
        Skipped("metadata.jsonl, row 6", "has the id 'a.png' of row 1: name a column of unique ids as that of id"),
        Skipped(f"{'x' * 300}.png", "File name too long"),
        Skipped("metadata.jsonl, row 8", "caption must be text, not list"),
    )
    assert corpus.summary()["skipped"] == 7
    with pytest.raises(CorpusError, match=r"/absent\.png: is not there$"):
        Corpus.load(folder, strict=True)
    alone = Corpus.load(write(folder, {"file_name": "a.png", "caption": "x"}, {"file_name": "c.png"}))
    assert alone.fingerprint == corpus.fingerprint  # what was skipped leaves no trace
    assert Corpus.load(folder, strict=True).skipped == ()


def test_a_corpus_of_which_nothing_is_left_is_an_error(folder):
    with pytest.raises(CorpusError, match=r"no records; all 2 were skipped, the first: absent0\.png: is not there$"):
        Corpus.load(write(folder, *({"file_name": f"absent{n}.png", "caption": "x"} for n in range(2))))


def test_links_to_nowhere_are_skipped_in_a_folder_of_pictures(folder):
    (folder / "d.png").symlink_to("nowhere")
    corpus = Corpus.load(folder)
    assert (len(corpus), corpus.skipped, corpus.unlisted) == (3, (Skipped("d.png", "is not there"),), ())


def test_identifiers_are_dropped_and_named(folder):
    row = {"file_name": "a.png", "patient_name": "A. B.", "MRN": 1, "visit": {"dob": "1960", "age": 60}}
    corpus = Corpus.load(write(folder, row | {"labels": {"zip": "1", "n": 2}}))
    assert corpus.dropped_columns == ("MRN", "dob", "patient_name", "zip")
    assert corpus.records[0].extra == {"visit": {"age": 60}}
    assert corpus.records[0].labels == {"n": 2}
    record = Record(id="x", image="a.png", extra={"email": "a@b.c"})
    made = Corpus.from_records([record], root=folder)
    assert made.dropped_columns == ("email",)
    assert record.extra == {"email": "a@b.c"}


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_corpus_is_an_error(tmp_path, content):
    (tmp_path / "metadata.jsonl").write_text(content)
    with pytest.raises(CorpusError):
        Corpus.load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="holds no corpus"):
        Corpus.load(tmp_path / "empty")
    (tmp_path / "rows.csv").write_text("image,caption\n")
    with pytest.raises(CorpusError, match="holds no records"):
        Corpus.load(tmp_path / "rows.csv")
    with pytest.raises(CorpusError, match="holds no records"):
        Corpus.from_records([])


def test_files_may_name_pictures_anywhere(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("tables")
    (place / "reports.csv").write_text(f"image,caption\n{folder / 'a.png'},x\n../{folder.name}/b.png,y\n")
    corpus = Corpus.load(place / "reports.csv")
    assert (corpus.name, corpus.root, corpus.unlisted) == ("reports", place, ())
    assert [corpus.image_path(r).resolve() for r in corpus] == [folder / "a.png", folder / "b.png"]


def test_columns_and_readers_can_be_chosen(folder):
    write(folder, {"file_name": "a.png", "note": "x"})
    assert Corpus.load(folder, columns={"caption": "note"}).records[0].caption == "x"
    assert len(Corpus.load(folder, reader="picture-folder")) == 3
    with pytest.raises(InputError, match="unknown field"):
        Corpus.load(folder, columns={"captions": "note"})

    class Twice:
        name = "twice"

        def matches(self, path):
            return False

        def read(self, path, columns):
            yield Record(id="same", image="a.png")
            yield Record(id="same", image="b.png")

    assert Corpus.load(folder, reader=Twice()).skipped == (Skipped("b.png", "has the id 'same' of an earlier record"),)
    with pytest.raises(CorpusError, match=r"b\.png: has the id 'same' of an earlier record"):
        Corpus.load(folder, reader=Twice(), strict=True)


def test_the_fingerprint_is_of_contents_not_of_the_place(folder, tmp_path_factory):
    record = Record(id="1", image="a.png", caption="x", labels={"n": 1, "m": 2}, extra={"k": [1]})
    first = Corpus.from_records([record], root=folder).fingerprint
    elsewhere = tmp_path_factory.mktemp("copy")
    (elsewhere / "a.png").write_bytes((folder / "a.png").read_bytes())
    assert Corpus.from_records([record], root=elsewhere).fingerprint == first
    turned = dataclasses.replace(record, labels={"m": 2, "n": 1})
    assert Corpus.from_records([turned], root=folder).fingerprint == first
    changes = [{"id": "2"}, {"image": "b.png"}, {"caption": "y"}, {"subject_id": "s"}, {"labels": {"n": 1}}]
    changes += [{"extra": {}}, {"licence": "CC0"}]
    seen = {Corpus.from_records([dataclasses.replace(record, **c)], root=folder).fingerprint for c in changes}
    assert len(seen | {first}) == len(changes) + 1
    with (elsewhere / "a.png").open("ab") as stream:
        stream.write(b"x")
    assert Corpus.from_records([record], root=elsewhere).fingerprint != first


def test_records_without_pictures(tmp_path):
    corpus = Corpus.from_records([Record(id="t", caption="words")], root=tmp_path, name="texts")
    assert corpus.summary()["images"] == 0
    with pytest.raises(CorpusError, match="'t' has no picture"):
        corpus.image_path(corpus.records[0])
    with pytest.raises(CorpusError, match="has no id"):
        Corpus.from_records([Record(id="")], root=tmp_path)


def test_real_corpora(shared_data):
    blood = Corpus.load(shared_data / "blood-cells", columns={"labels": "wbc,rbc,platelets"})
    assert (len(blood), blood.unlisted, blood.dropped_columns) == (300, (), ())
    assert blood.summary()["captions"] == 300
    assert blood.records[0].labels == {"wbc": 1, "rbc": 19, "platelets": 0}
    assert blood.records[0].extra["boxes"][0] == {"label": "WBC", "bbox": [260, 177, 491, 376]}
    cells = Corpus.load(shared_data / "cell-assays")
    assert (len(cells), cells.summary()["subjects"]) == (38, len({r.subject_id for r in cells}))
    vqa = Corpus.load(shared_data / "vqa-rad")
    assert (len(vqa), len(vqa.unlisted), vqa.summary()["captions"]) == (314, 1, 0)
    assert sum(len(r.extra["questions"]) for r in vqa) == 1797
    questions = Corpus.load(shared_data / "vqa-rad" / "questions_train.jsonl", columns={"id": "qid"})
    assert len(questions) == 1797


def test_the_documentation_lists_the_formats_and_the_columns():
    text = (ROOT / "docs" / "corpora.md").read_text(encoding="utf-8")
    for field, names in DEFAULTS.items():
        assert f"| `{field}` | {', '.join(f'`{name}`' for name in names)}" in text
    for reader in READERS:
        assert f"| `{reader.name}` |" in text
