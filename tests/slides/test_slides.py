"""Slides: levels, rectangles to the pixel, tissue, tiles and the records made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from stacks import SLIDE_SIZE, TISSUE_BOX, ome_slide, plain_slide, slide_pixels

from ragvlm.corpus import Corpus
from ragvlm.errors import CorpusError, ImageError, InputError
from ragvlm.images import image_info, open_image
from ragvlm.slides import Rect, TileOptions, open_slide, tile_rects
from ragvlm.slides.tissue import tissue_mask

APERIO = "Aperio Image Library v12.0.15 \r\n1800x1300 [0,0 1800x1300] (128x128) |AppMag = 20|MPP = 0.4990|User = x"


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return slide_pixels()


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ome_slide(tmp_path_factory.mktemp("slides") / "s.ome.tif")


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize("kind", ["ome", "plain"])
def test_rectangles_are_read_to_the_pixel(
    tmp_path: Path, pixels: np.ndarray, kind: str, compression: str | None
) -> None:
    path = tmp_path / "s.tif"
    ome_slide(path, compression=compression) if kind == "ome" else plain_slide(path, compression=compression)
    with open_slide(path) as slide:
        assert slide.size == SLIDE_SIZE
        assert [level.downsample for level in slide.levels] == [1, 2, 4]
        whole = slide.read(533, 401, 300, 200, (300, 200))
        half = slide.read(536, 404, 300, 200, (150, 100))
        edge = slide.read(1700, 1200, 100, 100, (100, 100))
    assert np.array_equal(whole, pixels[401:601, 533:833])
    assert np.array_equal(half, pixels[404:604:2, 536:836:2])
    assert np.array_equal(edge, pixels[1200:1300, 1700:1800])


def test_jpeg_tiles_are_close(tmp_path: Path, pixels: np.ndarray) -> None:
    path = plain_slide(tmp_path / "s.svs", APERIO, compression="jpeg", compressionargs={"level": 95})
    with open_slide(path) as slide:
        assert slide.mpp == 0.499
        part = np.asarray(slide.read(0, 0, *SLIDE_SIZE, SLIDE_SIZE), int)
    assert np.abs(part - pixels).mean() < 3


def test_a_scale_between_two_levels_is_taken_from_the_finer(slide_file: Path, pixels: np.ndarray) -> None:
    with open_slide(slide_file) as slide:
        part = slide.read(540, 400, 300, 300, (100, 100))
    expected = Image.fromarray(pixels[400:700:2, 540:840:2]).resize((100, 100), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(part, int) - np.asarray(expected, int)).max() <= 1


def test_pages_of_a_multichannel_pyramid_are_scaled_alike_in_every_tile(tmp_path: Path) -> None:
    values = np.zeros((2, 600, 800), np.uint16)
    values[0, :, :400], values[1, :, 400:] = 1000, 3000
    path = tmp_path / "c.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        named = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}
        file.write(values, subifds=1, tile=(128, 128), metadata=named)
        file.write(values[:, ::2, ::2], subfiletype=1, tile=(128, 128))
    assert np.asarray(open_image(f"{path}#x=0&y=0&width=64&height=64"))[5, 5].tolist() == [0, 0, 255]
    assert np.asarray(open_image(f"{path}#x=700&y=0&width=64&height=64"))[5, 5].tolist() == [0, 255, 0]
    only = np.asarray(open_image(f"{path}#x=700&y=0&width=64&height=64&channel=DAPI"))
    assert only.max() == 0


def test_the_overview_says_how_wide_its_pixels_are(slide_file: Path, pixels: np.ndarray) -> None:
    with open_slide(slide_file) as slide:
        overview, scale = slide.thumbnail(300)
    assert (overview.size, scale) == ((225, 163), 8)
    left, top, right, bottom = (round(value / scale) for value in TISSUE_BOX)
    inside = np.asarray(overview)[top + 1 : bottom - 1, left + 1 : right - 1]
    assert inside[..., 1].max() < 160
    assert np.asarray(overview)[: top - 1].min() > 230


def test_a_slide_of_one_level_is_shrunk_in_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ome_slide(tmp_path / "one.ome.tif", levels=1)
    with open_slide(path) as slide:
        at_once, _ = slide.thumbnail(100)
        monkeypatch.setattr("ragvlm.slides.pyramid.BAND", 1800 * 40)
        assert np.array_equal(slide.thumbnail(100)[0], at_once)


@pytest.mark.parametrize(
    ("options", "side"),
    [
        (TileOptions(tile=100, tissue=0.5), 100),
        (TileOptions(tile=64, mpp=0.5, tissue=0.5), 128),
        (TileOptions(tile=50, mpp=1.0, tissue=0.01), 200),
    ],
)
def test_tiles_are_those_with_enough_tissue(slide_file: Path, options: TileOptions, side: int) -> None:
    with open_slide(slide_file) as slide:
        found = set(tile_rects(slide, options))
    left, top, right, bottom = TISSUE_BOX
    # one pixel of tolerance: the median filter rounds the corners of the tissue
    sure, possible = set(), set()
    for y in range(0, SLIDE_SIZE[1] - side + 1, side):
        for x in range(0, SLIDE_SIZE[0] - side + 1, side):
            wide = max(0, min(x + side, right) - max(x, left))
            high = max(0, min(y + side, bottom) - max(y, top))
            share = wide * high / side**2
            if share >= options.tissue + 0.02:
                sure.add(Rect(x, y, side, side))
            if share >= options.tissue - 0.02:
                possible.add(Rect(x, y, side, side))
    assert sure <= found <= possible
    assert sure


def test_all_tiles_cover_the_slide_up_to_half_a_tile(slide_file: Path) -> None:
    with open_slide(slide_file) as slide:
        found = tile_rects(slide, TileOptions(tile=400, tissue=0))
        small = tile_rects(slide, TileOptions(tile=4000, tissue=0))
    # 1800 = 4 * 400 + 200, 1300 = 3 * 400 + 100: the last column is kept, the last row isn't
    assert len(found) == 15
    assert found[4] == Rect(1600, 0, 200, 400)
    assert small == [Rect(0, 0, *SLIDE_SIZE)]


@pytest.mark.parametrize("background", [(240, 238, 242), (4, 3, 5)])
def test_an_empty_slide_has_no_tissue(background: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).normal(0, 1.5, (200, 300, 3))
    empty = np.clip(np.array(background) + noise, 0, 255).astype(np.uint8)
    assert tissue_mask(Image.fromarray(empty)).mean() < 0.01


@pytest.mark.parametrize(
    ("background", "tissue"), [((240, 238, 242), (180, 90, 160)), ((3, 3, 5), (20, 180, 40)), ((235,) * 3, (90,) * 3)]
)
def test_tissue_is_found_on_glass_in_the_dark_and_without_colour(
    background: tuple[int, int, int], tissue: tuple[int, int, int]
) -> None:
    pixels = np.full((200, 300, 3), background, np.uint8)
    pixels[60:140, 90:210] = tissue
    mask = tissue_mask(Image.fromarray(pixels))
    truth = np.zeros((200, 300), bool)
    truth[60:140, 90:210] = True
    assert (mask & truth).sum() / (mask | truth).sum() > 0.98


def test_a_corpus_of_slides_becomes_tiles_that_point_back(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    ome_slide(folder / "s.ome.tif")
    (folder / "metadata.csv").write_text("file_name,caption\ns.ome.tif,a made-up tissue\n")
    corpus = Corpus.load(folder / "metadata.csv", options={"tile": 128, "mpp": 0.5, "tissue": 0.9})
    assert corpus.records
    for record in corpus:
        region = record.extra["region"]
        x, y = region["x"], region["y"]
        assert record.id == f"s.ome.tif@{x},{y}"
        assert (region["width"], region["height"], region["mpp"]) == (256, 256, 0.5)
        assert region["um"] == [x * 0.25, y * 0.25, 64, 64]
        assert record.subject_id == "s.ome.tif"
        assert record.caption == "a made-up tissue"
        picture = open_image(corpus.image_path(record))
        assert np.array_equal(picture, pixels[y : y + 256 : 2, x : x + 256 : 2])


def test_a_slide_as_a_query_stands_for_its_tiles(slide_file: Path) -> None:
    from ragvlm.formats.slide import SlideFormat
    from ragvlm.locator import Locator

    tiles = SlideFormat().stack(Locator.of(f"{slide_file}#tile=128&mpp=0.5&tissue=0.9"))
    assert {(tile.parts["width"], tile.parts["pixels"]) for tile in tiles} == {("256", "128x128")}
    assert all(open_image(str(tile)).size == (128, 128) for tile in tiles)
    whole = Locator.of(slide_file)
    assert SlideFormat().stack(whole) == [whole]


def test_without_tiles_a_slide_is_one_record(tmp_path: Path) -> None:
    ome_slide(tmp_path / "s.ome.tif")
    (record,) = Corpus.load(tmp_path)
    assert record.image == "s.ome.tif"
    assert record.extra == {"slide_size": list(SLIDE_SIZE), "pixel_size_um": [0.25, 0.25]}
    assert image_info(tmp_path / "s.ome.tif").width == 1800


def test_micrometres_need_a_scale(tmp_path: Path) -> None:
    ome_slide(tmp_path / "s.ome.tif", mpp=None)
    with pytest.raises(CorpusError, match=r"s\.ome\.tif: doesn't state the size of its pixels: leave mpp out"):
        Corpus.load(tmp_path, options={"tile": 128, "mpp": 0.5})


@pytest.mark.parametrize("options", [{"tile": 3}, {"mpp": 0}, {"tissue": 2}, {"tile": "wide"}])
def test_options_out_of_range_are_told(tmp_path: Path, options: dict[str, object]) -> None:
    ome_slide(tmp_path / "s.ome.tif")
    with pytest.raises(InputError):
        Corpus.load(tmp_path, options=options)


@pytest.mark.parametrize(
    "place", ["x=1700&y=0&width=101&height=5", "x=1800", "x=0&y=0&width=0&height=1", "pixels=0x5", "pixels=a", "z=1"]
)
def test_places_outside_a_slide_are_told(slide_file: Path, place: str) -> None:
    with pytest.raises(ImageError, match=r"s\.ome\.tif"):
        open_image(f"{slide_file}#{place}")


def test_a_rectangle_too_large_is_refused_before_it_is_read(slide_file: Path) -> None:
    with pytest.raises(ImageError, match="more than the bound"):
        open_image(f"{slide_file}#x=0&y=0&width=1800&height=1300&pixels=1700x1200", max_pixels=1_000_000)
    # a file may be larger than the bound as long as little of it is shown
    assert open_image(f"{slide_file}#x=600&y=400&width=100&height=100", max_pixels=10_000).size == (100, 100)


def test_a_truncated_slide_is_one_clear_line(tmp_path: Path, slide_file: Path) -> None:
    data = slide_file.read_bytes()
    broken = tmp_path / "broken.ome.tif"
    broken.write_bytes(data[: len(data) // 3])
    with pytest.raises(ImageError, match="broken"):
        open_image(f"{broken}#x=600&y=900&width=100&height=100")


def test_a_makers_format_is_read_by_openslide(tmp_path: Path, pixels: np.ndarray) -> None:
    pytest.importorskip("openslide")
    from ragvlm.slides import vendor

    # OpenSlide knows generic pyramids too: the same rectangle by both
    path = plain_slide(tmp_path / "s.tif", compression=None)
    with vendor.opened(path) as source:
        assert [(level.width, level.height) for level in source.levels] == [(1800, 1300), (900, 650), (450, 325)]
        assert np.array_equal(source.region(0, 530, 390, 90, 60), pixels[390:450, 530:620])
    (tmp_path / "s.mrxs").write_bytes(b"no slide")
    with pytest.raises(ImageError, match=r"s\.mrxs: broken slide"):
        open_image(tmp_path / "s.mrxs")


def test_a_page_is_one_of_the_file(tmp_path: Path, pixels: np.ndarray) -> None:
    path = plain_slide(tmp_path / "s.tif")
    assert np.array_equal(open_image(path, page=1), pixels[::2, ::2])


def test_tiles_are_drawn_on_the_overview(slide_file: Path) -> None:
    from ragvlm.slides import draw_rects

    drawn = np.asarray(draw_rects(slide_file, {"[1]": Rect(800, 400, 200, 200)}, side=450), int)
    with open_slide(slide_file) as slide:
        plain = np.asarray(slide.thumbnail(450)[0], int)
    rows, columns = np.nonzero(np.abs(drawn - plain).sum(axis=2))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (200, 250, 100, 150)
