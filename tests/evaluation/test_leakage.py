"""Leaks are found through what people do to pictures, and different pictures are left alone."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from ragvlm.errors import InputError
from ragvlm.evaluation.copies import FORMS, SAME, find_copies, square
from ragvlm.evaluation.leakage import Leak, find_leaks
from ragvlm.images import open_image
from ragvlm.index import Index
from ragvlm.types import Query, Record

Alter = Callable[[Image.Image], Image.Image]


@cache
def drawn(seed: int) -> Image.Image:
    """Smooth blobs of several sizes: as different from other seeds as two fields of view are."""
    rng = np.random.default_rng(seed)
    layers = [Image.fromarray(rng.integers(0, 256, (n, n), np.uint8)).resize((160, 120), 3) for n in (4, 9, 20, 45)]
    return Image.fromarray(np.mean([np.asarray(layer) for layer in layers], axis=0).astype(np.uint8)).convert("RGB")


def cut(left: float, top: float, right: float, bottom: float) -> Alter:
    def alter(image: Image.Image) -> Image.Image:
        w, h = image.size
        return image.crop((round(left * w), round(top * h), round((1 - right) * w), round((1 - bottom) * h)))

    return alter


def jpeg(quality: int) -> Alter:
    def alter(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return Image.open(stream).convert("RGB")

    return alter


def brighter(factor: float) -> Alter:
    return lambda image: image.point(lambda value: min(255, int(value * factor)))


ALTERATIONS: dict[str, Alter] = {
    **{way.name.lower(): (lambda image, way=way: image.transpose(way)) for way in Image.Transpose},
    "5 % cut off each side": cut(0.05, 0.05, 0.05, 0.05),
    "10 % cut off each side": cut(0.1, 0.1, 0.1, 0.1),
    "a corner": cut(0.15, 0.1, 0, 0),
    "a fifth cut off one side": cut(0, 0, 0.2, 0),
    "jpeg": jpeg(30),
    "brighter": brighter(1.3),
    "darker": brighter(0.7),
    "inverted": ImageOps.invert,
    "half the size": lambda image: image.reduce(2),
    "another ratio of sides": lambda image: image.resize((100, 100)),
    "turned, cut, jpeg, darker": lambda i: jpeg(50)(brighter(0.8)(cut(0.05, 0.05, 0.05, 0.1)(i).transpose(4))),
}


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [drawn(seed) for seed in range(12)]


@pytest.mark.parametrize("name", ALTERATIONS)
def test_altered_copies_are_found_in_both_directions(name: str, pictures: list[Image.Image]) -> None:
    squares = [square(picture) for picture in pictures]
    altered = [square(ALTERATIONS[name](picture)) for picture in pictures[:4]]
    assert [(copy.a, copy.b) for copy in find_copies(altered, squares)] == [(i, i) for i in range(4)]
    found = find_copies(squares, altered)
    assert [(copy.a, copy.b) for copy in found] == [(i, i) for i in range(4)]
    assert all(SAME <= copy.similarity <= 1 for copy in found)


def test_what_was_done_is_told(pictures: list[Image.Image]) -> None:
    turned = cut(0.1, 0.05, 0.0, 0.15)(pictures[3]).transpose(Image.Transpose.ROTATE_270)
    (copy,) = find_copies([square(turned)], [square(picture) for picture in pictures])
    assert (copy.b, copy.contained, FORMS.index(copy.form)) == (3, "a", 1)  # turned back by 90 it fits
    assert copy.window == pytest.approx((0.05, 0.85, 0.1, 1.0), abs=0.015)
    (copy,) = find_copies([square(pictures[3])], [square(turned)])
    assert (copy.contained, copy.form) == ("b", "turned 90")


def test_fields_of_view_that_overlap_are_found(pictures: list[Image.Image]) -> None:
    slide = pictures[0].resize((320, 240))
    one, two = slide.crop((0, 0, 200, 160)), slide.crop((30, 24, 230, 184))  # moved by 15 % of both sides
    (copy,) = find_copies([square(one)], [square(other) for other in (pictures[1], two, pictures[2])])
    assert (copy.b, copy.form, copy.whole) == (1, "turned 0", False)
    # the middle, 0.2 to 0.8 of both sides, lies 0.15 further on in the one and further back in the other
    span = (0.35, 0.95) if copy.contained == "b" else (0.05, 0.65)
    assert copy.window == pytest.approx((*span, *span), abs=0.015)


def test_different_and_empty_pictures_are_no_copies(pictures: list[Image.Image]) -> None:
    flat = [Image.new("RGB", (40, 30), colour) for colour in ("black", "white", "grey", "red")]
    squares = [square(picture) for picture in pictures + flat]
    assert find_copies(squares, squares, eligible=lambda a, b: a != b) == []
    assert find_copies([], squares) == find_copies(squares, []) == []


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 11),
    st.sampled_from(list(Image.Transpose)),
    st.tuples(*[st.floats(0, 0.18)] * 4),
    st.floats(0.75, 1.2),
)
def test_any_cut_turned_and_dimmed_copy_is_found(
    which: int, way: Image.Transpose, edges: tuple[float, float, float, float], light: float
) -> None:
    pictures = [drawn(seed) for seed in range(12)]
    altered = brighter(light)(cut(*edges)(pictures[which])).transpose(way)
    found = find_copies([square(altered)], [square(picture) for picture in pictures])
    assert [copy.b for copy in found] == [which]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Six pictures a0 ... a5 of the subjects s0, s0, s1, s1, s2, s2; a6 has a caption alone."""
    records = [Record(id=f"a{i}", image=f"{i}.png", caption=f"number {i}", subject_id=f"s{i // 2}") for i in range(6)]
    for i in range(6):
        drawn(i).save(tmp_path / f"{i}.png")
    return tiny.build(tiny.of(tmp_path, [*records, Record(id="a6", caption="no picture")]), tmp_path / "index")


