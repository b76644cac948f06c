"""Folders: with a table, with labels, with nothing; and paths that try to leave them."""

from __future__ import annotations

import pytest
from pictures import draw
from readtools import strictly

from ragvlm.errors import CorpusError, InputError
from ragvlm.readers import READERS, find_reader
from ragvlm.types import Reader, Record


def load(path, **columns):
    return strictly(find_reader(path).read(path, columns))


def test_every_reader_keeps_the_protocol(tmp_path):
    assert all(isinstance(reader, Reader) for reader in READERS)
    assert len({reader.name for reader in READERS}) == len(READERS)
    for reader in READERS:
        assert not reader.matches(tmp_path)
        assert not reader.matches(tmp_path / "absent")
        assert not reader.matches(tmp_path / "nul\0")
        assert find_reader(tmp_path, reader.name) is reader


def test_metadata_keeps_order_and_the_rest_of_the_columns(metadata):
    folder = metadata(
        {"file_name": "deep/c.png", "caption": "c", "boxes": [{"bbox": [1, 2]}]}, {"file_name": "./a.png"}
    )
    assert find_reader(folder).name == "image-folder"
    assert load(folder) == [
        Record(id="deep/c.png", image="deep/c.png", caption="c", extra={"boxes": [{"bbox": [1, 2]}]}),
        Record(id="a.png", image="a.png"),
    ]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("captions.csv", "Image,Caption"),
        ("captions.csv", "File Name,text"),
        ("metadata.csv", "file_name,description"),
        ("captions.csv", "filename,Report"),
    ],
)
def test_captions_with_flexible_headers(folder, name, header):
    (folder / name).write_text(f"{header}\na.png,first\nb.png,\n")
    assert [(r.id, r.caption) for r in load(folder)] == [("a.png", "first"), ("b.png", None)]


def test_tables_in_sub_folders(tmp_path):
    draw(tmp_path / "train" / "a.png", tmp_path / "test" / "a.png")
    (tmp_path / "train" / "metadata.csv").write_text("file_name,caption\na.png,one\n")
    (tmp_path / "test" / "metadata.jsonl").write_text('{"file_name": "a.png", "caption": "two"}\n')
    assert [(r.id, r.image, r.caption) for r in load(tmp_path)] == [
        ("test/a.png", "test/a.png", "two"),
        ("train/a.png", "train/a.png", "one"),
    ]


def test_two_tables_in_one_folder_are_ambiguous(metadata):
    folder = metadata({"file_name": "a.png"})
    (folder / "captions.csv").write_text("file_name,caption\na.png,x\n")
    with pytest.raises(CorpusError, match=r"metadata\.jsonl and captions\.csv"):
        load(folder)


def test_a_table_without_a_picture_column(metadata):
    with pytest.raises(CorpusError, match=r"no column names the pictures.*it has picture, text"):
        load(metadata({"picture": "a.png", "text": "x"}))
    assert load(metadata({"picture": "a.png", "text": "x"}), image="picture")[0].image == "a.png"


@pytest.mark.parametrize(
    "name", ["../a.png", "deep/../../a.png", "/etc/a.png", "..", "C:\\a.png", "\\\\host\\a.png", "..\\a.png", "\\a.png"]
)
def test_paths_that_leave_the_folder_are_refused(metadata, name):
    with pytest.raises(CorpusError, match=r"metadata\.jsonl, row 2: .*leaves the folder"):
        load(metadata({"file_name": "a.png"}, {"file_name": name}))


def test_paths_may_turn_inside_the_folder(metadata):
    assert load(metadata({"file_name": "deep/../b.png"}))[0].image == "b.png"


def test_sub_folders_are_labels(tmp_path):
    draw(tmp_path / "normal" / "1.png", tmp_path / "normal" / "x" / "2.PNG", tmp_path / "tumour" / "1.png")
    (tmp_path / "notes").mkdir()
    draw(tmp_path / ".hidden" / "0.png")
    assert find_reader(tmp_path).name == "label-folder"
    assert [(r.id, r.labels) for r in load(tmp_path)] == [
        ("normal/1.png", {"label": "normal"}),
        ("normal/x/2.PNG", {"label": "normal"}),
        ("tumour/1.png", {"label": "tumour"}),
    ]


def test_plain_pictures(folder):
    (folder / "notes.txt").write_text("x")
    assert find_reader(folder).name == "picture-folder"
    assert load(folder) == [Record(id=i, image=i) for i in ("a.png", "b.png", "deep/c.png")]
    with pytest.raises(InputError, match="leave out caption"):
        load(folder, caption="text")


def test_what_is_not_understood_lists_what_is(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(CorpusError, match=r"understood are .*metadata\.jsonl.*\.parquet file"):
            find_reader(path)
    for path in (tmp_path / "absent", tmp_path / "nul\0", tmp_path / ("x" * 5000)):
        with pytest.raises(CorpusError):
            find_reader(path)
    with pytest.raises(InputError, match="unknown reader 'dicom'"):
        find_reader(tmp_path, "dicom")
