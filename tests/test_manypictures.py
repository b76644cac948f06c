"""Many pictures described: folders, batches with a broken picture, a file of lines that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import ColourEncoder, build, make_corpus, of, paint

from ragvlm.describe import Describer
from ragvlm.errors import ImageError, InputError, StoreError
from ragvlm.index import Index
from ragvlm.manypictures import DescriptionFile, expand


class Counting:
    """Says one word to each prompt, and remembers how many came at once."""

    name = "counting"
    reads = "prompt"
    pictures = 0

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def generate(self, prompts):
        self.sizes.append(len(prompts))
        return ["a red square"] * len(prompts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(5):
        paint(tmp_path / "pictures" / "sub" / f"{number}.png", (250 - number, 0, 0))
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    (tmp_path / "pictures" / "sub" / "2b.png").write_bytes(b"no picture")
    return tmp_path / "pictures"


@pytest.fixture
def index(tmp_path: Path) -> Index:
    whole = make_corpus(tmp_path / "c", 160)
    return build(of(whole.root, whole.records[0::4]), tmp_path / "i", segment_rows=64, calibrate=True)


def test_a_folder_stands_for_its_pictures(folder, tmp_path):
    found = expand([folder, tmp_path / "elsewhere.png"])
    names = [*(f"sub/{name}.png" for name in ("0", "1", "2", "2b", "3", "4"))]
    assert found == [*(str(folder / name) for name in names), str(tmp_path / "elsewhere.png")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        expand([tmp_path / "empty"])


def test_a_batch_is_one_batch_and_survives_a_broken_picture(folder, index, monkeypatch):
    generator, calls = Counting(), []
    real = ColourEncoder.encode_images
    monkeypatch.setattr(
        ColourEncoder, "encode_images", lambda s, images: (calls.append(len(images)), real(s, images))[1]
    )
    index = Index.open(index.path, encoder=ColourEncoder())
    broken: list[str] = []
    describer = Describer(index, generator, alpha=0, threshold=0.1)
    batches = list(describer.batches(expand([folder]), skip=lambda picture, error: broken.append(f"{picture} {error}")))
    assert [len(batch) for batch in batches] == [5]
    assert calls == [5]
    assert generator.sizes == [5]
    assert len(broken) == 1
    assert "2b.png" in broken[0]
    with pytest.raises(ImageError, match="2b"):
        list(describer.batches(expand([folder])))


def test_a_batch_of_broken_pictures_alone(folder, index):
    describer = Describer(Index.open(index.path, encoder=ColourEncoder()), Counting())
    only = [str(folder / "sub" / "2b.png")]
    assert list(describer.batches(only, skip=lambda *_: None)) == [[]]


def test_a_file_goes_on_and_keeps_to_its_settings(folder, index, tmp_path):
    index = Index.open(index.path, encoder=ColourEncoder())
    describer, to = Describer(index, k=3), tmp_path / "out.jsonl"
    pictures = [str(folder / "sub" / f"{n}.png") for n in range(3)]
    file = DescriptionFile(to, describer.settings())
    assert file.done == set()
    file.append([description.to_dict() for description in describer(pictures[:2])])
    with to.open("ab") as stream:
        stream.write(b'{"image": "half')  # a kill in the middle of a line
    file = DescriptionFile(to, describer.settings())
    assert file.done == set(pictures[:2])
    file.append([describer(pictures[2]).to_dict()])
    rows = [json.loads(line) for line in to.read_text(encoding="utf-8").splitlines()]
    assert [row["image"] for row in rows] == pictures
    with pytest.raises(InputError, match="line 1: was written with another parameters"):
        DescriptionFile(to, Describer(index, k=4).settings())
    with pytest.raises(InputError, match="another question"):
        DescriptionFile(to, describer.settings("Is it red?"))
    assert len(to.read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize("content", ["words\n", "[1]\n", '{"image": "a.png"}\n'])
def test_another_file_is_left_alone(content, tmp_path, index):
    to = tmp_path / "out.jsonl"
    to.write_text(content)
    with pytest.raises(StoreError, match="line 1: is no description"):
        DescriptionFile(to, Describer(Index.open(index.path, encoder=ColourEncoder())).settings())
    assert to.read_text() == content
