"""DICOM series: order by place in the patient, what is reported, and that no name or number of a patient gets out."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from dicoms import SHIPPED, make, phantom, series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import build

from ragvlm import hidden
from ragvlm.corpus import Corpus
from ragvlm.describe import Describer
from ragvlm.errors import CorpusError, ImageError
from ragvlm.formats import series as scanning
from ragvlm.formats.volumes import volume_of
from ragvlm.images import open_image
from ragvlm.report import render_report

CT = phantom()


def shown(place, window="-100,3000"):
    return np.asarray(open_image(f"{place}&window={window}" if "#" in str(place) else f"{place}#window={window}"))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(6)), st.booleans())
def test_slices_are_ordered_by_position_not_by_name_or_number(tmp_path_factory, order, backwards):
    folder = tmp_path_factory.mktemp("ct")
    for name, n in enumerate(order):  # written under names and numbers that say nothing
        series(folder, CT[2 * n : 2 * n + 1], names=[f"{name}"], SeriesInstanceUID="1.2", InstanceNumber=99 - name,
               ImagePositionPatient=[0, 0, -n if backwards else n])  # fmt: skip
    (found,) = scanning.scan(folder).series
    expected = sorted(range(6), key=lambda n: -n if backwards else n)
    assert [order[int(file)] for file in found.files] == expected
    assert (found.gaps, found.duplicates, found.spacing) == (0, 0, 1.0)
    for n in range(6):
        assert np.array_equal(shown(f"{folder}#slice={n}"), shown(folder / found.files[n]))
        assert open_image(f"{folder}#slice={n}").size == (32, 32)


@pytest.mark.parametrize("orientation", [[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]])
def test_other_planes_are_ordered_too(tmp_path, orientation):
    normal = np.abs(np.cross(orientation[:3], orientation[3:]))
    for n in (3, 0, 2, 1):
        series(tmp_path, CT[n : n + 1], names=[f"{n}"], SeriesInstanceUID="1.2", ImageOrientationPatient=orientation,
               ImagePositionPatient=[float(x) for x in normal * n * 2.5])  # fmt: skip
    (found,) = scanning.scan(tmp_path).series
    assert found.files == ("0", "1", "2", "3")
    assert found.spacing == 2.5


def test_gaps_duplicates_and_mixed_orientations_are_reported(tmp_path, caplog):
    files = series(tmp_path, CT, SeriesInstanceUID="1.2")
    files[5].unlink()
    series(tmp_path, CT[:1], names=["again"], SeriesInstanceUID="1.2", InstanceNumber=50)
    for n in range(2):
        series(tmp_path, CT[n : n + 1], names=[f"coronal{n}"], SeriesInstanceUID="1.2",
               ImageOrientationPatient=[1, 0, 0, 0, 0, -1], ImagePositionPatient=[0, n, 0])  # fmt: skip
    series(tmp_path, CT[:1], names=["scout"], SeriesInstanceUID="1.2", ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    with caplog.at_level(logging.INFO, "ragvlm"):
        found = scanning.scan(tmp_path)
    axial, coronal = found.series
    assert (len(axial.files), axial.gaps, axial.duplicates, axial.spacing) == (11, 1, 1, 5.0)
    assert (axial.files[0], len(coronal.files)) == ("000.dcm", 2)
    assert coronal.key == f"{axial.key}.2"
    assert found.singles == ("scout",)
    assert f"series {axial.key}, 11 slices: 1 gaps and 1 slices at a place that another has" in caplog.text
    assert "1 series hold pictures of several orientations" in caplog.text
    with pytest.raises(ImageError, match=rf"several DICOM series: name one, #series={axial.key} \(11 slices\), "):
        open_image(tmp_path)
    assert open_image(f"{tmp_path}#series={coronal.key}").size == (32, 32)
    with pytest.raises(ImageError, match="no DICOM series 'x'"):
        open_image(f"{tmp_path}#series=x")


def test_files_at_one_place_are_pictures_of_their_own(tmp_path):
    series(tmp_path, CT[:3], SeriesInstanceUID="1.2", ImagePositionPatient=[0, 0, 7])
    found = scanning.scan(tmp_path)
    assert (found.series, found.singles) == ((), ("000.dcm", "001.dcm", "002.dcm"))


def test_pydicoms_own_series_are_found():
    found = scanning.scan(SHIPPED / "dicomdirtests")
    names = sorted([file.rpartition("/")[2] for file in one.files] for one in found.series)
    # the names of the second run against the patient's axis
    assert names == [["17106", "17136", "17166", "17196"], ["3353", "3023", "2693", "2392", "2062"]]
    assert len(found.singles) == 22  # films, localizers of one slice a plane, and planes turned about an axis
    for one in found.series:
        assert open_image(f"{SHIPPED / 'dicomdirtests'}#series={one.key}").size == (16, 16)


def test_a_folder_becomes_volumes_slices_and_pictures(tmp_path):
    series(tmp_path / "a", CT, BodyPartExamined="CHEST")
    make(tmp_path / "b" / "film", CT[0], Modality="CR", PatientID="PAT-2", ViewPosition="PA")
    (tmp_path / "notes.txt").write_text("not a picture")
    open_image(CT[0]).save(tmp_path / "photo.png")
    corpus = Corpus.load(tmp_path, options={"slices": 3, "window": "lung"})
    assert corpus.reader == "dicom-folder"
    whole, *slices, film, photo = corpus.records
    assert (photo.id, photo.image, corpus.unlisted) == ("photo.png", "photo.png", ())
    (found,) = scanning.scan(tmp_path).series
    assert whole.id == found.key == hidden.digest(f"series {found.header.SeriesInstanceUID}")
    assert whole.image == f".#series={found.key}&window=lung&slices=3"
    assert [r.id for r in slices] == [f"{whole.id}/slice-{n:02d}" for n in (2, 6, 10)]
    assert {volume_of(r) for r in (whole, *slices)} == {whole.id}
    assert (whole.modality, whole.subject_id, whole.extra["body_part"]) == ("CT", "PAT-1", "CHEST")
    assert (whole.extra["slices"], whole.extra["slice_spacing_mm"]) == (12, 5.0)
    assert (film.modality, film.subject_id, film.extra["view_position"]) == ("CR", "PAT-2", "PA")
    assert film.image == f".#file={hidden.digest('b/film')}&window=lung"
    for record, n in zip(slices, (2, 6, 10), strict=True):
        plain = open_image(f"{tmp_path / 'a' / f'{n:03d}.dcm'}#window=lung")
        assert open_image(corpus.image_path(record)).tobytes() == plain.tobytes()
    plain = Corpus.load(tmp_path, options={"plain_names": True}).records[-2]
    assert (plain.id, plain.image) == ("b/film", "b/film")


def test_a_table_gives_series_files_and_frames_their_reports(tmp_path):
    series(tmp_path / "doe", CT)
    make(tmp_path / "cine", np.zeros((5, 4, 4), np.uint8), NumberOfFrames=5, Modality="US")
    make(tmp_path / "film.dcm", CT[0], Modality="CR")
    rows = [
        {"file_name": "doe", "report": "A chest.", "subject_id": "s1"},
        {"file_name": "cine", "report": "A heart."},
        {"file_name": "film.dcm", "report": "A film.", "id": "case 7"},
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    records = Corpus.load(tmp_path, options={"slices": 2}).records
    assert [r.caption for r in records] == ["A chest."] * 3 + ["A heart."] * 3 + ["A film."]
    assert records[0].id == hidden.digest("doe")
    assert (
        records[0].image
        == f".#file={hidden.digest('doe')}&series={scanning.scan(tmp_path / 'doe').series[0].key}&slices=2"
    )
    assert (records[0].subject_id, records[0].modality) == ("s1", "CT")
    assert [r.extra.get("slice") for r in records[3:6]] == [None, 1, 3]
    assert (records[6].id, records[6].image) == ("case 7", f".#file={hidden.digest('film.dcm')}")
    corpus = Corpus.load(tmp_path, options={"slices": 2})
    assert all(open_image(corpus.image_path(record)).mode == "RGB" for record in corpus)


def test_a_moved_file_is_told_by_its_hash(tmp_path):
    with pytest.raises(ImageError, match=r"#file=abc: can't be read: No such file"):
        open_image(f"{tmp_path}#file=abc")
    make(tmp_path / "x", CT[0])
    wanted = hidden.digest("x")
    assert open_image(f"{tmp_path}#file={wanted}").size == (32, 32)
    assert "x" not in wanted


def two_patients(folder):
    """Two series whose slices an encoder of mean colours tells apart by their brightness."""
    for name, base in (("one", 0), ("two", 1000)):
        values = np.stack([np.full((8, 8), base + 60 * n, np.int16) for n in range(6)])
        series(folder / name, values, PatientID=f"PAT-{name}", WindowCenter=1000, WindowWidth=2000)
    rows = [{"file_name": name, "caption": f"The grey scan {name}."} for name in ("one", "two")]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Corpus.load(folder, options={"slices": "all"})


def test_a_volume_is_found_once_and_by_its_nearest_slice(tmp_path, monkeypatch):
    corpus = two_patients(tmp_path / "c")
    index = build(corpus, tmp_path / "i", hash_subject=True)
    one, two = (hidden.digest(name) for name in ("one", "two"))
    hits = index.search(tmp_path / "c" / "one" / "004.dcm", 5)
    assert [volume_of(hit.record) for hit in hits] == [one, two]
    assert (hits[0].record.id, hits[0].slice) == (f"{one}/slice-4", 4)
    assert len(index.search(tmp_path / "c" / "one" / "004.dcm", 20, slices="all")) == 14
    # the whole volume is the renormalised mean of its slices
    rows = {record.id: row for row, record in enumerate(index.records)}
    slices = index.image_embeddings([rows[f"{one}/slice-{n}"] for n in range(6)])
    mean = slices.mean(axis=0)
    assert index.image_embeddings([rows[one]])[0] == pytest.approx(mean / np.linalg.norm(mean), abs=2e-3)


def test_a_volume_as_query_names_its_nearest_slice(tmp_path):
    corpus = two_patients(tmp_path / "c")
    index = build(corpus, tmp_path / "i")
    one = hidden.digest("one")
    query = series(tmp_path / "q", np.stack([np.full((8, 8), 60 * n + 7, np.int16) for n in range(6)]),
                   WindowCenter=1000, WindowWidth=2000)[0].parent  # fmt: skip
    hits = index.search(query, 2)
    assert (volume_of(hits[0].record), hits[0].score > 0.99) == (one, True)
    description = Describer(index, k=1, alpha=0)(query)
    assert description.text == "The grey scan one."
    (neighbour,) = description.to_dict()["neighbours"]
    assert neighbour["slice"] in range(6)
    assert neighbour["query_slice"].startswith("slice ")
    assert render_report([description], index).count("data:image/jpeg") == 2
    # of a reference that is one slice, it is the slice most alike
    sliced = index.search(query, 14, slices="all")
    pairs = {hit.record.extra["slice"]: hit.query_slice for hit in sliced if hit.record.extra.get("volume") == one}
    assert pairs[0] == "slice 0" and pairs[5] == "slice 5"
    (whole,) = [hit for hit in sliced if hit.record.id == one]  # it names its own slice that is nearest
    assert whole.query_slice == f"slice {whole.slice}"
    single = index.search(tmp_path / "q" / "003.dcm", 1)
    assert single[0].query_slice is None


def test_excluding_duplicates_leaves_the_whole_volume_out(tmp_path):
    corpus = two_patients(tmp_path / "c")
    index = build(corpus, tmp_path / "i")
    hits = index.search(tmp_path / "c" / "one" / "002.dcm", 5, duplicates="exclude")
    assert hidden.digest("one") not in {volume_of(hit.record) for hit in hits}


def test_a_broken_file_is_skipped_under_its_hash(tmp_path):
    make(tmp_path / "good", CT[0], Modality="CR")
    make(tmp_path / "SMITH_JOHN.dcm", CT[0], Modality="CR")
    data = (tmp_path / "SMITH_JOHN.dcm").read_bytes()
    (tmp_path / "SMITH_JOHN.dcm").write_bytes(data[:-500])
    (tmp_path / "captions.csv").write_text("file_name,caption\nSMITH_JOHN.dcm,A.\ngood,B.\n")
    index = build(Corpus.load(tmp_path), tmp_path.parent / "i-broken")
    ((item, reason),) = index.report.skipped
    assert item == f".#file={hidden.digest('SMITH_JOHN.dcm')}"
    assert "SMITH" not in reason and "broken DICOM" in reason


def test_files_whose_header_is_broken_are_named_skips_and_reports_are_not(tmp_path):
    series(tmp_path, CT[:3])
    (tmp_path / "report").write_bytes((SHIPPED / "test-SR.dcm").read_bytes())
    deflated = (SHIPPED / "image_dfl.dcm").read_bytes()
    start = deflated[: 144 + int.from_bytes(deflated[140:144], "little")]
    (tmp_path / "MUELLER").write_bytes(start + b"\xff" * 50)
    corpus = Corpus.load(tmp_path)
    assert len(corpus) == 4
    assert [(s.item, s.reason) for s in corpus.skipped] == [
        (f".#file={hidden.digest('MUELLER')}", "broken DICOM: its deflated part can't be unpacked")
    ]
    with pytest.raises(CorpusError, match="broken DICOM"):
        Corpus.load(tmp_path, strict=True)


def test_a_folder_without_pictures_says_so(tmp_path):
    make(tmp_path / "x", CT[0])
    with pytest.raises(CorpusError, match="no records"):
        (tmp_path / "x").write_bytes((SHIPPED / "rtplan.dcm").read_bytes())
        Corpus.load(tmp_path)
