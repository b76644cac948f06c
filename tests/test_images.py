"""The door for pixels: every format, every kind of broken file, and the bounds."""

from __future__ import annotations

import base64
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
from PIL import Image

from ragvlm import images
from ragvlm.errors import ImageError, InputError
from ragvlm.images import hamming, image_info, open_image, perceptual_hash, pixel_hash, thumbnail_data_uri

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (24, 32), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)


def encoded(array: np.ndarray | Image.Image, form: str, **options) -> bytes:
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def tiff_bytes(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def png(width: int, height: int, bits: int, kind: int, rows: bytes = b"") -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_keep_every_pixel(form):
    picture = open_image(encoded(COLOUR, form, **({"lossless": True} if form == "WEBP" else {})))
    assert picture.mode == "RGB"
    assert np.array_equal(np.asarray(picture), COLOUR)


@pytest.mark.parametrize("form", ["JPEG", "GIF", "WEBP"])
def test_lossy_formats_keep_size_and_brightness(form):
    smooth = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8) * 4
    picture = open_image(encoded(smooth, form))
    assert (picture.mode, picture.size) == ("RGB", (32, 24))
    assert np.abs(np.asarray(picture)[..., 0].astype(int) - smooth).mean() < 4


def test_palette_one_bit_cmyk_and_grey():
    palette = Image.fromarray(GREY % 4)
    palette = palette.convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    first = np.asarray(open_image(encoded(palette, "TIFF")))
    assert np.array_equal(first, np.asarray(palette.convert("RGB")))
    bits = Image.fromarray(GREY > 127)
    assert np.array_equal(np.asarray(open_image(encoded(bits, "TIFF")))[..., 0], (GREY > 127) * 255)
    cmyk = Image.new("CMYK", (3, 3), (0, 255, 255, 0))
    assert open_image(encoded(cmyk, "TIFF")).getpixel((1, 1)) == (255, 0, 0)
    assert np.array_equal(np.asarray(open_image(encoded(GREY, "PNG")))[..., 2], GREY)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_composited_on_white(mode):
    source = Image.new("LA", (2, 1), (0, 255)).convert(mode)
    source.putalpha(Image.fromarray(np.array([[0, 255]], np.uint8)))
    form = "TIFF" if mode == "PA" else "PNG"
    for given_source in (source, encoded(source.convert("LA") if mode == "PA" else source, form)):
        picture = open_image(given_source)
        assert [picture.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 0)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u2", "i2", "u4", "i4", "f4", "f8"])
def test_deep_grey_tiff_in_both_byte_orders(order, kind):
    values = np.arange(24 * 32).reshape(24, 32)
    picture = open_image(tiff_bytes(values.astype(order + kind), byteorder=order))
    expected = images.array_to_rgb(values.astype(kind))
    assert np.array_equal(np.asarray(picture), np.asarray(expected))
    assert (np.asarray(picture).min(), np.asarray(picture).max()) == (0, 255)


@pytest.mark.parametrize("options", [{}, {"planarconfig": "separate"}, {"compression": "zlib", "tile": (16, 16)}])
def test_deep_colour_tiff_keeps_its_low_bytes(options):
    values = RNG.integers(0, 4096, (24, 32, 3), dtype=np.uint16)  # Pillow alone would give 0 to 15
    planes = np.moveaxis(values, -1, 0) if "planarconfig" in options else values
    picture = open_image(tiff_bytes(planes, photometric="rgb", **options))
    assert np.array_equal(np.asarray(picture), np.asarray(images.array_to_rgb(values)))


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4)])
def test_deep_colour_png_keeps_its_low_bytes(kind, channels):
    values = RNG.integers(0, 4096, (24, 32, channels), dtype=np.uint16)
    values[..., 3:] = 65_535
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    picture = open_image(png(32, 24, 16, kind, rows))
    assert np.array_equal(np.asarray(picture), np.asarray(images.array_to_rgb(values[..., :3])))


def test_white_is_zero_is_inverted():
    values = np.array([[0, 1000]], np.uint16)
    for order in "<>":
        picture = open_image(tiff_bytes(values, photometric="miniswhite", byteorder=order))
        assert [picture.getpixel((x, 0))[0] for x in (0, 1)] == [255, 0]


def test_pages_of_a_tiff_and_frames_of_a_gif():
    stack = np.stack([np.full((4, 4), v, np.uint8) for v in (10, 20, 30)])
    data = tiff_bytes(stack, photometric="minisblack")
    assert image_info(data) == images.ImageInfo(width=4, height=4, n_pages=3)
    assert [open_image(data, page=p).getpixel((0, 0))[0] for p in range(3)] == [10, 20, 30]
    frames = [Image.new("L", (4, 4), v) for v in (10, 200)]
    gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert open_image(gif).getpixel((0, 0))[0] == 10
    assert open_image(gif, page=1).getpixel((0, 0))[0] == 200
    for page in (3, -1):
        with pytest.raises(ImageError, match=f"page {page} does not exist"):
            open_image(data, page=page)
    with pytest.raises(ImageError, match="in memory has one page"):
        open_image(GREY, page=1)