def test_leaks_are_listed_with_their_kind(index: Index) -> None:
    calls: list[tuple[int, int]] = []
    queries = [
        Query("other", drawn(99), subject_id="s9"),
        Query("same subject", drawn(98), subject_id="s1"),
        Query("equal", drawn(5)),
        Query("altered", cut(0.05, 0.1, 0.1, 0)(drawn(0)).transpose(Image.Transpose.ROTATE_90)),
        Query("words", text="number 3", subject_id="s2"),
    ]
    found = find_leaks(iter(queries), index, progress=lambda done, total: calls.append((done, total)))
    assert [(leak.id, leak.reference_id, leak.kind) for leak in found.leaks] == [
        ("same subject", "a2", "subject"),
        ("same subject", "a3", "subject"),
        ("equal", "a5", "exact"),
        ("altered", "a0", "near"),
        ("words", "a4", "subject"),
        ("words", "a5", "subject"),
    ]
    how = found.leaks[3].how
    assert how.startswith("the query covers 85 % x 90 % of the reference, turned 270; similarity 0.9")
    assert found.references["same subject"] == {"a2", "a3"}
    assert found.mark == "LEAKAGE: 4 of 5 queries share a subject or a picture with the index, and were kept"
    assert found.to_dict()["leaking"] == 4
    assert (found.queries, found.unread) == (5, ())
    assert calls[0] == (1, 6)
    assert calls[-1] == (10, 10)  # six pictures of the index, four of queries


def test_what_is_hidden_anyway_is_no_leak(index: Index) -> None:
    queries = [Query("equal", drawn(5), subject_id="s2"), Query("altered", jpeg(60)(drawn(0)))]
    found = find_leaks(queries, index, eligible=lambda name, row: not (name == "equal" and row in (4, 5)))
    assert [leak.id for leak in found.leaks] == ["altered"]
    nothing = find_leaks(queries, index, eligible=lambda name, row: False)
    assert (nothing.leaks, nothing.mark, nothing.ids) == ((), "", ())


def test_pictures_that_are_gone_are_compared_by_hash(index: Index, tmp_path: Path) -> None:
    (tmp_path / "0.png").unlink()
    (tmp_path / "5.png").write_bytes(b"no picture")
    mirrored = Query("mirrored", drawn(0).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    found = find_leaks([mirrored, Query("equal", drawn(5)), Query("altered", ImageOps.invert(drawn(1)))], index)
    assert found.unread == ("a0", "a5")
    assert found.leaks[:2] == (Leak("mirrored", "a0", "near", "perceptual hash"), Leak("equal", "a5", "exact"))
    assert (found.leaks[2].reference_id, found.leaks[2].kind) == ("a1", "near")


def test_subjects_under_a_key_that_is_not_at_hand_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(0).save(tmp_path / "0.png")
    corpus = tiny.of(tmp_path, [Record(id="a", image="0.png", caption="one", subject_id="s")])
    hashed = tiny.build(corpus, tmp_path / "index", hash_subject=True)
    assert [leak.kind for leak in find_leaks([Query("q", drawn(9), subject_id="s")], hashed).leaks] == ["subject"]
    monkeypatch.setenv("RAGVLM_SUBJECT_KEY", "a key of somebody else")
    with pytest.raises(InputError, match="another key"):
        find_leaks([Query("q", subject_id="s")], hashed)


def test_real_smears_are_told_apart_and_their_altered_copies_found(shared_data: Path) -> None:
    files = sorted((shared_data / "blood-cells" / "images").glob("*.jpg"))[40:70]
    pictures = [open_image(file) for file in files]
    squares = [square(picture) for picture in pictures]
    assert find_copies(squares, squares, eligible=lambda a, b: a < b) == []
    for alter in (ALTERATIONS["10 % cut off each side"], ALTERATIONS["turned, cut, jpeg, darker"]):
        found = find_copies([square(alter(picture)) for picture in pictures[:10]], squares)
        assert [(copy.a, copy.b) for copy in found] == [(i, i) for i in range(10)]
    # two fields of view of the same white cell, looked at
    again = [square(open_image(files[0].with_name(f"BloodImage_00{number}.jpg"))) for number in (227, 260)]
    assert [copy.whole for copy in find_copies(again[:1], [*squares, again[1]])] == [False]
