"""Public sets in their published layouts, with a handful of drawn pictures each."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dicoms import make
from pictures import draw, encoded

CASE = "https://medpix.nlm.nih.gov/case?id=48e1dd0e-{}&quiz=no"


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def vqa_rad(folder: Path) -> Path:
    """Four pictures of three cases; a.jpg has questions of both parts."""

    def row(qid: int, image: str, case: str, question: str, answer: Any, kind: str, phrase: str) -> dict[str, Any]:
        return {
            "qid": qid, "image_name": image, "image_organ": "HEAD", "image_case_url": CASE.format(case),
            "question": question, "answer": answer, "answer_type": kind, "question_type": "PRES", "phrase_type": phrase,
        }  # fmt: skip

    rows = [
        row(0, "a.jpg", "1", "Is the brain infarcted?", "Yes", "CLOSED", "freeform"),
        row(1, "b.jpg", "1", "What plane?", "axial", "OPEN", "para"),
        row(2, "a.jpg", "1", "Is there a bleed?", "no", "CLOSED ", "test_freeform"),
        row(3, "c.jpg", "2", "How many gallstones are identified?", 4, "OPEN", "test_para"),
        row(4, "d.jpg", "3", "Is this a CT scan?", "yes", "CLOSED", "freeform"),
    ]
    write_json(folder / "VQA_RAD Dataset Public.json", rows)
    draw(*(folder / "VQA_RAD Image Folder" / f"{name}.jpg" for name in "abcd"))
    return folder


def slake(folder: Path) -> Path:
    def row(qid: int, image: int, question: str, answer: str, kind: str, language: str = "en") -> dict[str, Any]:
        return {
            "img_id": image, "img_name": f"xmlab{image}/source.jpg", "question": question, "answer": answer,
            "q_lang": language, "location": "Abdomen", "modality": "MRI", "answer_type": kind, "base_type": "vqa",
            "content_type": "Modality", "triple": ["vhead", "_", "_"], "qid": qid,
        }  # fmt: skip

    write_json(
        folder / "train.json",
        [
            row(0, 1, "What modality is used?", "MRI", "OPEN"),
            row(1, 1, "Is this a CT?", "No", "CLOSED"),
            row(2, 1, "这是什么？", "核磁共振", "OPEN", "zh"),
        ],
    )
    write_json(folder / "validate.json", [row(3, 2, "Is the liver normal?", "Yes", "CLOSED")])
    write_json(folder / "test.json", [row(4, 3, "Which organ is abnormal?", "Liver, Right", "OPEN")])
    draw(*(folder / "imgs" / f"xmlab{n}" / "source.jpg" for n in (1, 2, 3)))
    return folder


def _parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def _picture(shade: int, name: str | None = None) -> dict[str, Any]:
    return {"bytes": encoded(np.full((6, 8, 3), shade, np.uint8), "PNG"), "path": name}


def path_vqa(folder: Path) -> Path:
    """The third row shows the first one's picture; a picture of the same name holds other pixels."""
    a, b, c = _picture(1, "train_0.jpg"), _picture(2, "train_0.jpg"), _picture(3)
    first = [
        {"image": a, "question": "where are liver stem cells located?", "answer": "in the canals of hering"},
        {"image": b, "question": "are bile duct cells shown?", "answer": "yes"},
    ]
    _parquet(folder / "data" / "train-00000-of-00002-a1b2c3.parquet", first)
    _parquet(
        folder / "data" / "train-00001-of-00002.parquet", [{"image": a, "question": "is it stained?", "answer": "No"}]
    )
    _parquet(
        folder / "data" / "validation-00000-of-00001.parquet", [{"image": b, "question": "what?", "answer": "cells"}]
    )
    _parquet(folder / "data" / "test-00000-of-00001.parquet", [{"image": c, "question": "is it lung?", "answer": "no"}])
    return folder


