"""NIfTI volumes: the files that nibabel ships, and volumes whose every voxel is known."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, ornt_transform

from ragvlm.corpus import Corpus
from ragvlm.errors import CorpusError, ImageError, InputError
from ragvlm.formats import volumes
from ragvlm.formats.nifti import Nifti, is_nifti
from ragvlm.images import open_image
from ragvlm.locator import Locator

SHIPPED = Path(nib.__file__).parent / "tests" / "data"
FILES = (
    *("anatomical.nii", "example4d.nii.gz", "example_nifti2.nii.gz", "functional.nii", "reoriented_anat_moved.nii"),
    *("resampled_anat_moved.nii", "standard.nii.gz"),
)
CODES = [(a, b, c) for a in "LR" for b in "PA" for c in "IS"]


@pytest.mark.parametrize("name", FILES)
def test_nibabels_own_volumes_open(name):
    path = SHIPPED / name
    canonical = nib.as_closest_canonical(nib.load(path))
    values = np.asarray(canonical.dataobj, np.float64)
    values = values.reshape(*values.shape[:3], -1)[..., 0]
    count = values.shape[2]
    with pytest.raises(ImageError, match=rf"has {count} axial slices"):
        open_image(f"{path}#slice={count}")
    assert open_image(path).tobytes() == open_image(f"{path}#slice={count // 2}").tobytes()
    for axis, across in (("axial", 2), ("coronal", 1), ("sagittal", 0)):
        position = values.shape[across] // 3
        shown = open_image(f"{path}#slice={position}&axis={axis}")
        plain = np.take(values, position, across).T[::-1, ::-1]
        zooms = np.delete(canonical.header.get_zooms()[:3], across)
        assert shown.width / shown.height == pytest.approx(
            plain.shape[1] * zooms[0] / plain.shape[0] / zooms[1], rel=0.1
        )
        if shown.size == plain.shape[::-1] and plain.std() > 0:
            grey = np.asarray(shown)[..., 0].astype(float)
            kept = (grey > 0) & (grey < 255)  # what the window didn't clip is linear in the values
            assert not kept.any() or np.corrcoef(grey[kept], plain[kept])[0, 1] > 0.999


def test_what_is_not_a_volume_says_so():
    with pytest.raises(ImageError, match=r"row_major.dconn.nii: has the shape .* not a volume"):
        open_image(SHIPPED / "row_major.dconn.nii")


def save(path, values, codes="RAS", zooms=(1, 1, 1), dtype=None, slope=None):
    """``values`` (x: right, y: front, z: up) written so that the file's axes run along ``codes``."""
    image = nib.Nifti1Image(values, np.diag([*zooms, 1]), dtype=dtype or values.dtype)
    way = ornt_transform(axcodes2ornt(tuple("RAS")), axcodes2ornt(tuple(codes)))
    image = image.as_reoriented(way)
    if slope:
        image.header.set_slope_inter(*slope)
    nib.save(image, path)
    return path


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(CODES), st.permutations(range(3)), st.sampled_from(volumes.AXES), st.data())
def test_the_picture_does_not_depend_on_how_the_file_lies(tmp_path, codes, order, axis, data):
    values = np.random.default_rng(0).integers(0, 1000, (4, 5, 6)).astype(np.int16)
    path = save(tmp_path / "v.nii", values, [codes[i] for i in order])
    across = 2 - volumes.AXES.index(axis)
    position = data.draw(st.integers(0, values.shape[across] - 1))
    shown = np.asarray(open_image(f"{path}#slice={position}&axis={axis}&window=500,1000"))[..., 0]
    plain = np.take(values, position, across).T[::-1, ::-1]
    assert np.abs(shown - np.clip((plain - 499.5) / 999 + 0.5, 0, 1) * 255).max() <= 0.51


def test_the_patients_right_is_on_the_left_and_front_and_head_are_up(tmp_path):
    values = np.zeros((10, 10, 10), np.uint8)
    values[9, 9, 9] = 255  # right, front, top
    path = save(tmp_path / "v.nii.gz", values)
    for axis in volumes.AXES:
        assert open_image(f"{path}#slice=9&axis={axis}&window=128,255").getpixel((0, 0)) == (255, 255, 255), axis


def test_scaling_windows_and_square_pixels(tmp_path):
    values = np.full((4, 4, 3), 10, np.int16)
    path = save(tmp_path / "v.nii", values, zooms=(1, 2, 6), slope=(10, -200))
    assert open_image(f"{path}#window=abdomen").getpixel((0, 0))[0] == round(((-100 - 49.5) / 399 + 0.5) * 255)
    assert open_image(path).size == (4, 8)
    assert open_image(f"{path}#axis=sagittal").size == (4, 9)
    with pytest.raises(ImageError, match="window 'lungs' is unknown"):
        open_image(f"{path}#window=lungs")
    with pytest.raises(ImageError, match="axis=up: choose axial, coronal, sagittal"):
        open_image(f"{path}#axis=up")


def test_one_scale_for_all_slices(tmp_path):
    values = np.zeros((8, 8, 4), np.float32)
    values[2:6, 2:6, 2] = 100
    values[..., 0] = np.random.default_rng(0).random((8, 8)) * 1e-3  # noise must not be blown up to a picture
    path = save(tmp_path / "v.nii", values)
    assert max(high for _, high in open_image(f"{path}#slice=0").getextrema()) == 0
    assert open_image(f"{path}#slice=2").getextrema()[0] == (0, 255)


