"""Search over plain colours, where every answer can be checked by eye."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import COLOURS, ColourEncoder, build, make_corpus, of

from ragvlm.errors import ImageError, InputError
from ragvlm.index import Index
from ragvlm.types import Query, Record


class TwoSpaces(ColourEncoder):
    """The same towers, said to be incomparable."""

    name = "two-spaces"
    shared_space = False


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return build(make_corpus(tmp_path / "c", 12), tmp_path / "i", calibrate=True)


@pytest.fixture
def apart(tmp_path: Path) -> Index:
    return build(make_corpus(tmp_path / "c", 12), tmp_path / "i", TwoSpaces(), calibrate=True)


def _square(colour: str) -> Image.Image:
    return Image.new("RGB", (12, 12), COLOURS[colour])


def _ids(hits: list[Any]) -> list[str]:
    return [hit.record.id for hit in hits]


def test_a_picture_finds_its_colour(index: Index) -> None:
    hits = index.search(_square("green"), k=3)
    assert {hit.record.labels["colour"] for hit in hits} == {"green"}
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_words_find_captions_and_lists_give_lists(index: Index) -> None:
    many = index.search(["a red square", "a blue square"], k=2)
    assert [[h.record.labels["colour"] for h in hits] for hits in many] == [["red"] * 2, ["blue"] * 2]
    assert index.search([], k=2) == []


def test_paths_arrays_and_queries_are_the_same_picture(index: Index, tmp_path: Path) -> None:
    _square("blue").save(tmp_path / "q.png")
    picture = index.search(_square("blue"), k=4)
    for query in (str(tmp_path / "q.png"), tmp_path / "q.png", np.asarray(_square("blue"))):
        assert _ids(index.search(query, k=4)) == _ids(picture)
    assert _ids(index.search(Query(id="q", image=_square("blue")), k=4)) == _ids(picture)


def test_rankings_of_parts_merge_into_that_of_the_whole(index: Index, tmp_path: Path) -> None:
    records = make_corpus(tmp_path / "c", 12).records
    parts = [build(of(tmp_path / "c", records[i::3]), tmp_path / f"part-{i}") for i in range(3)]
    found = heapq.merge(*(part.search(_square("red"), k=5) for part in parts), key=lambda hit: -hit.score)
    merged = [(hit.record.id, hit.score) for hit, _ in zip(found, range(5), strict=False)]
    assert merged == [(hit.record.id, hit.score) for hit in index.search(_square("red"), k=5)]


def test_k_above_the_corpus_returns_the_corpus(index: Index) -> None:
    assert len(index.search(_square("red"), k=1000)) == 12


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        ({"queries": "red", "k": 0}, InputError, "k is 0"),
        ({"queries": "  "}, InputError, "empty"),
        ({"queries": "red", "mode": "psychic"}, InputError, "choose one of auto"),
        ({"queries": "red", "fusion": "magic"}, InputError, "choose one of rrf"),
        ({"queries": "red", "diversity": 1.0}, InputError, "diversity"),
        ({"queries": "missing.png"}, ImageError, "missing.png"),
    ],
)
def test_unusable_calls_are_one_clear_line(index: Index, call: dict[str, Any], error: type, says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        index.search(**call)
    assert "\n" not in str(caught.value)


def test_one_space_serves_every_mode(index: Index) -> None:
    for mode in ("image", "text", "fused"):
        assert index.search("red", k=1, mode=mode)[0].record.labels["colour"] == "red"
        assert index.search(_square("red"), k=1, mode=mode)[0].record.labels["colour"] == "red"


def test_two_spaces_refuse_what_can_not_be_compared_and_fuse_by_feedback(apart: Index) -> None:
    with pytest.raises(InputError, match="can't compare a picture with captions"):
        apart.search(_square("red"), mode="text")
    with pytest.raises(InputError, match="can't compare words with pictures"):
        apart.search("red", mode="image")
    for query in ("red", _square("red"), Query(id="both", image=_square("red"), text="red")):
        for fusion in ("rrf", "score"):
            hits = apart.search(query, k=3, mode="fused", fusion=fusion)
            assert {hit.record.labels["colour"] for hit in hits} == {"red"}


def test_the_own_subject_is_left_out_before_the_cut(index: Index) -> None:
    everything = index.search(_square("red"), k=12)
    assert len(index.search(_square("red"), k=12, subject_id="s0")) == 10
    hits = index.search(_square("red"), k=4, subject_id="s0")
    assert len(hits) == 4
    assert not {"a00", "a01"} & set(_ids(hits))
    assert _ids(index.search(_square("red"), k=12, subject_id="s0", exclude_subject=False)) == _ids(everything)


def test_subjects_are_told_apart_by_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = build(make_corpus(tmp_path / "c", 12), tmp_path / "i", hash_subject=True)
    assert "s0" not in {record.subject_id for record in index.records}
    assert len(index.search(_square("red"), k=12, subject_id="s0")) == 10
    monkeypatch.setenv("RAGVLM_SUBJECT_KEY", "some other key than before")
    with pytest.raises(InputError, match="another key"):
        index.search(_square("red"), k=12, subject_id="s0")


def test_duplicates_are_reported_or_excluded(index: Index, tmp_path: Path) -> None:
    own = Image.open(index.image_path(index.records[4]) or "").convert("RGB")
    assert {h.record.id: h.duplicate for h in index.search(own, k=3)}["a04"] == "exact"
    assert "a04" not in _ids(index.search(own, k=12, duplicates="exclude"))
    assert all(hit.duplicate is None for hit in index.search(own, k=12, duplicates="off"))


def test_equal_pixels_within_an_index_are_found(tmp_path: Path) -> None:
    whole = make_corpus(tmp_path / "c", 4)
    twice = [*whole.records, Record(id="copy", image=whole.records[1].image)]
    index = build(of(whole.root, twice), tmp_path / "i")
    assert index.exact_duplicates() == [("a01", "copy")]
    assert index.info()["exact_duplicates"] == [["a01", "copy"]]


def test_diversity_brings_another_colour_to_the_top(index: Index) -> None:
    plain = [h.record.labels["colour"] for h in index.search(_square("red"), k=3)]
    varied = [h.record.labels["colour"] for h in index.search(_square("red"), k=3, diversity=0.7)]
    assert plain == ["red"] * 3
    assert len(set(varied)) > 1


def test_records_without_text_can_be_left_out(tmp_path: Path) -> None:
    whole = make_corpus(tmp_path / "c", 4)
    bare = of(whole.root, [Record(id="bare", image="p00.png"), *whole.records[1:]])
    index = build(bare, tmp_path / "i")
    assert "bare" in _ids(index.search(_square("red"), k=4))
    assert "bare" not in _ids(index.search(_square("red"), k=4, with_text=True))


def test_an_index_without_captions_says_so(tmp_path: Path) -> None:
    whole = make_corpus(tmp_path / "c", 4)
    index = build(of(whole.root, [Record(id=r.id, image=r.image) for r in whole.records]), tmp_path / "i")
    with pytest.raises(InputError, match="has no captions"):
        index.search("red")
