"""What an index keeps of its encoder: enough to reopen with the same vectors, never a yes to foreign code."""

from __future__ import annotations

import json
from pathlib import Path

import checkpoints
import pytest
import tiny

from ragvlm.errors import EncoderMismatchError, InputError, StoreError
from ragvlm.index import Index
from ragvlm.index.manifest import seal


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"transformers:{checkpoints.clip(tmp_path_factory.mktemp('clip'))}"


def test_it_reopens_with_the_number_type_that_built_it(clip: str, tmp_path: Path) -> None:
    corpus = tiny.make_corpus(tmp_path / "corpus")
    built = Index.build(corpus, tmp_path / "index", encoder=clip, encoder_options={"dtype": "bfloat16"})
    fingerprint = built.encoder.fingerprint
    opened = Index.open(tmp_path / "index", encoder_options={"device": "cpu", "batch_size": 3})
    assert opened.encoder.fingerprint == fingerprint
    assert opened.info()["encoder_options"]["dtype"] == "bfloat16"
    assert opened.search("red", k=3)
    with pytest.raises(EncoderMismatchError):
        _ = Index.open(tmp_path / "index", encoder_options={"dtype": "float32"}).encoder


def test_it_is_brought_up_to_date_by_its_own_encoder(clip: str, tmp_path: Path) -> None:
    corpus = tiny.make_corpus(tmp_path / "corpus")
    Index.build(corpus, tmp_path / "index", encoder=clip, encoder_options={"dtype": "bfloat16"})
    again = Index.build(corpus, tmp_path / "index")
    assert again.report.unchanged == len(again)
    assert again.manifest.encoder == clip


def test_an_option_that_the_encoder_does_not_have_is_refused(tmp_path: Path) -> None:
    corpus = tiny.make_corpus(tmp_path / "corpus")
    with pytest.raises(InputError, match="encoder 'embedded' has no option 'device'"):
        Index.build(corpus, tmp_path / "index", encoder_options={"device": "cpu"})
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    "options", [{"trust_remote_code": True}, {"model": "some/other"}, {"dtype": ["float32"]}, ["dtype"], None]
)
def test_options_that_no_index_writes_are_refused(options: object, tmp_path: Path) -> None:
    index = tiny.build(tiny.make_corpus(tmp_path / "corpus"), tmp_path / "index")
    path = index.path / "manifest.json"
    table = json.loads(path.read_text())
    table["encoder"]["options"] = options
    path.write_bytes(seal(table))
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        Index.open(index.path)