def quilt_vqa(folder: Path) -> Path:
    rows = [
        {"image": _picture(n), "question": f"What does arrow {n} show?", "answer": f"Gland {n}.", "answer_type": kind,
         "context": "a biopsy"}
        for n, kind in enumerate(["OPEN", "CLOSED", "OPEN"])
    ]  # fmt: skip
    _parquet(folder / "data" / "train-00000-of-00001.parquet", rows)
    return folder


def rocov2(folder: Path) -> Path:
    for split, ids in (("train", (1, 2)), ("valid", (1,)), ("test", (1, 2))):
        names = [f"ROCOv2_2023_{split}_{n:06d}" for n in ids]
        captions = [{"ID": name, "Caption": f"Head CT {name[-1]} of {split}, showing parotitis."} for name in names]
        write_csv(folder / f"{split}_captions.csv", captions)
        concepts = [{"ID": name, "CUIs": "C0040405;C0030580" if n else "C0040405"} for n, name in enumerate(names)]
        write_csv(folder / f"{split}_concepts.csv", concepts)
        inner = f"{split}_images/{split}" if split == "train" else f"{split}_images"
        draw(*(folder / inner / f"{name}.jpg" for name in names))
    return folder


def iu_xray(folder: Path) -> Path:
    rows = [
        {"uid": 1, "MeSH": "normal", "Problems": "normal", "image": "Xray Chest PA", "indication": "Cough",
         "comparison": "None.", "findings": "The heart is normal.\nNo effusion.", "impression": "Normal chest."},
        {"uid": 2, "MeSH": "Cardiomegaly/mild", "Problems": "Cardiomegaly;Opacity", "image": "PA", "indication": "",
         "comparison": "", "findings": "", "impression": "Mild cardiomegaly."},
        {"uid": 3, "MeSH": "", "Problems": "", "image": "PA", "indication": "", "comparison": "", "findings": "",
         "impression": ""},
        {"uid": 4, "MeSH": "", "Problems": "normal", "image": "PA", "indication": "", "comparison": "",
         "findings": "Clear lungs.", "impression": "Normal."},
    ]  # fmt: skip
    write_csv(folder / "indiana_reports.csv", rows)
    views = [("1", "1_IM-0001-4001.dcm.png", "Frontal"), ("1", "1_IM-0001-3001.dcm.png", "Lateral")]
    views += [(uid, f"{uid}_IM-0652-1001.dcm.png", "Frontal") for uid in "234"]
    projections = [{"uid": uid, "filename": name, "projection": view} for uid, name, view in views]
    write_csv(folder / "indiana_projections.csv", projections)
    draw(*(folder / "images" / "images_normalized" / name for _, name, _ in views))
    return folder


def r2gen(folder: Path) -> Path:
    def study(name: str, split: str, views: int, **more: str) -> dict[str, Any]:
        pictures = [f"{name}/{n}.png" for n in range(views)]
        draw(*(folder / "images" / picture for picture in pictures))
        return {
            "id": name,
            "report": f"The heart of {name} is normal .",
            "image_path": pictures,
            "split": split,
            **more,
        }

    parts = {
        "train": [study("CXR2384_IM-0942", "train", 2), study("CXR2926_IM-1328", "train", 1)],
        "val": [study("CXR7_IM-1", "val", 1, subject_id="7", study_id="s7")],
        "test": [study("CXR9_IM-1", "test", 2)],
    }
    write_json(folder / "annotation.json", parts)
    return folder


def pmc_vqa(folder: Path) -> Path:
    def row(figure: str, question: str, answer: str, right: str) -> dict[str, str]:
        words = {letter: f" {letter}:choice {letter} " for letter in "ABCD"}
        words[right] = f" {right}: {answer} "
        choices = {f"Choice {letter}": word for letter, word in words.items()}
        return {"Figure_path": figure, "Question": question, "Answer": f" {answer} ", **choices, "Answer_label": right}

    write_csv(
        folder / "train.csv",
        [
            row("PMC1064097_F1.jpg", "What is the uptake pattern in the breast? ", "Focal uptake pattern", "B"),
            row("PMC1064097_F2.jpg", "What is stained?", "Nuclei", "A"),
        ],
    )
    test = [row("PMC8253873_F9.jpg", "Which artery is shown?", "Left anterior descending", "C")]
    write_csv(folder / "test_clean.csv", test)
    write_csv(folder / "test.csv", test * 2)
    draw(*(folder / "images" / name for name in ("PMC1064097_F1.jpg", "PMC1064097_F2.jpg", "PMC8253873_F9.jpg")))
    return folder


