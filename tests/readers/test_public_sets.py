"""Public sets in their published layouts, and what is wrong with them in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from publicsets import (
    BUILDERS,
    chexpert,
    iu_xray,
    path_vqa,
    pmc_vqa,
    quilt_vqa,
    r2gen,
    rocov2,
    rsna,
    slake,
    vqa_rad,
    write_csv,
)

from ragvlm.corpus import Corpus
from ragvlm.errors import CorpusError, InputError
from ragvlm.locator import Locator
from ragvlm.readers import find_reader


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RAGVLM_CACHE", str(tmp_path / "cache"))


def by_id(folder: Path, **options):
    return {record.id: record for record in Corpus.load(folder, **options)}


def questions(record) -> list[tuple[str, str, str]]:
    return [(q["qid"], q["answer"], q["answer_type"]) for q in record.extra["questions"]]


@pytest.mark.parametrize("name", BUILDERS)
def test_the_layout_is_recognised_and_its_pictures_are_there(tmp_path, name):
    folder = BUILDERS[name](tmp_path / "set")
    assert find_reader(folder).name == name
    corpus = Corpus.load(folder)
    assert corpus.reader == name
    assert all(Locator.of(corpus.image_path(record)).file.is_file() for record in corpus)


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "hf-parquet"])
def test_columns_of_its_own(tmp_path, name):
    with pytest.raises(InputError, match=r"has columns of its own: leave out caption$"):
        Corpus.load(BUILDERS[name](tmp_path / "set"), columns={"caption": "x"})


def test_vqa_rad(tmp_path):
    records = by_id(vqa_rad(tmp_path))
    assert list(records) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert records["a.jpg"].subject_id == records["b.jpg"].subject_id == "48e1dd0e-1"
    assert records["a.jpg"].labels == {"organ": "head"}
    assert questions(records["a.jpg"]) == [("0", "Yes", "CLOSED"), ("2", "no", "CLOSED")]
    assert [q["split"] for q in records["a.jpg"].extra["questions"]] == ["train", "test"]
    assert questions(records["c.jpg"]) == [("3", "4", "OPEN")]
    assert by_id(tmp_path / "VQA_RAD Dataset Public.json") == records


def test_slake(tmp_path):
    records = by_id(slake(tmp_path))
    assert list(records) == ["xmlab1/source.jpg", "xmlab2/source.jpg", "xmlab3/source.jpg"]
    first = records["xmlab1/source.jpg"]
    assert (first.image, first.modality, first.labels) == ("imgs/xmlab1/source.jpg", "MRI", {"location": "Abdomen"})
    assert questions(first) == [("0", "MRI", "OPEN"), ("1", "No", "CLOSED")]
    splits = [q["split"] for record in records.values() for q in record.extra["questions"]]
    assert splits == ["train", "train", "validation", "test"]
    assert first.extra["questions"][0]["question_type"] == "Modality"
    assert [questions(r) for r in by_id(tmp_path, reader="slake-zh").values()] == [[("2", "核磁共振", "OPEN")]]


def test_slake_as_on_hugging_face(tmp_path):
    (slake(tmp_path) / "validate.json").rename(tmp_path / "validation.json")
    assert len(by_id(tmp_path)) == 3


def test_path_vqa_joins_equal_pictures_and_parts_those_of_one_name(tmp_path):
    found = by_id(path_vqa(tmp_path / "set")).values()
    records = sorted(found, key=lambda record: questions(record)[0][0].replace("test", "x"))
    assert [questions(record) for record in records] == [
        [("train-00000-1", "in the canals of hering", "OPEN"), ("train-00001-1", "No", "CLOSED")],
        [("train-00000-2", "yes", "CLOSED"), ("validation-00000-1", "cells", "OPEN")],
        [("test-00000-1", "no", "CLOSED")],
    ]
    assert [[q["split"] for q in r.extra["questions"]] for r in records] == [
        ["train", "train"], ["train", "validation"], ["test"]
    ]  # fmt: skip


def test_quilt_vqa_keeps_what_it_says_beside(tmp_path):
    records = list(by_id(quilt_vqa(tmp_path / "set")).values())
    assert [questions(r)[0][2] for r in records] == ["OPEN", "CLOSED", "OPEN"]
    assert records[0].extra["questions"][0]["context"] == "a biopsy"


def test_parquet_without_questions_is_a_corpus_of_captions(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from publicsets import _picture

    for split in ("train", "test"):
        rows = [
            {"image": _picture(n, f"{n}.png"), "caption": f"{split} {n}", "image_id": f"{split}{n}"} for n in (1, 2)
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{split}-00000-of-00001.parquet")
    records = by_id(tmp_path)
    assert {name: (r.caption, r.extra["split"]) for name, r in records.items()} == {
        "test1": ("test 1", "test"), "test2": ("test 2", "test"),
        "train1": ("train 1", "train"), "train2": ("train 2", "train"),
    }  # fmt: skip


def test_rocov2(tmp_path):
    records = by_id(rocov2(tmp_path))
    first = records["ROCOv2_2023_train_000001"]
    assert first.image == "train_images/train/ROCOv2_2023_train_000001.jpg"
    assert first.caption == "Head CT 1 of train, showing parotitis."
    assert first.labels == {"C0040405": True}
    assert records["ROCOv2_2023_test_000002"].labels == {"C0040405": True, "C0030580": True}
    assert [r.extra["split"] for r in records.values()] == ["train", "train", "valid", "test", "test"]


def test_iu_xray_of_kaggle(tmp_path):
    records = by_id(iu_xray(tmp_path))
    frontal, lateral = records["1_IM-0001-4001.dcm.png"], records["1_IM-0001-3001.dcm.png"]
    assert frontal.caption == lateral.caption == "The heart is normal.\nNo effusion. Normal chest."
    assert (frontal.subject_id, frontal.extra["projection"], lateral.extra["projection"]) == ("1", "Frontal", "Lateral")
    assert records["2_IM-0652-1001.dcm.png"].caption == "Mild cardiomegaly."
    assert records["2_IM-0652-1001.dcm.png"].labels == {"Cardiomegaly": True, "Opacity": True}
    assert records["3_IM-0652-1001.dcm.png"].caption is None


def test_r2gen(tmp_path):
    records = by_id(r2gen(tmp_path))
    assert [(r.id, r.subject_id, r.extra["split"]) for r in records.values()] == [
        ("CXR2384_IM-0942/0.png", "CXR2384_IM-0942", "train"),
        ("CXR2384_IM-0942/1.png", "CXR2384_IM-0942", "train"),
        ("CXR2926_IM-1328/0.png", "CXR2926_IM-1328", "train"),
        ("CXR7_IM-1/0.png", "7", "val"),
        ("CXR9_IM-1/0.png", "CXR9_IM-1", "test"),
        ("CXR9_IM-1/1.png", "CXR9_IM-1", "test"),
    ]
    assert records["CXR9_IM-1/1.png"].image == "images/CXR9_IM-1/1.png"


def test_pmc_vqa(tmp_path):
    records = by_id(pmc_vqa(tmp_path))
    first = records["PMC1064097_F1.jpg"]
    assert questions(first) == [("train-2", "Focal uptake pattern", "CLOSED")]
    asked = first.extra["questions"][0]
    assert asked["question"] == "What is the uptake pattern in the breast?"
    assert asked["choices"] == {"A": "choice A", "B": "Focal uptake pattern", "C": "choice C", "D": "choice D"}
    assert first.subject_id == records["PMC1064097_F2.jpg"].subject_id == "PMC1064097"
    assert [q["split"] for q in records["PMC8253873_F9.jpg"].extra["questions"]] == [
        "test"
    ]  # of the checked part alone


def test_pmc_vqa_of_the_second_version(tmp_path):
    for split in ("train", "test"):
        row = {"index": 0, "Figure_path": f"PMC1_{split}.jpg", "Caption": "A figure.", "Question": "What?"}
        row |= {f"Choice {letter}": f"{letter}. word {letter}" for letter in "ABCD"} | {"Answer": "D", "split": split}
        write_csv(tmp_path / f"{split}_2.csv", [row])
        (tmp_path / "figures").mkdir(exist_ok=True)
        (tmp_path / "figures" / f"PMC1_{split}.jpg").write_bytes(b"x")
    records = by_id(tmp_path)
    assert records["PMC1_test.jpg"].caption == "A figure."
    assert questions(records["PMC1_test.jpg"]) == [("test_2-2", "word D", "CLOSED")]
    assert list(by_id(tmp_path / "train_2.csv", reader="pmc-vqa")) == ["PMC1_train.jpg"]


def test_a_table_of_questions(tmp_path):
    rows = [{"qid": str(n), "file_name": "a.png", "case_id": "c", "question": f"q{n}?", "answer": n} for n in (1, 2)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "a.png").write_bytes(b"x")
    (record,) = by_id(tmp_path / "q.jsonl", reader="vqa-table").values()
    assert (record.id, record.subject_id, questions(record)) == ("a.png", "c", [("1", "1", "OPEN"), ("2", "2", "OPEN")])


def test_the_real_questions_as_a_table(shared_data):
    records = by_id(shared_data / "vqa-rad" / "questions_train.jsonl", reader="vqa-table")
    assert len(records) == 313
    asked = [q for record in records.values() for q in record.extra["questions"]]
    assert len({q["qid"] for q in asked}) == 1797
    assert sum(q["answer_type"] == "CLOSED" for q in asked) == 1027


def edit(path: str, change: Callable[[list], object], inside: str | None = None) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        value = json.loads((folder / path).read_text())
        change(value if inside is None else value[inside])
        (folder / path).write_text(json.dumps(value))

    return apply


def text(path: str, old: str, new: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        found = (folder / path).read_text()
        assert old in found
        (folder / path).write_text(found.replace(old, new))

    return apply


def gone(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).rename(folder / "elsewhere") and None


RAD = "VQA_RAD Dataset Public.json"
BROKEN = [
    (vqa_rad, edit(RAD, lambda rows: rows[1].pop("answer")), r"row 2: answer is empty: every question needs"),
    (vqa_rad, edit(RAD, lambda rows: rows[0].update(question=["?"])), r"row 1: question must be text, not list"),
    (vqa_rad, edit(RAD, lambda rows: rows[0].update(image_name="../a.jpg")), r"row 1: '../a.jpg' leaves the folder"),
    (vqa_rad, edit(RAD, lambda rows: rows[2].update(image_name=None)), r"row 3: image_name is empty"),
    (vqa_rad, edit(RAD, lambda rows: rows.append("x")), r"row 6: is str, not a JSON object"),
    (vqa_rad, lambda folder: (folder / RAD).write_bytes(b"\xff"), r"Public\.json: is not UTF-8"),
    (vqa_rad, lambda folder: (folder / RAD).write_text("[" * 100_000), r"Public\.json: is not JSON"),
    (vqa_rad, lambda folder: (folder / RAD).write_text("{}"), r"Public\.json: holds no list of objects"),
    (vqa_rad, gone("VQA_RAD Image Folder"), r"has no folder 'VQA_RAD Image Folder': unzip"),
    (vqa_rad, gone("VQA_RAD Image Folder/c.jpg"), r"c\.jpg: is not there"),
    (slake, edit("test.json", lambda rows: rows[0].update(img_name="")), r"test\.json, row 1: img_name is empty"),
    (slake, edit("test.json", lambda rows: rows[0].update(answer=" ")), r"test\.json, row 1: answer is empty"),
    (rocov2, gone("test_images"), r"test_captions\.csv, row 2: picture 'ROCOv2_2023_test_000001' is in none of"),
    (rocov2, text("valid_captions.csv", "ROCOv2_2023_valid_000001", ""), r"valid_captions\.csv, row 2: ID is empty"),
    (rocov2, text("test_concepts.csv", "ROCOv2_2023_test_000002", " "), r"test_concepts\.csv, row 3: ID is empty"),
    (rocov2, text("test_captions.csv", "_test_000002", "/../../../x"), r"row 3: .* leaves the folder"),
    (iu_xray, text("indiana_projections.csv", "4,4_IM", "5,4_IM"), r"row 6: no report has the uid '5'"),
    (iu_xray, text("indiana_projections.csv", "4,4_IM", ",4_IM"), r"row 6: uid or filename is empty"),
    (iu_xray, gone("images"), r"has none of the folders images/images_normalized.*: unzip"),
    (r2gen, edit("annotation.json", lambda rows: rows[0].update(image_path="x"), "train"), r"train row 1: must have"),
    (r2gen, edit("annotation.json", lambda rows: rows[0].update(image_path=["/x"]), "val"), r"val row 1: '/x' leaves"),
    (r2gen, text("annotation.json", '"test":', '"rest":'), r"annotation\.json: holds no list of objects called 'test'"),
    (pmc_vqa, text("train.csv", "F1.jpg", "\0"), r"train\.csv"),
    (pmc_vqa, text("test_clean.csv", ",C\n", ",E\n"), r"test_clean\.csv, row 2: the right answer is 'E'"),
    (pmc_vqa, gone("images"), r"has none of the folders images, figures, images_2: unzip"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "damage", "message"), BROKEN, ids=range(len(BROKEN)))
def test_what_is_wrong_is_one_line(tmp_path, build, damage, message):
    folder = build(tmp_path / "set")
    damage(folder)
    with pytest.raises(CorpusError, match=message) as caught:
        Corpus.load(folder, reader=find_reader(build(tmp_path / "whole")).name, strict=True)
    assert "\n" not in str(caught.value)


def test_a_table_without_the_columns_of_questions(tmp_path):
    (tmp_path / "q.csv").write_text("image,question\na.png,what?\n")
    with pytest.raises(CorpusError, match=r"q\.csv: has no column 'answer': it has image, question$"):
        Corpus.load(tmp_path / "q.csv", reader="vqa-table")
    (tmp_path / "q.csv").write_text("picture,question,answer\na.png,what?,x\n")
    with pytest.raises(CorpusError, match=r"q\.csv: no column names the pictures"):
        Corpus.load(tmp_path / "q.csv", reader="vqa-table")
    with pytest.raises(CorpusError, match=r"is no table: give a \.jsonl"):
        Corpus.load(tmp_path, reader="vqa-table")


@pytest.mark.parametrize("name", [*BUILDERS, "slake-zh"])
def test_a_folder_without_the_layout(tmp_path, name):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(CorpusError, match=r"(has no|holds no|has none|can't be read|No such file)"):
        Corpus.load(tmp_path, reader=name)


def test_chexpert_has_findings_and_tells_patients_and_views_apart(tmp_path):
    records = by_id(chexpert(tmp_path / "x"))
    assert len(records) == 4
    one, two = (records[f"train/patient0000{n}/study{n}/view1_frontal.jpg"] for n in (1, 2))
    assert one.labels == {"No Finding": True}
    assert two.labels == {"Cardiomegaly": "uncertain", "Edema": False, "Pleural Effusion": True}
    assert (two.subject_id, two.study_id) == ("patient00002", "patient00002/study2")
    lateral = records["train/patient00002/study2/view2_lateral.jpg"]
    assert (lateral.subject_id, lateral.extra["view"]) == ("patient00002", "Lateral")
    assert one.extra == {"split": "train", "sex": "Female", "age": "68", "view": "Frontal", "projection": "AP"}
    table = (tmp_path / "x" / "valid.csv").read_text()
    (tmp_path / "x" / "valid.csv").write_text(table.replace("0.0,1.0", "maybe,1.0"))
    (skipped,) = Corpus.load(tmp_path / "x").skipped
    assert "No Finding is 'maybe', not 1.0, 0.0, -1.0 or empty" in skipped.reason


def test_the_rsna_challenge_has_boxes_and_its_files_go_by_hashes(tmp_path):
    opaque, normal, other = Corpus.load(rsna(tmp_path / "x")).records
    assert opaque.labels == {"pneumonia": True, "class": "Lung Opacity"}
    boxes = [box["bbox"] for box in opaque.extra["boxes"]]
    assert boxes == [[2.0, 1.0, 5.0, 5.0], [6.0, 1.0, 7.0, 2.0]]
    assert (normal.labels, other.labels["class"]) == (
        {"pneumonia": False, "class": "Normal"},
        "No Lung Opacity / Not Normal",
    )
    assert "boxes" not in normal.extra
    assert (opaque.modality, opaque.extra["view_position"], opaque.subject_id[:9]) == ("X-ray", "PA", "aaaaaaaa-")
    assert "aaaa" not in f"{opaque.id} {opaque.image}"
    with (tmp_path / "x" / "stage_2_train_labels.csv").open("a") as table:
        table.write("q,1,,3,4,1\n")
    corpus = Corpus.load(tmp_path / "x")
    assert "its box is not made of four numbers (y is empty)" in corpus.skipped[0].reason
