"""Pictures inside tables: Parquet files and saved Hugging Face datasets."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import GREY, encoded
from PIL import Image

from ragvlm.corpus import Corpus
from ragvlm.errors import CorpusError, MissingExtraError
from ragvlm.images import open_image
from ragvlm.readers import find_reader
from ragvlm.readers.embedded import keep


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RAGVLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_equal_bytes_share_one_file(cache):
    first, again, other = keep(b"x", "a.png"), keep(b"x", "b.PNG"), keep(b"y", None)
    assert first == again != other
    assert (first.read_bytes(), first.suffix, other.suffix) == (b"x", ".png", "")
    first.write_bytes(b"cut off")
    assert keep(b"x", "a.png").read_bytes() == b"x"
    assert not list(cache.rglob("*.tmp"))


def test_a_cache_that_can_not_be_written(cache):
    cache.mkdir()
    (cache / "pictures").touch()
    with pytest.raises(CorpusError, match="RAGVLM_CACHE"):
        keep(b"x", None)


def test_parquet_with_pictures(tmp_path):
    rows = [
        {"image": {"bytes": encoded(GREY, "PNG"), "path": "one.png"}, "text": "first"},
        {"image": {"bytes": encoded(255 - GREY, "PNG"), "path": None}, "text": "second"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    corpus = Corpus.load(tmp_path / "t.parquet")
    assert corpus.records[0].id == "one.png"
    assert [r.caption for r in corpus] == ["first", "second"]
    assert open_image(corpus.image_path(corpus.records[1])).getpixel((0, 0))[0] == 255 - GREY[0, 0]
    assert Corpus.load(tmp_path / "t.parquet").fingerprint == corpus.fingerprint


def test_the_fingerprint_does_not_depend_on_the_cache(tmp_path, monkeypatch):
    rows = [{"image": {"bytes": encoded(GREY, "PNG"), "path": "one.png"}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    first = Corpus.load(tmp_path / "t.parquet")
    monkeypatch.setenv("RAGVLM_CACHE", str(tmp_path / "elsewhere"))
    second = Corpus.load(tmp_path / "t.parquet")
    assert first.records[0].image != second.records[0].image
    assert first.fingerprint == second.fingerprint


def saved(path, *, splits):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "caption": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["benign", "malignant"]),
            "patient_name": datasets.Value("string"),
        }
    )
    rows = {
        "image": [Image.fromarray(GREY), Image.fromarray(255 - GREY)],
        "caption": ["first", None],
        "label": [1, None],
        "patient_name": ["A. B.", "C. D."],
    }
    dataset = datasets.Dataset.from_dict(rows, features=features)
    (datasets.DatasetDict(dict.fromkeys(splits, dataset)) if splits else dataset).save_to_disk(str(path))
    return path


def test_a_saved_dataset(tmp_path):
    corpus = Corpus.load(saved(tmp_path / "set", splits=()))
    assert (corpus.reader, len(corpus), corpus.unlisted) == ("hf-dataset", 2, ())
    assert [(r.caption, r.labels, r.extra) for r in corpus] == [("first", {"label": "malignant"}, {}), (None, {}, {})]
    assert corpus.dropped_columns == ("patient_name",)
    assert open_image(corpus.image_path(corpus.records[0])).getpixel((3, 2))[0] == GREY[2, 3]


def test_a_saved_dataset_of_splits(tmp_path):
    corpus = Corpus.load(saved(tmp_path / "set", splits=("train", "test")), columns={"labels": "split"})
    assert [r.labels["split"] for r in corpus] == ["train", "train", "test", "test"]
    assert len({r.id for r in corpus}) == 4
    assert corpus.records[0].id.startswith("train/")
    assert corpus.records[0].image == corpus.records[2].image


def test_a_damaged_dataset(tmp_path):
    path = saved(tmp_path / "set", splits=())
    next(path.glob("*.arrow")).write_bytes(b"noise")
    with pytest.raises(CorpusError, match="is not a dataset that can be read"):
        Corpus.load(path)


def test_without_the_extra_the_command_is_given(tmp_path, monkeypatch):
    (tmp_path / "state.json").touch()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "ragvlm\[datasets\]"'):
        list(find_reader(tmp_path).read(tmp_path, {}))
