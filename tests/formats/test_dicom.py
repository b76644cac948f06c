"""DICOM pixels: files made here, whose values are known, and the files that pydicom ships."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zlib

import numpy as np
import pydicom
import pytest
from dicoms import SHIPPED, make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from ragvlm.errors import ImageError, InputError
from ragvlm.formats import dicomtags, windows
from ragvlm.formats.dicompixels import codestream_size
from ragvlm.images import open_image

HU = np.array([[-1000, -600, 0, 40], [400, 1000, 100, 3000]], np.int16)

READ = {  # name -> (width, height, mean of the red channel, by 2)
    "693_J2KI.dcm": (512, 512),
    "CT_small.dcm": (128, 128),
    "ExplVR_BigEnd.dcm": (80, 60),
    "GDCMJ2K_TextGBR.dcm": (400, 400),
    "J2K_pixelrep_mismatch.dcm": (512, 512),
    "JPEG2000.dcm": (256, 1024),
    "JPEGLSNearLossless_08.dcm": (10, 45),
    "JPEGLSNearLossless_16.dcm": (10, 50),
    "MR_small_padded.dcm": (64, 64),
    "SC_jpeg_no_color_transform.dcm": (256, 256),
    "SC_jpeg_no_color_transform_2.dcm": (256, 256),
    "SC_rgb_jpeg_app14_dcmd.dcm": (256, 256),
    "SC_rgb_jpeg_dcmd.dcm": (256, 256),
    "SC_rgb_small_odd_big_endian.dcm": (3, 3),
    "SC_rgb_small_odd_jpeg.dcm": (3, 3),
    "examples_jpeg2k.dcm": (640, 480),
    "examples_overlay.dcm": (484, 300),
    "examples_palette.dcm": (800, 350),
    "examples_rgb_color.dcm": (320, 240),
    "examples_ybr_color.dcm": (320, 240),
    "image_dfl.dcm": (512, 512),
    "liver_1frame.dcm": (512, 512),
    "liver_expb_1frame.dcm": (512, 512),
    "rtdose.dcm": (10, 10),
    "rtdose_rle.dcm": (10, 10),
    "dicomdirtests/77654033/CR1/6154": (16, 16),
    "dicomdirtests/98892003/MR1/4919": (16, 16),
}
REFUSED = {  # name -> what the error says
    "JPEG-lossy.dcm": "12-bit precision",
    "JPGExtended.dcm": "12-bit precision",
    "JPEG2000-embedded-sequence-delimiter.dcm": r"the header says \(256, 1024\) pixels, the compressed frame",
    "MR_truncated.dcm": "cannot reshape",
    "SC_rgb_jpeg.dcm": "Found unexpected tag",
    "SC_rgb_jpeg_gdcm.dcm": "compressed as JPEG Lossless.*pip install python-gdcm or pylibjpeg-libjpeg",
    "badVR.dcm": "broken DICOM",
    "rtplan.dcm": "without a picture",
    "reportsi.dcm": "without a picture",
    "test-SR.dcm": "without a picture",
    "waveform_ecg.dcm": "without a picture",
    "meta_missing_tsyntax.dcm": "without a picture",
    "ExplVR_LitEndNoMeta.dcm": "without a picture",
    "dicomdirtests/DICOMDIR": "without a picture",
}


@pytest.mark.parametrize("name", READ)
def test_pydicoms_own_pictures_open(name):
    image = open_image(SHIPPED / name)
    assert (image.size, image.mode) == (READ[name], "RGB")
    assert max(high for _, high in image.getextrema()) > 100
    assert np.asarray(image).std() > 0


@pytest.mark.parametrize("name", REFUSED)
def test_pydicoms_own_files_that_cannot_be_shown_say_why(name):
    with pytest.raises(ImageError, match=rf"^{SHIPPED / name}: .*{REFUSED[name]}"):
        open_image(SHIPPED / name)


def test_the_same_picture_in_every_transfer_syntax_is_the_same():
    plain = np.asarray(open_image(SHIPPED / "MR_small.dcm"))
    same = ["RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"]
    for name in same:
        assert np.array_equal(np.asarray(open_image(SHIPPED / f"MR_small_{name}.dcm")), plain), name


def test_the_same_colours_in_every_colour_space_look_the_same():
    plain = np.asarray(open_image(SHIPPED / "SC_rgb_rle.dcm")).astype(int)
    others = [
        "SC_rgb_rle_16bit",
        "SC_ybr_full_422_uncompressed",
        "SC_rgb_jpeg_dcmtk",
        "SC_rgb_gdcm_KY",
        "SC_rgb_jls_lossy_line",
    ]
    others += [f"SC_rgb_dcmtk_+eb+{kind}" for kind in ("cr", "cy+n1", "cy+n2", "cy+np", "cy+s2", "cy+s4")]
    for name in others:
        # the file holds bars of saturated colours: JPEG and subsampled chroma blur their edges
        difference = np.abs(np.asarray(open_image(SHIPPED / f"{name}.dcm")).astype(int) - plain)
        assert np.median(difference) <= 2 and difference.mean() < 6, name


def test_frames(tmp_path):
    file = SHIPPED / "SC_rgb_rle_2frame.dcm"
    first, second = (open_image(f"{file}#frame={n}") for n in (0, 1))
    assert first.tobytes() != second.tobytes()
    assert open_image(file).tobytes() == second.tobytes()  # the middle one
    with pytest.raises(ImageError, match="has 2 frames: frame 2 does not exist"):
        open_image(f"{file}#frame=2")
    with pytest.raises(ImageError, match="a DICOM file has no part 'slice': it has frame, slices, window"):
        open_image(f"{file}#slice=0")


def test_a_file_is_known_by_its_content_and_may_be_bytes(tmp_path):
    data = (SHIPPED / "CT_small.dcm").read_bytes()
    (tmp_path / "IM0001").write_bytes(data)
    (tmp_path / "IM0001.png").write_bytes(data)
    plain = open_image(SHIPPED / "CT_small.dcm").tobytes()
    for source in (tmp_path / "IM0001", tmp_path / "IM0001.png", data, io.BytesIO(data)):
        assert open_image(source).tobytes() == plain
    bare = data[144 + int.from_bytes(data[140:144], "little") :]  # without preamble and file meta information
    assert open_image(bare).tobytes() == plain


@pytest.mark.parametrize("name", sorted(windows.table()["windows"]))
def test_named_windows_map_hounsfield_units(tmp_path, name):
    centre, width = windows.table()["windows"][name]
    path = make(tmp_path / "ct.dcm", (HU + 1024).astype(np.uint16), RescaleSlope=1, RescaleIntercept=-1024)
    grey = np.asarray(open_image(f"{path}#window={name}"))[..., 0]
    exact = np.clip((HU - (centre - 0.5)) / (width - 1) + 0.5, 0, 1) * 255
    assert np.abs(grey - exact).max() <= 0.51
    assert grey[centre - width / 2 >= HU].max(initial=0) == 0
    assert grey[centre + width / 2 <= HU].min(initial=255) == 255
    same = open_image(f"{path}#window={centre},{width}")
    assert np.array_equal(np.asarray(same)[..., 0], grey)


def test_other_windows(tmp_path):
    path = make(tmp_path / "ct.dcm", HU)
    for wrong in ("lungs", "1", "40,0", "nan,80"):
        with pytest.raises(ImageError, match="is unknown: choose brain, stroke"):
            open_image(f"{path}#window={wrong}")
        with pytest.raises(InputError, match="is unknown"):
            windows.check(wrong)
    assert windows.check("lung") == "lung"
    # a named window is one of CT numbers: other modalities keep their own
    mr = make(tmp_path / "mr.dcm", HU, Modality="MR")
    assert open_image(f"{mr}#window=lung").tobytes() == open_image(mr).tobytes()
    assert open_image(f"{mr}#window=0,100").tobytes() != open_image(mr).tobytes()


@pytest.mark.parametrize(
    ("function", "expected"),
    [("LINEAR", [0, 128, 255]), ("LINEAR_EXACT", [0, 128, 255]), ("SIGMOID", [30, 128, 225])],
)
def test_the_files_own_window(tmp_path, function, expected):
    values = np.array([[0, 100, 200]], np.int16)
    path = make(tmp_path / "x.dcm", values, WindowCenter=[100, 5], WindowWidth=[200, 1], VOILUTFunction=function)
    assert np.abs(np.asarray(open_image(path))[0, :, 0].astype(int) - expected).max() <= 1


def test_a_files_own_table_goes_before_its_window(tmp_path):
    lut = Dataset()
    lut.LUTDescriptor = [4, 0, 8]
    lut.LUTData = [255, 100, 50, 0]
    lut["LUTDescriptor"].VR = "US"
    lut["LUTData"].VR = "US"
    path = make(
        tmp_path / "x.dcm",
        np.array([[0, 1, 2, 3]], np.uint16),
        VOILUTSequence=Sequence([lut]),
        WindowCenter=1,
        WindowWidth=2,
    )
    assert np.asarray(open_image(path))[0, :, 0].tolist() == [255, 100, 50, 0]


def test_monochrome1_is_inverted_and_padding_is_black(tmp_path):
    values = np.array([[-2000, 0, 100, 200]], np.int16)
    tags = {"WindowCenter": 100, "WindowWidth": 200, "PixelPaddingValue": -2000}
    assert np.asarray(open_image(make(tmp_path / "a", values, **tags)))[0, :, 0].tolist() == [0, 0, 128, 255]
    tags["PhotometricInterpretation"] = "MONOCHROME1"
    assert np.asarray(open_image(make(tmp_path / "b", values, **tags)))[0, :, 0].tolist() == [0, 255, 127, 0]
    # without a window padding does not stretch the scale
    plain = open_image(make(tmp_path / "c", values, PixelPaddingValue=-2000))
    assert np.asarray(plain)[0, :, 0].tolist() == [0, 0, 128, 255]
    limit = open_image(make(tmp_path / "d", values, PixelPaddingValue=-2000, PixelPaddingRangeLimit=0))
    assert np.asarray(limit)[0, :, 0].tolist() == [0, 0, 0, 255]


def test_each_frame_has_its_own_transformation(tmp_path):
    def group(slope, intercept):
        rescale, frame = Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept = slope, intercept
        frame.PixelValueTransformationSequence = Sequence([rescale])
        return frame

    shared, window = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = 50, 101
    shared.FrameVOILUTSequence = Sequence([window])
    path = make(
        tmp_path / "x.dcm",
        np.full((2, 2, 2), 10, np.uint16),
        NumberOfFrames=2,
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence([group(1, 0), group(5, 50)]),
    )
    assert [open_image(f"{path}#frame={n}").getpixel((0, 0))[0] for n in (0, 1)] == [27, 255]


def test_signed_pixels_and_deep_colour(tmp_path):
    rgb = np.zeros((2, 2, 3), np.uint8)
    rgb[0, 0] = (200, 10, 20)
    assert open_image(make(tmp_path / "c", rgb)).getpixel((0, 0)) == (200, 10, 20)
    signed = open_image(make(tmp_path / "s", np.array([[-5, 5]], np.int16)))
    assert [signed.getpixel((x, 0))[0] for x in (0, 1)] == [0, 255]


def test_nothing_is_decoded_above_the_bound(tmp_path, monkeypatch):
    path = make(tmp_path / "x.dcm", np.zeros((20, 30), np.uint16))
    monkeypatch.setattr("ragvlm.formats.dicompixels._decode", lambda *a: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="30 x 20 pixels are more than the bound of 599"):
        open_image(path, max_pixels=599)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_compressed_frame_that_lies_about_its_size_is_refused(tmp_path, syntax):
    dataset = pydicom.dcmread(make(tmp_path / "x.dcm", np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)))
    dataset.compress(syntax)
    dataset.Rows = dataset.Columns = 8
    dataset.save_as(tmp_path / "y.dcm")
    with pytest.raises(ImageError, match="the compressed frame"):
        open_image(tmp_path / "y.dcm")


def test_the_size_in_a_codestream():
    buffer = io.BytesIO()
    open_image(np.zeros((5, 7), np.uint8)).save(buffer, "JPEG")
    assert codestream_size(buffer.getvalue()) == (7, 5)
    assert codestream_size(b"\0\0\0\1" + bytes(60)) is None
    for broken in (b"", b"\xff\xd8", b"\xff\xd8\xff\xff\xff", b"\xff\xd8" + b"\xff\xe0\0\0" * 20):
        assert codestream_size(broken) is None


def test_a_deflated_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dicomtags, "_MOST_INFLATED", 1 << 20)
    data = (SHIPPED / "image_dfl.dcm").read_bytes()
    start = 144 + int.from_bytes(data[140:144], "little")
    open_image(data)
    packer = zlib.compressobj(wbits=-15)
    bomb = data[:start] + packer.compress(bytes(8 << 20)) + packer.flush()
    with pytest.raises(ImageError, match="unpacks to more than 1,048,576 bytes"):
        open_image(bomb)
    with pytest.raises(ImageError, match="can't be unpacked"):
        open_image(data[:start] + b"\xff" * 100)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_raise_nothing_but_image_errors(data):
    name = data.draw(st.sampled_from(["CT_small.dcm", "SC_rgb_rle_2frame.dcm", "MR_small_jp2klossless.dcm"]))
    content = bytearray((SHIPPED / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(content)))
    try:
        image = open_image(bytes(content[:cut]))
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        assert image.mode == "RGB"


CANARY = "CANARY"


def canaries(path):
    """A file with a canary in every tag that can hold one, also in those of numbers."""
    make(path, np.arange(64, dtype=np.uint16).reshape(8, 8))
    dataset = pydicom.dcmread(path)
    kept = {"Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PixelData"}
    with pydicom.config.disable_value_validation():
        for keyword in pydicom.datadict.keyword_dict:
            vr = pydicom.datadict.dictionary_VR(keyword)
            if keyword in kept or vr not in {
                "LO",
                "SH",
                "PN",
                "ST",
                "LT",
                "UT",
                "CS",
                "DA",
                "TM",
                "DT",
                "AS",
                "AE",
                "UI",
            }:
                continue
            tag = pydicom.datadict.tag_for_keyword(keyword)
            if tag >> 16 not in (0x0000, 0x0002, 0x0004):
                dataset.add_new(tag, vr, CANARY)
        for keyword in ("WindowCenter", "PixelSpacing", "SliceThickness", "NumberOfFrames", "RescaleSlope"):
            dataset[pydicom.datadict.tag_for_keyword(keyword)] = pydicom.dataelem.RawDataElement(
                pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(keyword)), "DS", 6, b"CANARY", 0, False, True, True
            )
        dataset.save_as(path)
    assert path.read_bytes().count(b"CANARY") > 300
    return path


READ_ALL = """
import logging, sys
from pathlib import Path
logging.basicConfig(level=logging.DEBUG)
from ragvlm.errors import ImageError
from ragvlm.formats import dicomtags
from ragvlm.images import open_image
header = dicomtags.read_file(Path(sys.argv[1]))
print(dicomtags.modality(header), dict(dicomtags.allowed(header)))
try:
    open_image(sys.argv[1])
