"""Text burnt into the border: found, told from what only looks like it, and painted over."""

from __future__ import annotations

import json

import numpy as np
import pytest
from dicoms import SHIPPED
from PIL import Image, ImageDraw, ImageFont

from ragvlm.burnedin import find_text, mask_text
from ragvlm.corpus import Corpus
from ragvlm.errors import ImageError
from ragvlm.images import open_image


def scan(text: str = "", at: tuple[int, int] = (8, 8), size: int = 14, white: bool = False) -> Image.Image:
    """A made film: a grey body on black (or white), noise, and words in one place."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:300, :400]
    values = np.where(((x - 200) / 120) ** 2 + ((y - 150) / 110) ** 2 < 1, 120.0, 240.0 if white else 5.0)
    image = Image.fromarray(np.clip(values + rng.normal(0, 6, values.shape), 0, 255).astype(np.uint8)).convert("RGB")
    ImageDraw.Draw(image).text(
        at, text, fill=(0, 0, 0) if white else (255, 255, 255), font=ImageFont.load_default(size)
    )
    return image


@pytest.mark.parametrize("size", [10, 14, 22])
@pytest.mark.parametrize("at", [(8, 8), (230, 8), (8, 265), (230, 265)])
@pytest.mark.parametrize("white", [False, True])
def test_words_in_a_corner_are_found_and_painted_over(at, size, white):
    image = scan("DOE JANE 1967", at, size, white)
    left, top, right, bottom = ImageDraw.Draw(image).textbbox(at, "DOE JANE 1967", font=ImageFont.load_default(size))
    hit = np.zeros((300, 400), bool)
    for box in find_text(image):
        hit[box.top : box.bottom, box.left : box.right] = True
    assert hit[round(top) : round(bottom), round(left) : round(right)].mean() > 0.7
    assert hit.sum() < 1.6 * (right - left) * (bottom - top)
    assert find_text(mask_text(image)) == []
    clean = scan(white=white)
    difference = np.abs(np.asarray(mask_text(image)).astype(int) - np.asarray(clean).astype(int))
    assert difference.mean() < 0.1 * np.abs(np.asarray(image).astype(int) - np.asarray(clean).astype(int)).mean() + 0.2


def test_what_is_not_written_in_the_border_stays():
    assert find_text(scan()) == []
    assert mask_text(scan()).tobytes() == scan().tobytes()
    assert find_text(scan("LESION", (170, 140))) == []  # a mark of a finding, in the middle
    ruler = scan()
    for top in range(60, 240, 8):
        ImageDraw.Draw(ruler).line((390, top, 399, top), fill="white")
    assert find_text(ruler) == []
    assert find_text(Image.new("RGB", (3, 3))) == []


def test_pydicoms_own_ultrasound_pictures_are_flagged():
    for name in ("examples_palette.dcm", "examples_rgb_color.dcm"):
        image = open_image(SHIPPED / name)
        assert len(find_text(image)) >= 3, name
        assert len(find_text(mask_text(image))) <= 1, name


def test_the_mask_is_a_part_of_the_place_and_an_option_of_a_corpus(tmp_path):
    scan("DOE JANE").save(tmp_path / "a.png")
    assert find_text(open_image(tmp_path / "a.png")) != []
    assert open_image(f"{tmp_path}/a.png#mask=text").tobytes() == mask_text(scan("DOE JANE")).tobytes()
    with pytest.raises(ImageError, match="mask=face: only text can be masked"):
        open_image(f"{tmp_path}/a.png#mask=face")
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "caption": "A body."}) + "\n")
    (record,) = Corpus.load(tmp_path, options={"mask_burned_in": True})
    assert (record.id, record.image) == ("a.png", "a.png#mask=text")
    (plain,) = Corpus.load(tmp_path)
    assert plain.image == "a.png"
