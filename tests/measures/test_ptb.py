"""Our tokens against those that Stanford's PTBTokenizer 3.4.1 gave once, by pycocoevalcap."""

from __future__ import annotations

import pytest
from coco import coco
from hypothesis import given
from hypothesis import strategies as st

from ragvlm.measures.ptb import ptb_tokens

# what the Java program wrote of these, without the marks that pycocoevalcap drops
SEEN = [
    ("The cells' nuclei (DAPI) aren't bright.", "the cells nuclei -lrb- dapi -rrb- are n't bright"),
    ("it's the cell's wall, can't cannot gonna", "it 's the cell 's wall ca n't can not gon na"),
    ("1,200 cells, 0.5µm beads at 40x, 3/4 of them", "1,200 cells 0.5 µm beads at 40x 3/4 of them"),
    ("10% or 5 % and/or H&E R&D", "10 % or 5 % and/or h&e r&d"),
    ("approx. 5 cells, e.g. red ones, i.e. C. elegans", "approx 5 cells e.g. red ones i.e. c. elegans"),
    ("(Fig. 2), no. 4, et al. 2015, vs. left, etc.", "-lrb- fig. 2 -rrb- no. 4 et al. 2015 vs. left etc."),
    ("there are no. The end of no", "there are no the end of no"),
    ("Dr. Smith of the U.S. said no. The end", "dr. smith of the u.s. said no the end"),
    ("Ki-67 p53 anti-CD3 well-defined 3-4 cells", "ki-67 p53 anti-cd3 well-defined 3-4 cells"),
    ("5–10 nm cells — many -- more - less", "5 10 nm cells many more less"),
    ("“curly” ‘quotes’ it’s cells’ ``tex''", "curly quotes it 's cells tex"),
    ("a=b x>3 ≥10 ±2 ~20 10^5 37°C 1:100 2x2 10×10", "a = b x > 3 ≥ 10 ± 2 ~ 20 10 ^ 5 37 ° c 1:100 2x2 10 × 10"),
    ("c!! d?! e;f g:h i,j k.l m/n q_r b…", "c !! d ?! e f g h i j k.l m/n q_r b"),
    ("0.5-1.5 mm 5 -10 0.5-fold v1.2 p<0.05 n=3", "0.5-1 .5 mm 5 -10 0.5-fold v1 .2 p < 0.05 n = 3"),
    ("CD3+ Ca2+ HbA1c T1-weighted L4/L5 cells/ml", "cd3 + ca2 + hba1c t1-weighted l4/l5 cells/ml"),
    ("stage B. The next", "stage b the next"),
    ("stage B. red", "stage b. red"),
    ("[see text] {x} ½-inch 5x5mm 100µm", "-lsb- see text -rsb- -lcb- x -rcb- 1/2 inch 5x5mm 100µm"),
    ("x² cm² H₂O Ω", "x ² cm ² h ₂ o ω"),
    ("http://a.b/c me@x.org <b>", "http://a.b/c me@x.org <b>"),
]
WORDS = ["The", "red", "cells", "12.5", "um", "apart,", "(DAPI)", "isn't", "e.g.", "C.", "elegans", "no.", "4"]


@pytest.mark.parametrize(("text", "tokens"), SEEN)
def test_tokens_of_the_java_program(text: str, tokens: str) -> None:
    assert list(ptb_tokens(text)) == tokens.split()


def test_all_tokens_of_the_frozen_captions() -> None:
    rows = coco()["items"]
    texts = [text for row in rows for text in (row["prediction"], *row["references"])]
    seen = [line.split() for row in rows for line in coco()["tokens"][row["id"]]]
    assert len(texts) > 250
    assert [list(ptb_tokens(text)) for text in texts] == seen


@given(st.text())
def test_any_text_has_tokens_without_space_and_dropped_marks(text: str) -> None:
    tokens = ptb_tokens(text)
    assert not any(any(c.isspace() for c in token) or token in set(".,;:!?'-\"`") - set("!?") for token in tokens)
    assert all(token for token in tokens)


@given(st.lists(st.sampled_from(WORDS)))
def test_space_between_words_does_not_matter(words: list[str]) -> None:
    assert ptb_tokens(" ".join(words)) == ptb_tokens(" \n ".join(words) + "\t")


def test_long_runs_of_one_character_are_quick() -> None:
    for character in "a.-'<@&/0,!":
        ptb_tokens(character * 20_000)
