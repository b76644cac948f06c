"""JPEGs decoded at a fraction of their size: which fraction, and what stays true of the picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ragvlm.images import hamming, open_image, perceptual_hash, pixel_hash


def cells(width: int, height: int) -> Image.Image:
    """Blobs of all sizes with grain."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    grain = rng.integers(-6, 7, (height, width, 3))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int64)
    return Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 200))
def test_both_sides_keep_twice_what_is_wanted(width, height, side):
    data = encoded(Image.new("RGB", (width, height), "red"))
    found = open_image(data, side=side)
    scale = found.info.get("scale", 1)
    assert scale in (1, 2, 4, 8)
    assert found.size == (-(-width // scale), -(-height // scale))
    assert scale == 1 or min(found.size) >= 2 * side
    assert scale == 8 or min(width, height) < 2 * scale * 2 * side  # no larger divisor would do


def test_nothing_is_shrunk_unasked_or_of_another_kind():
    picture = cells(200, 160)
    assert open_image(encoded(picture)).size == (200, 160)
    assert "scale" not in open_image(encoded(picture), side=None).info
    for kind in ("PNG", "TIFF", "WEBP", "BMP"):
        found = open_image(encoded(picture, kind), side=10)
        assert found.size == (200, 160)
        assert not found.info


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk(mode):
    found = open_image(encoded(cells(200, 160).convert(mode)), side=40)
    assert (found.mode, found.size, found.info) == ("RGB", (100, 80), {"scale": 2})


def test_a_turned_picture_is_turned_and_loses_its_metadata():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a name"
    found = open_image(encoded(cells(200, 160), exif=exif), side=40)
    assert (found.size, found.info) == ((80, 100), {"scale": 2})
    assert not found.getexif()


def test_the_hash_tells_its_scale():
    data = encoded(cells(200, 160))
    whole, half = open_image(data), open_image(data, side=40)
    assert len(pixel_hash(whole)) == 64
    assert pixel_hash(half)[64:] == "/2"
    commented = data[:2] + b"\xff\xfe\x00\x06note" + data[2:]
    assert pixel_hash(half) == pixel_hash(open_image(commented, side=40))
    # a picture that has these pixels in full is another one
    assert pixel_hash(open_image(encoded(half, "PNG"))) == pixel_hash(half)[:64]


def test_a_cut_file_is_an_error():
    data = encoded(cells(200, 160))
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(data[: len(data) // 2])).load()
    from ragvlm.errors import ImageError

    with pytest.raises(ImageError, match="broken"):
        open_image(data[: len(data) // 2], side=40)


@pytest.mark.parametrize("size", [(1600, 1200), (1999, 1501), (1801, 3605)])
def test_the_perceptual_hash_hardly_changes(size):
    data = encoded(cells(*size), quality=90)
    assert hamming(perceptual_hash(open_image(data)), perceptual_hash(open_image(data, side=224))) <= 2