def medmnist(
    path: Path, *, classes: int = 5, colour: bool = True, labels: int = 1, n: Sequence[int] = (6, 2, 4)
) -> Path:
    """Pictures of one shade each, all different; the label is the number of the picture, modulo the classes."""
    arrays: dict[str, np.ndarray] = {}
    shade = 0
    for split, count in zip(("train", "val", "test"), n, strict=True):
        shades = np.arange(shade, shade + count, dtype=np.uint8)
        shape = (count, 28, 28, 3) if colour else (count, 28, 28)
        arrays[f"{split}_images"] = np.broadcast_to(shades.reshape(-1, *(1,) * (len(shape) - 1)), shape).copy()
        numbers = (shades % classes)[:, None] if labels == 1 else np.eye(labels, dtype=np.uint8)[shades % labels]
        arrays[f"{split}_labels"] = numbers
        shade += count
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return path


def chexpert(folder: Path) -> Path:
    """Two patients; the second one's study has two views."""
    findings = ("No Finding", "Cardiomegaly", "Edema", "Pleural Effusion")

    def row(name: str, view: str, *answers: str) -> dict[str, str]:
        about = {"Path": f"CheXpert-v1.0-small/{name}", "Sex": "Female", "Age": "68", "Frontal/Lateral": view}
        return about | {"AP/PA": "AP" if view == "Frontal" else ""} | dict(zip(findings, answers, strict=True))

    train = [
        row("train/patient00001/study1/view1_frontal.jpg", "Frontal", "1.0", "", "", ""),
        row("train/patient00002/study2/view1_frontal.jpg", "Frontal", "", "-1.0", "0.0", "1.0"),
        row("train/patient00002/study2/view2_lateral.jpg", "Lateral", "", "-1.0", "0.0", "1.0"),
    ]
    valid = [row("valid/patient64541/study1/view1_frontal.jpg", "Frontal", "0.0", "1.0", "0.0", "0.0")]
    write_csv(folder / "train.csv", train)
    write_csv(folder / "valid.csv", valid)
    draw(*(folder / item["Path"].partition("/")[2] for item in (*train, *valid)))
    return folder


def rsna(folder: Path) -> Path:
    """Three patients: two boxes, none, and none with another finding."""
    a, b, c = (f"{letter * 8}-0000-4000-8000-{letter * 12}" for letter in "abc")

    def row(name: str, *box: float) -> dict[str, Any]:
        corners = box or ("", "", "", "")
        return {
            "patientId": name,
            **dict(zip(("x", "y", "width", "height"), corners, strict=True)),
            "Target": int(bool(box)),
        }

    write_csv(folder / "stage_2_train_labels.csv", [row(a, 2.0, 1.0, 3.0, 4.0), row(a, 6, 1, 1, 1), row(b), row(c)])
    classes = {a: "Lung Opacity", b: "Normal", c: "No Lung Opacity / Not Normal"}
    info = [{"patientId": name, "class": kind} for name, kind in classes.items()]
    write_csv(folder / "stage_2_detailed_class_info.csv", [info[0], *info])
    for name in (a, b, c):
        pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
        make(folder / "stage_2_train_images" / f"{name}.dcm", pixels, Modality="CR", PatientID=name, ViewPosition="PA")
    return folder


BUILDERS: Mapping[str, Callable[[Path], Path]] = {
    "vqa-rad": vqa_rad,
    "slake": slake,
    "hf-parquet": path_vqa,
    "rocov2": rocov2,
    "iu-xray": iu_xray,
    "r2gen": r2gen,
    "pmc-vqa": pmc_vqa,
    "chexpert": chexpert,
    "rsna-pneumonia": rsna,
}
"""A builder for each layout that is a folder, by the name of its reader."""
