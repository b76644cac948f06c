"""Broken, hostile and oversized files: an ImageError each, at once, and nothing else."""

from __future__ import annotations

import importlib.util
import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import COLOUR, GREY, encoded, png, tiff_bytes
from PIL import Image

from ragvlm.errors import ImageError, InputError
from ragvlm.images import ImageInfo, image_info, open_image, pixel_hash


def test_a_huge_header_is_refused_at_once(monkeypatch):
    for data in (png(60_000, 60_000, 8, 2), png(60_000, 60_000, 16, 0)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ImageError, match=r"60000 x 60000 pixels are more than the bound of 200,000,000"):
                open_image(data)
    assert open_image(encoded(GREY, "PNG"), max_pixels=24 * 32).size == (32, 24)
    for source in (encoded(GREY, "PNG"), GREY, Image.fromarray(GREY), tiff_bytes(COLOUR.astype(np.uint16))):
        with pytest.raises(ImageError, match="bound of 767"):
            open_image(source, max_pixels=24 * 32 - 1)
    monkeypatch.setenv("RAGVLM_MAX_PIXELS", "700")
    with pytest.raises(ImageError, match="bound of 700"):
        open_image(GREY)


def test_pillows_own_bound_is_not_used(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for form in ("PNG", "JPEG", "BMP", "TIFF", "GIF"):
            assert open_image(encoded(COLOUR, form)).size == (32, 24)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("bound", [0, -5])
def test_a_bound_must_be_positive(bound, monkeypatch):
    with pytest.raises(InputError, match="above 0"):
        open_image(GREY, max_pixels=bound)
    monkeypatch.setenv("RAGVLM_MAX_PIXELS", "many")
    with pytest.raises(InputError, match="'many'"):
        open_image(GREY)


def test_files_that_are_no_pictures(tmp_path, monkeypatch):
    (tmp_path / "text.png").write_text("not a picture at all")
    (tmp_path / "empty.png").touch()
    (tmp_path / "riff.webp").write_bytes(b"RIFF\x10\0\0\0WAVEfmt ")
    os.mkfifo(tmp_path / "pipe.png")
    for name, cause in {
        "text.png": "is not a picture that can be read",
        "empty.png": "is empty",
        "riff.webp": "is not a picture",
        "missing.png": "No such file",
        "pipe.png": "not a regular file",
        ".": "is a folder",
        "nul\0.png": "null",
    }.items():
        with pytest.raises(ImageError, match=cause) as caught:
            open_image(f"{tmp_path}/{name}")
        assert str(tmp_path) in str(caught.value)
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(ImageError, match="Permission denied"):
        open_image(tmp_path / "text.png")


def test_sources_of_other_kinds():
    for source in (None, 3, io.StringIO("text")):
        with pytest.raises(ImageError):
            open_image(source)
    with pytest.raises(ImageError, match=r"^upload\.png: is empty"):
        open_image(b"", name="upload.png")


def test_the_file_size_is_bounded(tmp_path):
    (tmp_path / "long.png").write_bytes(encoded(GREY, "PNG") + bytes(20_000))
    for source in (tmp_path / "long.png", (tmp_path / "long.png").read_bytes(), io.BytesIO(bytes(20_000))):
        with pytest.raises(ImageError, match=r"more than 16,000 bytes"):
            open_image(source, max_pixels=1000)


def test_a_tiff_strip_that_inflates_beyond_its_page_is_refused():
    data = tiff_bytes(np.zeros((8, 8, 3), np.uint16), photometric="rgb", compression="zlib")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        offset, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    bomb = zlib.compress(bytes(2_000_000), 9)
    # the count of the only strip stands in the directory as a LONG
    patched = data.replace(struct.pack("<I", offset), struct.pack("<I", len(data)))
    patched = patched.replace(struct.pack("<HHI", 279, 4, 1) + struct.pack("<I", count), _long(279, len(bomb)))
    patched = patched.replace(struct.pack("<HHI", 279, 3, 1) + struct.pack("<I", count), _long(279, len(bomb)))
    with pytest.raises(ImageError, match="more than the whole page"):
        open_image(patched + bomb)


def test_a_tiff_with_missing_strips_or_many_channels_is_refused():
    deep = np.zeros((8, 8, 3), np.uint16)
    data = bytearray(tiff_bytes(deep, photometric="rgb", compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        rows = file.pages[0].tags["RowsPerStrip"].valueoffset
    data[rows : rows + 2] = struct.pack("<H", 1)
    with pytest.raises(ImageError, match="parts of the page are missing"):
        open_image(bytes(data))
    for channels in (2, 5):
        with pytest.raises(ImageError, match=f"has {channels} channels"):
            open_image(
                tiff_bytes(np.zeros((8, 8, channels), np.uint16), photometric="minisblack", planarconfig="contig")
            )


def _long(tag: int, value: int) -> bytes:
    return struct.pack("<HHII", tag, 4, 1, value)


_BROKEN = {
    "jpeg": encoded(COLOUR, "JPEG"),
    "progressive": encoded(COLOUR, "JPEG", progressive=True),
    "png": encoded(COLOUR, "PNG"),
    "deep png": encoded(GREY.astype(np.uint16) * 200, "PNG"),
    "gif": encoded(GREY, "GIF"),
    "bmp": encoded(COLOUR, "BMP"),
    "webp": encoded(COLOUR, "WEBP"),
    "tiff": encoded(COLOUR, "TIFF"),
    "lzw": encoded(COLOUR, "TIFF", compression="tiff_lzw"),
    "deep tiff": tiff_bytes(COLOUR.astype(np.uint16) * 200, photometric="rgb"),
    "float tiff": tiff_bytes(GREY.astype(np.float64), compression="zlib"),
}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(_BROKEN)), st.floats(0, 0.999))
def test_a_cut_file_is_an_error_or_shows_the_whole_picture(kind, share):
    data = _BROKEN[kind]
    cut = data[: int(len(data) * share)]
    try:
        picture = open_image(cut)
    except ImageError:
        return
    # some formats end with bytes that no pixel needs
    assert pixel_hash(picture) == pixel_hash(open_image(data))


def test_a_jpeg_cut_in_half_is_an_error():
    for kind in ("jpeg", "progressive", "png", "bmp", "tiff", "webp", "deep tiff"):
        with pytest.raises(ImageError, match="broken"):
            open_image(_BROKEN[kind][: len(_BROKEN[kind]) // 2])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(_BROKEN)), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=8))
def test_changed_bytes_raise_nothing_but_image_errors(kind, changes):
    data = bytearray(_BROKEN[kind])
    for place, value in changes:
        data[place % len(data)] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert open_image(bytes(data), max_pixels=100_000).mode == "RGB"
        except ImageError as error:
            assert "\n" not in str(error)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"MM\0+"]))
def test_noise_raises_nothing_but_image_errors(noise, start):
    with pytest.raises(ImageError):
        open_image(start + noise)


def test_a_compression_without_its_package_names_the_package():
    data = tiff_bytes(COLOUR.astype(np.uint16), photometric="rgb")
    lzw = data.replace(struct.pack("<HHIH", 259, 3, 1, 1), struct.pack("<HHIH", 259, 3, 1, 5))
    assert lzw != data
    if importlib.util.find_spec("imagecodecs") is None:
        with pytest.raises(ImageError, match="TIFF compression LZW: pip install imagecodecs"):
            open_image(lzw)


def test_headers_that_pillow_does_not_know_or_that_are_broken():
    data = tiff_bytes(np.zeros((3, 8, 9), np.float64), photometric="minisblack")
    assert image_info(data) == ImageInfo(width=9, height=8, n_pages=3)
    for broken in (data[:60], b"\x89PNG\r\n\x1a\n", b"text", b""):
        with pytest.raises(ImageError, match="<bytes>"):
            image_info(broken)
