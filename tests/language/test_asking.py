"""What a question asks for, and what a caption answers to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragvlm.language.asking import YES_NO, choose, key_of, options_of, read_answer


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Is there a fracture?", YES_NO),
        ("any mass", YES_NO),
        ("Is this an AP or PA film?", ("AP", "PA")),
        ("Are the cells crowded or sparse?", ("crowded", "sparse")),
        ("What is shown?", ()),
        ("Where is the mass, left or right?", ()),
        ("Is it red or red?", ()),
        ("", ()),
    ],
)
def test_a_closed_question_names_its_options(question: str, options: tuple[str, ...]) -> None:
    assert options_of(question) == options


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        ("Yes", "yes"), ("No, it is not.", "no"), ("yes, on the left", "yes"), ("The answer is no", "no"),
        ("yes and no", "yes"), ("unclear", None), ("nodule", None), ("", None),
    ],
)  # fmt: skip
def test_a_free_answer_means_one_option_or_none(answer: str, chosen: str | None) -> None:
    assert choose(answer, YES_NO) == chosen


CAPTION = [
    "A blood smear with one white blood cell, 19 red blood cells and no platelets.",
    "The red cells are crowded.",
]


@pytest.mark.parametrize(
    ("question", "options", "answer"),
    [
        ("Is there a white blood cell?", YES_NO, "yes"),
        ("Are there any platelets?", YES_NO, "no"),
        ("Are there two white blood cells?", YES_NO, "no"),
        ("Are there more than ten red blood cells?", YES_NO, "yes"),
        ("Is there a parasite?", YES_NO, "no"),
        ("How many red blood cells are there?", (), "19"),
        ("How many platelets are there?", (), "0"),
        ("How many parasites are there?", (), None),
        ("Are the red cells crowded or sparse?", ("crowded", "sparse"), "crowded"),
        ("Is it a man or woman?", ("man", "woman"), None),
        ("What is it?", (), None),
    ],
)
def test_a_caption_answers(question: str, options: tuple[str, ...], answer: str | None) -> None:
    assert read_answer(question, CAPTION, options) == answer


@given(st.text(max_size=80))
def test_any_text_can_be_asked_and_answer(text: str) -> None:
    options = options_of(text)
    assert len(set(options)) in (0, 2)
    assert choose(text, YES_NO) in (None, *YES_NO)
    assert read_answer(text, [text], options or YES_NO) in (None, *(options or YES_NO))
    assert key_of(key_of(text)) == key_of(text)
