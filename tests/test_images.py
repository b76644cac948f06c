"""The door for pixels: every format, every kind of broken file, and the bounds."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from pictures import COLOUR, GREY, RNG, encoded, png, tiff_bytes
from PIL import Image

from ragvlm import images
from ragvlm.errors import ImageError
from ragvlm.images import hamming, image_info, open_image, perceptual_hash, pixel_hash, thumbnail_data_uri


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
