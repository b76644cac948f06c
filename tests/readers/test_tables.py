"""JSONL, CSV, TSV and Parquet: the same records from each, and every broken row named."""

from __future__ import annotations

import csv
import datetime
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readtools import strictly

from ragvlm.errors import CorpusError, InputError
from ragvlm.readers import find_reader
from ragvlm.types import Record

FORMATS = ("jsonl", "csv", "tsv", "parquet")


def write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def load(path: Path, **columns: str) -> list[Record]:
    return strictly(find_reader(path).read(path, columns))


texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=60)
rows = st.lists(
    st.fixed_dictionaries({"id": texts.filter(str.strip), "image": texts.filter(str.strip), "caption": texts}),
    min_size=1,
    max_size=6,
    unique_by=lambda row: row["id"].strip(),
)


@settings(deadline=None)
@given(rows)
def test_all_tables_give_the_same_records(rows):
    with tempfile.TemporaryDirectory() as folder:
        read = [load(write(Path(folder) / f"table.{suffix}", rows)) for suffix in FORMATS]
    assert read[0] == read[1] == read[2] == read[3]
    assert [r.id for r in read[0]] == [row["id"].strip() for row in rows]
    assert [r.caption for r in read[0]] == [row["caption"].strip() or None for row in rows]


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_field_from_its_usual_column(tmp_path, suffix):
    row = {
        "Image ID": "x1",
        "filepath": "/data/x.png",
        "report": "Two nuclei.",
        "Patient-ID": "p1",
        "study_id": "s1",
        "Modality": "CT",
        "license": "CC0",
        "source": "atlas",
        "label": "benign",
        "organ": "lung",
    }
    assert load(write(tmp_path / f"t.{suffix}", [row])) == [
        Record(
            id="x1",
            image="/data/x.png",
            caption="Two nuclei.",
            subject_id="p1",
            study_id="s1",
            modality="CT",
            labels={"label": "benign"},
            source="atlas",
            licence="CC0",
            extra={"organ": "lung"},
        )
    ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_chosen_columns_and_typed_labels(tmp_path, suffix):
    row = {"path": "x.png", "image": "other", "finding": "clear", "wbc": 3, "share": 0.5, "ok": True, "code": "007"}
    path = write(tmp_path / f"t.{suffix}", [row])
    (record,) = load(path, image="path", caption="finding", labels="wbc, share,ok,code")
    assert (record.image, record.caption) == ("x.png", "clear")
    assert record.labels == {"wbc": 3, "share": 0.5, "ok": True, "code": "007"}
    assert isinstance(record.labels["wbc"], int)
    assert record.extra == {"image": "other"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_column_that_does_not_exist_is_named_with_those_that_do(tmp_path, suffix):
    path = write(tmp_path / f"t.{suffix}", [{"image": "x.png", "note": "n"}])
    with pytest.raises(CorpusError, match=r"no column 'report' for caption: it has image, note"):
        load(path, caption="report")
    with pytest.raises(CorpusError, match="no column 'b' for labels"):
        load(path, labels="note,b")
    with pytest.raises(InputError, match="unknown field 'title'"):
        load(path, title="note")


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_id_twice_names_both_rows(tmp_path, suffix):
    first = 2 if suffix in ("csv", "tsv") else 1
    rows = [{"image": f"{name}.png", "caption": "c"} for name in "aba"]
    with pytest.raises(CorpusError, match=rf"row {first + 2}: has the id 'a\.png' of row {first}: name"):
        load(write(tmp_path / f"t.{suffix}", rows))


def test_identifier_columns_serve_as_subjects_alone(tmp_path):
    path = write(tmp_path / "t.csv", [{"image": "x.png", "mrn": "77", "patient_name": "A. B."}])
    assert load(path, subject_id="mrn")[0].subject_id == "77"
    for field in ("caption", "labels", "id"):
        with pytest.raises(CorpusError, match="'patient_name' identifies a person"):
            load(path, **{field: "patient_name"})


def test_tables_without_pictures_are_texts(tmp_path):
    records = load(write(tmp_path / "t.jsonl", [{"report": "One."}, {"report": "Two.", "id": 5}]))
    assert [(r.id, r.image, r.caption) for r in records] == [("row-1", None, "One."), ("5", None, "Two.")]


def test_a_picture_column_with_an_empty_cell_is_an_error(tmp_path):
    path = write(tmp_path / "t.csv", [{"image": "x.png", "caption": "a"}, {"image": "", "caption": "lost"}])
    with pytest.raises(CorpusError, match=r"t\.csv, row 3: image is empty"):
        load(path)


def test_labels_of_lists_and_objects(tmp_path):
    rows = [
        {"image": "a", "labels": ["mitosis", "edge"]},
        {"image": "b", "labels": {"n": 3, "stain": "DAPI", "none": None}},
        {"image": "c", "labels": None},
    ]
    found = [r.labels for r in load(write(tmp_path / "t.jsonl", rows))]
    assert found == [{"mitosis": True, "edge": True}, {"n": 3, "stain": "DAPI"}, {}]
    with pytest.raises(CorpusError, match="row 1: labels must be numbers"):
        load(write(tmp_path / "t.jsonl", [{"image": "a", "labels": {"box": [1, 2]}}]))


def test_extra_is_made_of_json_types(tmp_path):
    rows = [{"image": "a", "when": datetime.date(2020, 1, 2), "raw": b"x", "nested": [{"v": float("nan")}], "n": None}]
    (record,) = load(write(tmp_path / "t.parquet", rows))
    assert record.extra == {"when": "2020-01-02", "nested": [{"v": None}]}
    json.dumps(record.extra)


def test_numbers_serve_as_ids(tmp_path):
    rows = [{"id": 3, "image": "a", "subject_id": 12.0}, {"id": 4, "image": "b", "subject_id": float("nan")}]
    for suffix in ("jsonl", "parquet"):
        records = load(write(tmp_path / f"t.{suffix}", rows))
        assert [(r.id, r.subject_id) for r in records] == [("3", "12"), ("4", None)]


def test_byte_order_marks_semicolons_and_unnamed_columns(tmp_path):
    (tmp_path / "a.csv").write_bytes('\ufeff;image;caption\r\n0;a.png;"Größe, \nzwei"\r\n\r\n'.encode())
    (tmp_path / "b.jsonl").write_bytes('\ufeff{"image": "a.png"}\n\n'.encode())
    (record,) = load(tmp_path / "a.csv")
    assert (record.image, record.caption, record.extra) == ("a.png", "Größe, \nzwei", {"column_1": "0"})
    assert [r.image for r in load(tmp_path / "b.jsonl")] == ["a.png"]


BROKEN = {
    "latin.csv": ("image,caption\na.png,x\nb.png,Größe\n".encode("latin-1"), "row 3: is not UTF-8"),
    "wide.csv": ("image,caption\n".encode("utf-16"), "row 1: is not UTF-8"),
    "ragged.csv": (b"image,caption\na.png,x\nb.png,y,z\n", "row 3: has 3 cells, but the header has 2"),
    "short.tsv": (b"image\tcaption\na.png\n", "row 2: has 1 cells"),
    "nul.csv": (b"image,caption\na.png,x\0y\n", "row 2: caption holds a NUL"),
    "quote.csv": (b'image,caption\na.png,"x\n', "row 2: unexpected end of data at line 2"),
    "double.csv": (b"image,image\na,b\n", "two columns are called 'image'"),
    "latin.jsonl": ('{"image": "a"}\n{"image": "ö"}\n'.encode("latin-1"), "row 2: is not UTF-8"),
    "list.jsonl": (b'{"image": "a"}\n["b"]\n', "row 2: is list, not a JSON object"),
    "cut.jsonl": (b'{"image": "a"}\n{"image": \n', "row 2: is not JSON"),
    "deep.jsonl": (b"[" * 200_000, "row 1: is not JSON"),
    "nul.jsonl": (b'{"image": "a", "caption": "x\\u0000"}', "row 1: caption holds a NUL"),
    "key.jsonl": (b'{"image": "a", "k\\u0000": 1}', "row 1: holds a NUL"),
    "surrogate.jsonl": (b'{"image": "a", "caption": "\\ud800"}', "row 1: caption holds characters"),
    "number.jsonl": (b'{"image": "a", "caption": ["x"]}', "row 1: caption must be text, not list"),
    "truth.jsonl": (b'{"image": true}', "row 1: must be text, not bool"),
    "noise.parquet": (b"PAR1 noise", "is not a Parquet file"),
    "empty.parquet": (b"", "is not a Parquet file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_tables_name_file_and_row(tmp_path, name):
    data, cause = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=cause) as caught:
        load(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_parquet_body_is_an_error(tmp_path):
    path = write(tmp_path / "t.parquet", [{"image": f"{n}.png", "caption": "c" * 50} for n in range(500)])
    data = bytearray(path.read_bytes())
    data[4:200] = b"\xff" * 196
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=r"t\.parquet, row 1: can't be read, nor what follows"):
        load(path)
