"""Grounding by words on patches and by a generator: what is found, what is written, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import ragvlm as rv
from ragvlm.errors import InputError
from ragvlm.regions import heat
from ragvlm.regions.coco import as_coco, run_lengths
from ragvlm.regions.found import FoundRegion, Grounding

BOX = "<loc0000><loc0000><loc1023><loc0511>"
CODES = "".join(f"<seg{n:03d}>" for n in range(16))


class Patches:
    """An encoder whose patches can be counted by eye: bright ones mean "cell", the others "background"."""

    name, fingerprint, image_dim, text_dim, shared_space, input_size = "fake", "0", 2, 2, True, 4

    def patch_batch(self, images: list[Image.Image]) -> Any:
        grey = np.asarray(images[0].convert("L").resize((4, 4), Image.Resampling.BOX), np.float32)[None]
        return np.stack([grey > 127, grey <= 127], axis=-1).astype(np.float32)

    def encode_texts(self, texts: list[str]) -> Any:
        return np.array([[1.0, 0.0] if "cell" in text else [0.0, 1.0] for text in texts], np.float32)


class Places:
    """A generator that answers as it is told, and keeps what it was asked."""

    name = "fake"

    def __init__(self, answer: str) -> None:
        self.answer, self.asked = answer, ""

    def follow(self, image: Image.Image, words: str) -> str:
        self.asked = words
        return self.answer


@pytest.fixture
def picture() -> Image.Image:
    """80 x 40, its left upper quarter bright."""
    image = Image.new("RGB", (80, 40))
    image.paste((255, 255, 255), (0, 0, 40, 20))
    return image


def test_words_find_the_bright_quarter(picture: Image.Image) -> None:
    found = rv.ground(picture, "cell", encoder=Patches())
    assert found.count == len(found.regions) == 1
    region = found.regions[0]
    assert region.box[:2] == (0, 0)
    assert abs(region.box[2] - 40) <= 5
    assert abs(region.box[3] - 20) <= 5
    assert region.score > 0.99
    assert found.mask().sum() == region.area
    assert found.method == "words"


def test_words_that_are_nowhere_find_nothing(picture: Image.Image) -> None:
    found = rv.ground(Image.new("RGB", (80, 40)), "cell", encoder=Patches())
    assert (found.count, found.regions, found.abstained) == (0, (), False)
    assert not found.mask().any()


def test_the_map_is_a_share_of_the_picture_s_size(picture: Image.Image) -> None:
    found = heat.heat_map(Patches(), picture, "cell")
    assert found.shape == (40, 80)
    assert found.min() >= 0
    assert found.max() <= 1


def test_a_generator_is_asked_by_its_task_words(picture: Image.Image) -> None:
    places = Places(f"{BOX} white blood cell ; <loc0001> cut off")
    found = rv.ground(picture, "white  blood cell", generator=places)
    assert places.asked == "detect white blood cell"
    assert [(r.label, r.box) for r in found.regions] == [
        ("white blood cell", (0, 0, pytest.approx(39.96, abs=0.01), 40))
    ]
    assert found.provenance["malformed"] == ["<loc0001> cut off"]


def test_a_mask_without_its_decoder_is_said_to_be_a_box(picture: Image.Image) -> None:
    found = rv.segment(picture, "cell", generator=Places(f"{BOX}{CODES} cell"))
    assert "needs PaliGemma's mask decoder" in str(found.reason)
    assert not found.abstained
    assert found.regions[0].mask is None
    assert found.mask()[:, :39].all()


def test_a_mask_is_decoded_into_its_box(picture: Image.Image, tmp_path: Path) -> None:
    found = rv.segment(picture, "cell", generator=Places(f"{BOX}{CODES} cell"), mask_decoder=decoder_file(tmp_path))
    mask = found.regions[0].mask
    assert found.reason is None
    assert mask is not None
    assert mask.shape == (40, 40)
    assert 0 < mask.mean() < 1  # the fake decoder's own share


def decoder_file(folder: Path, codes: int = 128) -> Path:
    """Weights of the decoder's architecture, by the names that Google's file has."""
    import torch
    from safetensors.numpy import save_file

    from ragvlm.regions.maskdecoder import TABLE, _net

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = _net(512)
        for weights in net.parameters():
            torch.nn.init.normal_(weights, std=0.1)
        table = torch.randn(codes, 512).numpy()
    state = {f"decoder.{name}": value.numpy() for name, value in net.state_dict().items()}
    path = folder / "decoder.safetensors"
    save_file({TABLE: table, **state}, path)
    np.savez(folder / "decoder.npz", **{TABLE: table, **state})
    return path


def test_both_kinds_of_decoder_files_say_the_same(tmp_path: Path) -> None:
    from ragvlm.regions.maskdecoder import MaskDecoder

    path = decoder_file(tmp_path)
    one, two = MaskDecoder(path), MaskDecoder(path.with_suffix(".npz"))
    first = one(range(16))
    assert first.shape == (64, 64)
    assert first.min() >= 0
    assert first.max() <= 1
    np.testing.assert_array_equal(first, two(range(16)))
    assert np.abs(first - one(range(16, 32))).max() > 0
    with pytest.raises(InputError, match="a mask has 16 codes below 128"):
        one([128] * 16)


def test_a_wrong_decoder_file_is_told(tmp_path: Path) -> None:
    from ragvlm.errors import RagvlmError
    from ragvlm.regions.maskdecoder import MaskDecoder

    with pytest.raises(InputError, match="no such file"):
        MaskDecoder(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InputError, match=r"damaged|can't be read"):
        MaskDecoder(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(RagvlmError, match="not the weights of PaliGemma's mask decoder"):
        MaskDecoder(tmp_path / "other.npz")
    with pytest.raises(RagvlmError, match="a table of 7 codes"):
        MaskDecoder(decoder_file(tmp_path, codes=7))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give an index whose corpus has boxes"),
        ({"method": "guess", "encoder": Patches()}, "choose one of"),
        ({"threshold": 0, "encoder": Patches()}, "above 0"),
        ({"pixel_um": -1, "encoder": Patches()}, "give µm above 0"),
        ({"generator": Patches()}, "can't say where things are"),
        ({"encoder": "embedded"}, "no patches in the space of words"),
    ],
)
def test_what_cannot_be_is_refused(picture: Image.Image, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rv.ground(picture, "cell", **options)
    with pytest.raises(InputError, match="give the words"):
        rv.ground(picture, "  ", encoder=Patches())


def test_a_result_prints_and_turns_into_json_and_html(picture: Image.Image) -> None:
    found = rv.ground(picture, "cell <b>", encoder=Patches(), pixel_um=0.5)
    told = json.loads(found.to_json())
    assert told["regions"][0]["um"][2] == told["regions"][0]["bbox"][2] / 2
    assert told["regions"][0]["area_um2"] == pytest.approx(found.regions[0].area / 4, abs=0.01)
    assert "µm" in str(found)
    page = found._repr_html_()
    assert "<b>cell" not in page
    assert "cell &lt;b&gt;" in page


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=5))
def test_run_lengths_draw_the_mask_again(rows: list[list[bool]]) -> None:
    mask = np.array(rows)
    flat = np.concatenate([np.full(n, i % 2 == 1) for i, n in enumerate(run_lengths(mask))])
    np.testing.assert_array_equal(flat.reshape(mask.shape, order="F"), mask)


def test_coco_counts_as_pycocotools_does(picture: Image.Image) -> None:
    region = FoundRegion((10, 5, 14, 8), "cell", 0.5, np.ones((3, 4), bool))
    found = Grounding("a.png", "cell", (80, 40), (region,), "words")
    told = as_coco([found])
    assert told["images"] == [{"id": 1, "file_name": "a.png", "width": 80, "height": 40}]
    assert told["annotations"][0]["bbox"] == [10, 5, 4, 3]
    counts = told["annotations"][0]["segmentation"]["counts"]
    assert counts[0] == 10 * 40 + 5
    assert sum(counts) == 80 * 40


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "ragvlm", *words], capture_output=True, text=True, check=False)


def test_a_tiny_clip_grounds_from_the_command_line(tmp_path: Path, picture: Image.Image) -> None:
    pytest.importorskip("sentencepiece")
    import checkpoints

    folder = checkpoints.clip(tmp_path / "clip")
    picture.save(tmp_path / "a.png")
    wanted = {name: tmp_path / name for name in ("m.png", "c.json", "r.html")}
    done = _run(
        "segment", str(tmp_path / "a.png"), "nuclei", "--encoder", f"transformers:{folder}", "--json", "--threshold",
        "0.1", "--out", str(wanted["m.png"]), "--coco", str(wanted["c.json"]), "--report", str(wanted["r.html"]),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["method"] == "words"
    with Image.open(wanted["m.png"]) as mask:
        assert mask.size == picture.size
        assert int(np.asarray(mask).max()) == told["count"]
    assert len(json.loads(wanted["c.json"].read_text())["annotations"]) == told["count"]
    assert "data:image" in wanted["r.html"].read_text()


def test_a_missing_picture_is_one_line(tmp_path: Path) -> None:
    done = _run("ground", str(tmp_path / "no.png"), "cell", "--encoder", "embedded")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no.png" in done.stderr
