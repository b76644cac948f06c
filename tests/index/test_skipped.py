"""What can't be indexed is listed with its reason, or with ``strict`` refused as a whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import ColourEncoder, build, content, files, make_corpus, of, paint

from ragvlm.corpus import Corpus
from ragvlm.errors import CorpusError
from ragvlm.index import Index


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return make_corpus(tmp_path / "corpus")


def test_skipped_records_are_listed(corpus, tmp_path):
    (corpus.root / "p02.png").write_bytes(b"no picture")
    far = tmp_path / "Jane Roe" / "far.png"
    far.parent.mkdir()
    far.write_bytes(b"no picture")
    records = [*corpus.records, replace(corpus.records[0], id="far", image=str(far))]
    index = build(of(corpus.root, records), tmp_path / "i")
    text = (tmp_path / "i" / "skipped.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert [(row["item"], row["reason"]) for row in rows] == list(index.report.skipped)
    assert [row["item"] for row in rows] == ["p02.png", "far.png"]
    assert str(tmp_path) not in text
    assert "Roe" not in text
    assert index.manifest.skipped == index.info()["skipped"] == 2
    before = files(tmp_path / "i")
    build(of(corpus.root, records), tmp_path / "i")
    assert files(tmp_path / "i") == before
    paint(corpus.root / "p02.png", "blue")
    build(of(corpus.root, corpus.records), tmp_path / "i")
    assert not (tmp_path / "i" / "skipped.jsonl").exists()


def test_strict_leaves_no_folder(corpus, tmp_path):
    (corpus.root / "p06.png").write_bytes(b"no picture")  # two segments are committed before it
    with pytest.raises(CorpusError, match=r"^p06\.png: .*; strict: nothing was changed$"):
        build(of(corpus.root, corpus.records), tmp_path / "i", strict=True)
    assert not (tmp_path / "i").exists()


def test_strict_leaves_an_index_as_it_was(corpus, tmp_path):
    first = build(of(corpus.root, corpus.records[:4]), tmp_path / "i")
    was = content(first)
    (corpus.root / "p07.png").write_bytes(b"no picture")
    changed = [replace(corpus.records[0], caption="grey"), *corpus.records[1:]]
    with pytest.raises(CorpusError, match="strict: nothing was changed"):
        build(of(corpus.root, changed), tmp_path / "i", strict=True, batch_size=1, segment_rows=1)
    index = Index.open(tmp_path / "i")
    assert content(index) == was
    assert (index.fingerprint, index.manifest.complete) == (first.fingerprint, True)
    index.verify()
    assert len(list((tmp_path / "i" / "segments").iterdir())) == len(index.manifest.segments)
    encoder = ColourEncoder()
    assert build(of(corpus.root, changed), tmp_path / "i", encoder).report.skipped
    assert encoder.images == 4  # one was updated, three are new


def test_strict_without_a_skip_is_a_build_like_any_other(corpus, tmp_path):
    one = build(corpus, tmp_path / "i", strict=True)
    assert one.fingerprint == build(corpus, tmp_path / "j").fingerprint