except ImageError as error:
    print(error)
"""


def test_no_value_of_a_tag_gets_into_a_record_an_error_or_a_log(tmp_path):
    path = canaries(tmp_path / "x")
    asked = [sys.executable, "-W", "always", "-c", READ_ALL, str(path)]
    done = subprocess.run(asked, capture_output=True, text=True, env=os.environ)
    assert CANARY not in done.stdout + done.stderr
    assert "None {'photometric': 'MONOCHROME2'}" in done.stdout
    assert "broken DICOM" in done.stdout


def test_the_allow_list(tmp_path):
    path = make(
        tmp_path / "x",
        np.zeros((4, 4), np.uint16),
        Modality="CR",
        BodyPartExamined="CHEST",
        ViewPosition="PA",
        ImageLaterality="L",
        BurnedInAnnotation="YES",
        PixelSpacing=[0.5, 0.25],
        SliceThickness=2.5,
        PatientID=" P-7",
        StudyInstanceUID="1.2.3",
        PatientName="Doe^Jane",
        StudyDate="20200101",
        InstitutionName="Somewhere",
    )
    header = dicomtags.read_file(path)
    assert dicomtags.modality(header) == "CR"
    assert dicomtags.allowed(header) == {
        "body_part": "CHEST",
        "view_position": "PA",
        "laterality": "L",
        "burned_in": "YES",
        "photometric": "MONOCHROME2",
        "pixel_spacing_mm": [0.5, 0.25],
        "slice_thickness_mm": 2.5,
    }
    assert dicomtags.person(header) == ("P-7", "1.2.3")
    assert "PatientName" not in header and "StudyDate" not in header


def test_without_pydicom_the_error_says_how_to_get_it(monkeypatch):
    dicomtags.pydicom.cache_clear()
    monkeypatch.setattr("ragvlm.errors.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"CT_small.dcm: package 'pydicom' .* pip install \"ragvlm\[medical\]\"$"):
        open_image(SHIPPED / "CT_small.dcm")
