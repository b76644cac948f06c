"""PaliGemma's places: hand-made answers, malformed ones, and anything at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragvlm.regions.loctokens import BINS, Said, read_answer

SIZE = (1023, 2046)  # a step of the tokens is one pixel across and two down
BOX = "<loc0100><loc0200><loc0300><loc0400>"
CODES = "".join(f"<seg{n:03d}>" for n in range(16))
PLACED = (200.0, 200.0, 400.0, 600.0)


def test_two_boxes_with_their_words() -> None:
    found = read_answer(f"{BOX} white blood cell ; <loc0000><loc0000><loc1023><loc1023> cell", SIZE)
    assert found.said == (Said(PLACED, "white blood cell"), Said((0, 0, 1023, 2046), "cell"))
    assert found.malformed == ()


def test_a_mask_has_sixteen_codes() -> None:
    assert read_answer(f"{BOX}{CODES} nucleus", SIZE).said == (Said(PLACED, "nucleus", tuple(range(16))),)


@pytest.mark.parametrize("codes", [CODES[:-8], CODES + "<seg001>", CODES.replace("<seg003>", "<seg128>")])
def test_a_mask_of_other_codes_leaves_the_box(codes: str) -> None:
    assert read_answer(f"{BOX}{codes} nucleus", SIZE).said == (Said(PLACED, "nucleus"),)


@pytest.mark.parametrize(
    "text",
    [
        f"{BOX} cat {BOX} cat",  # no separator
        f"{BOX}{CODES}{BOX}",
        f"{BOX}{BOX}",
        f"{BOX};;{BOX} cat;",
    ],
)
def test_things_run_together_are_told_apart(text: str) -> None:
    assert [said.box for said in read_answer(text, SIZE).said] == [PLACED, PLACED]


@pytest.mark.parametrize(
    ("text", "malformed"),
    [
        ("<loc0100><loc0200><loc0300> cat", 1),  # three places
        ("<loc0300><loc0200><loc0100><loc0400> cat", 1),  # bottom above top
        ("<loc0100><loc0200><loc0100><loc0400> cat", 1),  # no area
        ("<loc0100><loc0200><loc0300><loc1024> cat", 1),  # there is no such token
        (f"{CODES} cat", 1),  # a mask without a box
        (f"<loc0100> ; {BOX} cat", 1),
        ("no cat", 0),
        ("", 0),
        ("<loc100><seg1>", 0),  # words that look like tokens
    ],
)
def test_what_cannot_be_read_is_told(text: str, malformed: int) -> None:
    found = read_answer(text, SIZE)
    assert len(found.malformed) == malformed
    assert all(said.box == PLACED for said in found.said)


PIECES = st.sampled_from(["<loc", "<seg", ">", ";", " cat", "0100", "999", "\n", *BOX.replace(">", "> ").split()])


@given(st.lists(PIECES | st.text(max_size=4), max_size=40).map("".join))
def test_no_text_raises_and_boxes_lie_in_the_picture(text: str) -> None:
    for said in read_answer(text, SIZE).said:
        left, top, right, bottom = said.box
        assert 0 <= left < right <= SIZE[0]
        assert 0 <= top < bottom <= SIZE[1]
        assert len(said.codes) in (0, 16)


ENDS = st.tuples(*[st.integers(0, BINS - 1)] * 2).filter(lambda pair: pair[0] < pair[1])


@given(st.lists(st.tuples(ENDS, ENDS, st.lists(st.integers(0, 127), min_size=16, max_size=16)), max_size=5))
def test_what_is_written_is_read_again(things: list[tuple[tuple[int, int], tuple[int, int], list[int]]]) -> None:
    text = " ; ".join(
        "".join(f"<loc{n:04d}>" for n in (top, left, bottom, right)) + "".join(f"<seg{n:03d}>" for n in codes) + " cell"
        for (top, bottom), (left, right), codes in things
    )
    found = read_answer(text, (1023, 1023))
    assert [said.box for said in found.said] == [(x0, y0, x1, y1) for (y0, y1), (x0, x1), _ in things]
    assert [list(said.codes) for said in found.said] == [codes for *_, codes in things]