def test_deep_pages_and_orientation_of_a_tiff():
    stack = np.stack([np.full((2, 3, 3), 5, np.uint16), np.arange(18, dtype=np.uint16).reshape(2, 3, 3)])
    data = tiff_bytes(stack, photometric="rgb", extratags=[(274, "H", 1, 6, False)])
    upright = np.asarray(open_image(data, page=1))
    assert upright.shape == (3, 2, 3)
    assert np.array_equal(upright, np.rot90(np.asarray(images.array_to_rgb(stack[1])), -1))
    with pytest.raises(ImageError, match="page 2 does not exist"):
        open_image(data, page=2)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(form):
    exif = Image.Exif()
    exif[274] = 6
    wide = Image.new("RGB", (40, 8), "white")
    wide.paste((0, 0, 0), (0, 0, 20, 8))
    picture = open_image(encoded(wide, form, exif=exif))
    assert picture.size == (8, 40)
    assert picture.getpixel((4, 3))[0] < 60
    assert picture.getpixel((4, 36))[0] > 200


def test_every_kind_of_source_gives_the_same_picture(tmp_path):
    data = encoded(COLOUR, "PNG")
    path = tmp_path / "a picture.png"
    path.write_bytes(data)
    sources = [path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), COLOUR, Image.open(path)]
    assert {pixel_hash(open_image(source)) for source in sources} == {pixel_hash(Image.fromarray(COLOUR))}


def test_inputs_are_not_changed():
    array = RNG.random((8, 8)).astype(np.float32)
    kept = array.copy()
    open_image(array)
    assert np.array_equal(array, kept)


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
        with pytest.raises(ImageError, match=r"broken picture \("):
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


def test_equal_pixels_have_equal_hashes_in_every_lossless_format():
    forms = [encoded(COLOUR, form) for form in ("PNG", "BMP", "TIFF")]
    assert len({pixel_hash(open_image(data)) for data in forms}) == 1
    other = COLOUR.copy()
    other[0, 0, 0] ^= 1
    assert pixel_hash(Image.fromarray(other)) != pixel_hash(Image.fromarray(COLOUR))
    flat = np.zeros((2, 8, 3), np.uint8)
    assert pixel_hash(Image.fromarray(flat)) != pixel_hash(Image.fromarray(flat.reshape(4, 4, 3)))


def test_perceptual_hash_is_close_for_alike_and_far_for_unlike(shared_data):
    folder = shared_data / "blood-cells" / "images"
    first, second = (open_image(p) for p in sorted(folder.iterdir())[:2])
    alike = open_image(encoded(first.resize((320, 240)), "JPEG", quality=60))
    assert hamming(perceptual_hash(first), perceptual_hash(alike)) <= 6
    assert hamming(perceptual_hash(first), perceptual_hash(second)) >= 16
    assert 0 <= perceptual_hash(first) < 2**64
    assert perceptual_hash(Image.new("RGB", (50, 20), "red")) == 0
    assert hamming(0b1011, 0b0010) == 2


def test_perceptual_hash_follows_the_cosine_transform():
    scipy_fft = pytest.importorskip("scipy.fft")
    luma = RNG.integers(0, 256, (32, 32), dtype=np.uint8)
    low = scipy_fft.dctn(luma.astype(float))[1:9, 1:9].ravel()
    bits = "".join("1" if value > np.median(low) else "0" for value in low)
    assert perceptual_hash(Image.fromarray(luma)) == int(bits, 2)


def test_thumbnail_is_a_small_jpeg():
    uri = thumbnail_data_uri(Image.new("RGB", (400, 200), "red"), size=64)
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    assert open_image(base64.b64decode(body)).size == (64, 32)


def test_real_micrographs(shared_data):
    folder = shared_data / "cell-assays" / "images"
    pictures = {path.name: open_image(path) for path in sorted(folder.iterdir())}
    assert len(pictures) == 38
    assert {p.suffix.lower() for p in folder.iterdir()} <= images.SUPPORTED_SUFFIXES
    for name in ("Speckles_1-162hrhoe2.tif", "StraightenWorms_101210OranePlt1_C16_w1.tif"):  # big, little endian
        pixels = np.asarray(pictures[name])
        assert (pixels.min(), pixels.max()) == (0, 255)
        assert 20 < pixels.mean() < 140
    well = "AS_09125_050116030001_D03f00d0.tif"
    assert pixel_hash(pictures[f"Human_{well}"]) == pixel_hash(pictures[f"PercentPositive_{well}"])
