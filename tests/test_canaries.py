"""Identifiers are planted wherever a corpus may carry them, and looked for in all that is written and printed."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
import tiny
from evaltools import suite_file
from PIL import Image, PngImagePlugin

import ragvlm as rv
from ragvlm.corpus import Corpus
from ragvlm.describe import Describer
from ragvlm.report import render_report

ROOT = Path(__file__).resolve().parents[1]
NAME, NUMBER, DAY = "Zebulon Quagmire", "QX77120934", "17 March 1961"
CANARIES = tuple(
    word.encode() for word in ("Quagmire", "Zebulon", "QUAGMIRE", NUMBER, "March 1961", "19610317", "quagmire")
)
TAGS = (
    *(
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientAddress",
        "OtherPatientNames",
        "AccessionNumber",
        "StudyID",
    ),
    *(
        "InstitutionName",
        "ReferringPhysicianName",
        "OperatorsName",
        "PatientComments",
        "StudyDescription",
        "ImageComments",
    ),
    *("SeriesDescription", "RequestingPhysician", "AdditionalPatientHistory", "PatientTelephoneNumbers", "StationName"),
)


def _png(path: Path, colour: str) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", NAME)
    texts.add_itxt("Description", f"{NAME} {NUMBER}", zip=True)
    exif = Image.Exif()
    exif[315] = NAME  # Artist
    exif[270] = f"{NAME}, {NUMBER}"  # ImageDescription
    Image.new("RGB", (24, 24), tiny.COLOURS[colour]).save(path, pnginfo=texts, exif=exif)


def _jpeg(path: Path, colour: str) -> None:
    exif = Image.Exif()
    exif[315] = NAME
    exif[0x9286] = NAME  # UserComment
    Image.new("RGB", (24, 24), tiny.COLOURS[colour]).save(path, exif=exif, comment=f"{NAME} {NUMBER}".encode())


def _dicom(path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    data = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    for keyword in TAGS:
        value = {"PatientBirthDate": "19610317", "StationName": NUMBER, "StudyID": NUMBER}.get(
            keyword, f"{NAME} {NUMBER}"
        )
        setattr(data, keyword, value[:16] if keyword in ("AccessionNumber",) else value)
    data.add_new(0x00091001, "LO", NAME)  # a private tag
    data.save_as(path)


def plant(folder: Path, names: bool) -> list[str]:
    """A corpus with canaries in pictures, columns, captions, tags and broken rows; with ``names`` in those of files."""
    stem = f"{NAME.replace(' ', '_')}_{NUMBER}" if names else "p"
    folder.mkdir(parents=True)
    files = [f"{stem}0.png", f"{stem}1.jpg", f"{stem}2.png", f"{stem}3.jpg", f"{stem}4.dcm"]
    for name, colour in zip(files, ("red", "green", "blue", "grey"), strict=False):
        (_png if name.endswith("png") else _jpeg)(folder / name, colour)
    _dicom(folder / files[4])
    rows = [
        {
            "file_name": name,
            "caption": f"A {colour} square. Patient: {NAME}, MRN {NUMBER}, born {DAY}. Seen by Dr. {NAME}.",
            "subject_id": NUMBER,
            "study_id": f"{NAME} {NUMBER}",
            "PatientName": NAME,
            "mrn": NUMBER,
            "labels": {"colour": colour, "dob": "19610317"},
            "notes": {"text": f"Signed by {NAME} on {DAY}", "patient_email": "q@quagmire.example"},
            "contact": "zebulon@quagmire.example",
        }
        for name, colour in zip(files, ("red", "green", "blue", "grey", "grey"), strict=True)
    ]
    broken = [
        {"file_name": f"{stem}-absent.png"},
        {"file_name": files[0], "caption": [NAME]},
        {"file_name": f"../{NAME}.png"} if names else {"file_name": "../x.png", "caption": NAME},
        {"file_name": files[1], "caption": f"{NAME} again"},
    ]
    lines = [json.dumps(row) for row in (*rows, *broken)] + [f'{{"caption": "{NAME}', f'["{NAME}"]']
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    (folder / f"{stem}-cut.png").write_bytes((folder / files[0]).read_bytes()[:150])
    return files


def seen(folder: Path) -> dict[str, bytes]:
    """All files below, as they lie there and, of Parquet, as they are read."""
    found = {f"{path}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in folder.rglob("*.parquet"):
        found[f"{path}, read"] = str(pq.read_table(path).to_pylist()).encode()
    for name, data in list(found.items()):
        pictures = re.findall(rb"data:image/\w+;base64,([A-Za-z0-9+/=]+)", data)
        found |= {f"{name}, picture {n}": base64.b64decode(picture) for n, picture in enumerate(pictures)}
    return found


def assert_clean(found: dict[str, bytes]) -> None:
    leaks = {name: canary for name, data in found.items() for canary in CANARIES if canary in data}
    assert not leaks


def test_a_canary_that_got_through_would_be_seen(tmp_path):
    plant(tmp_path / "in", names=False)
    tiny.build(tmp_path / "in", tmp_path / "out", phi="keep", hash_subject=False)
    with pytest.raises(AssertionError, match="read"):
        assert_clean(seen(tmp_path / "out"))
    with pytest.raises(AssertionError, match="picture 0"):
        picture = base64.b64encode((tmp_path / "in" / "p1.jpg").read_bytes()).decode()
        (tmp_path / "out" / "page").write_text(f'<img src="data:image/jpeg;base64,{picture}">')
        (tmp_path / "only").mkdir()
        (tmp_path / "out" / "page").rename(tmp_path / "only" / "page")
        assert_clean(seen(tmp_path / "only"))


@pytest.mark.parametrize("names", [False, True])
def test_nothing_of_a_patient_reaches_the_index_a_description_or_a_report(tmp_path, names, capfd, caplog):
    files = plant(tmp_path / "in", names)
    corpus = Corpus.load(tmp_path / "in", hide_names=names)
    assert len(corpus) == 5
    assert len(corpus.skipped) == 6
    index = tiny.build(corpus, tmp_path / "out", hash_subject=True)
    assert set(index.report.phi.found) >= {"NAME", "ID", "DATE", "EMAIL"}
    describe = Describer(index, generator="nearest", k=3, alpha=0, threshold=0.1)
    descriptions = [describe(tmp_path / "in" / files[0])]
    assert all(index.image_path(record) is not None for record in index.records)
    page = render_report(descriptions, index)
    assert page.count("data:image") >= 3  # with names hidden, too, the pictures are found
    said = {"corpus": repr(corpus) + json.dumps(corpus.summary()) + str(corpus.skipped) + str(corpus.unlisted)}
    said |= {"build": json.dumps(index.report.to_dict()) + str(index.report) + json.dumps(index.info(), default=str)}
    said |= {"description": json.dumps([{**d.to_dict(), "image": ""} for d in descriptions], default=str)}
    # the query is shown under the path that was typed
    said |= {"report": page.replace(files[0], "QUERY"), "streams": "".join(capfd.readouterr()), "log": caplog.text}
    (tmp_path / "said").mkdir()
    for name, text in said.items():
        (tmp_path / "said" / name).write_text(text)
    assert_clean(seen(tmp_path / "out") | seen(tmp_path / "said"))


def test_nothing_of_a_patient_reaches_a_run_of_a_suite(tmp_path):
    plant(tmp_path / "corpus", names=False)
    text = (tmp_path / "corpus" / "metadata.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in text[:4]]  # eval refuses broken rows; the message names no value
    with pytest.raises(rv.RagvlmError) as caught:
        rv.evaluate((), suite=suite_file(tmp_path, "describe"), out=tmp_path / "refused", encoder=tiny.ColourEncoder())
    (tmp_path / "corpus" / "metadata.jsonl").write_text(
        "\n".join(json.dumps(row | {"subject_id": f"{NUMBER}-{n}"}) for n, row in enumerate(rows))
    )
    with patch("ragvlm.evaluation.run.write_report"):
        suite = suite_file(tmp_path, "describe", top='measures = ["BLEU-1"]')
        results = rv.evaluate((), suite=suite, out=tmp_path / "run", encoder=tiny.ColourEncoder(), resamples=20)
    assert_clean(seen(results.folder) | {"refusal": str(caught.value).encode()})


def test_the_command_prints_nothing_of_a_patient(tmp_path):
    plant(tmp_path / "in", names=True)
    command = [
        sys.executable,
        ROOT / "cli.py",
        "index",
        tmp_path / "in",
        "--out",
        tmp_path / "out",
        "--hide-names",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["records"] == 5
    assert b"identifiers of persons replaced by placeholders" in done.stderr
    assert_clean({"stdout": done.stdout, "stderr": done.stderr} | seen(tmp_path / "out"))