def test_times_and_colours(tmp_path):
    values = np.zeros((3, 3, 3, 2), np.uint8)
    values[..., 1] = 255
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "t.nii")
    assert [open_image(f"{tmp_path}/t.nii#time={t}&window=128,255").getpixel((0, 0))[0] for t in (0, 1)] == [0, 255]
    with pytest.raises(ImageError, match="3 axial slices and 2 times: time 2 does not exist"):
        open_image(f"{tmp_path}/t.nii#time=2")
    colour = np.zeros((3, 4, 3), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    colour["G"] = 200
    nib.save(nib.Nifti1Image(colour, np.eye(4)), tmp_path / "c.nii")
    assert open_image(tmp_path / "c.nii").getpixel((1, 1)) == (0, 200, 0)


def test_what_a_header_promises_is_checked_before_it_is_read(tmp_path):
    path = save(tmp_path / "v.nii", np.zeros((8, 8, 8), np.uint8))
    data = bytearray(path.read_bytes())
    for dims, said in {
        (32767, 32767, 32767): "pixels are more than the bound",
        (9000, 9000, 9000): "bytes of voxels, more than",
        (80, 80, 80): "broken NIfTI: 512,352 bytes are promised, 864 are there",
        (0, 8, 8): "not a volume",
        (-8, 8, 8): "not a volume",
        (1, 1, 8): "not a volume",
    }.items():
        data[42:48] = np.array(dims, "<i2").tobytes()
        with pytest.raises(ImageError, match=said):
            open_image(bytes(data))
    bomb = gzip.compress(path.read_bytes() + bytes(50 << 20))
    assert open_image(bomb).size == (8, 8)  # no more is unpacked than the header says
    with pytest.raises(ImageError, match="can't be unpacked"):
        open_image(gzip.compress(path.read_bytes()[:352] + np.random.default_rng(0).bytes(512))[:-100])


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_damaged_volumes_raise_nothing_but_image_errors(data):
    buffer = io.BytesIO()
    buffer.write(nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)).to_bytes())
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, 351))] = data.draw(st.integers(0, 255))
    packed = data.draw(st.booleans())
    try:
        image = open_image(gzip.compress(bytes(content), 1) if packed else bytes(content))
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        assert image.mode == "RGB"


def test_only_nifti_is_nifti():
    assert not is_nifti(gzip.compress(b"hello" * 200)[:512])
    assert not is_nifti(b"\x1f\x8bxxxx")
    assert not is_nifti(b"")


@given(st.integers(1, 500), st.integers(1, 60))
def test_chosen_slices(count, n):
    some = volumes.choose(count, str(n))
    assert len(some) == min(n, count) and sorted(set(some)) == some and some[0] >= 0 and some[-1] < count
    assert abs(some[0] - (count - 1 - some[-1])) <= 1  # as far from both ends
    every = volumes.choose(count, f"every={n}")
    assert set(np.diff(every)) <= {n} and abs(every[0] - (count - 1 - every[-1])) <= 1
    assert volumes.choose(count, "all") == list(range(count))


def test_wrong_choices():
    for wrong in ("0", "-1", "every=0", "some", "every=", "1.5"):
        with pytest.raises(ImageError, match="choose a number, all, or every=K"):
            volumes.choose(5, wrong)


def test_a_volume_in_a_corpus_becomes_its_slices(tmp_path):
    save(tmp_path / "ct.nii.gz", np.zeros((4, 4, 20), np.int16), zooms=(1, 1, 2))
    (tmp_path / "captions.csv").write_text("file_name,caption\nct.nii.gz,A head.\n")
    whole, *slices = Corpus.load(tmp_path, options={"slices": 4, "window": "brain"}).records
    assert (whole.id, whole.image) == ("ct.nii.gz", "ct.nii.gz#window=brain&slices=4")
    assert whole.extra == {"axis": "axial", "voxel_mm": [1.0, 1.0, 2.0], "slices": 20, "slices_taken": 4}
    assert [r.id for r in slices] == [f"ct.nii.gz/slice-{n:02d}" for n in (2, 7, 12, 17)]
    assert slices[1].image == "ct.nii.gz#window=brain&slice=7"
    assert (slices[1].extra["volume"], slices[1].extra["slice"]) == (whole.id, 7)
    assert {r.caption for r in (whole, *slices)} == {"A head."}
    assert {r.subject_id for r in (whole, *slices)} == {"ct.nii.gz"}
    place = Locator.of(tmp_path / whole.image)
    assert [p.parts["slice"] for p in Nifti().stack(place)] == ["2", "7", "12", "17"]
    assert len(Corpus.load(tmp_path)) == 17
    assert len(Corpus.load(tmp_path, options={"slices": "every=5", "axis": "coronal"})) == 2
    for options, error, said in (
        ({"slices": "few"}, CorpusError, "ct.nii.gz: slices=few: choose"),
        ({"axis": "up"}, InputError, "axis 'up' is unknown"),
        ({"window": "lungs"}, InputError, "window 'lungs' is unknown"),
    ):
        with pytest.raises(error, match=said):
            Corpus.load(tmp_path, options=options)
