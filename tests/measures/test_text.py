"""Measures of texts by hand, against the libraries' own corpus scores, and against pycocoevalcap's frozen ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from coco import coco, coco_items, items
from hypothesis import given, settings
from hypothesis import strategies as st

from ragvlm.errors import InputError
from ragvlm.measures import Measure, measure, measures, statistics
from ragvlm.measures.base import TextMeasure
from ragvlm.measures.ptb import ptb_tokens
from ragvlm.measures.text import common_length

WORDS = st.lists(st.sampled_from(list("abcd")), max_size=12)
TEXTS = [m.name for m in measures("describe") if isinstance(m, TextMeasure)]


def value(name: str, *pairs: tuple[str, tuple[str, ...] | str]) -> float:
    return statistics(measure(name), items(*pairs)).value


def frozen(name: str) -> tuple[float, np.ndarray]:
    return coco()["corpus"][name], np.array(coco()["per_item"][name])


def test_bleu_by_hand() -> None:
    # 5 of 6 words and 3 of 5 pairs of words occur in the reference; equal lengths
    assert value("BLEU-2", ("the cat is on the mat", "the cat sat on the mat")) == pytest.approx(
        math.sqrt(5 / 6 * 3 / 5)
    )
    # the prediction is half as long as the reference: exp(1 - 4 / 2)
    assert value("BLEU-1", ("two cells", "two cells and worms")) == pytest.approx(math.exp(-1))
    # of two references as close in length the shorter one counts: no penalty
    assert value("BLEU-1", ("a b c d", ("a b c d e", "a b c"))) == pytest.approx(1)
    # a word counts as often as one reference has it
    assert value("BLEU-1", ("the the the the", ("the cat sat", "the the mat now"))) == pytest.approx(2 / 4)


def test_corpus_bleu_is_of_sums_and_not_the_mean_of_scores() -> None:
    found = statistics(measure("BLEU-1"), items(("a", "a"), ("b c d", "x y z")))
    assert found.value == pytest.approx(1 / 4)
    assert found.scores is not None
    assert found.scores.tolist() == [1, 0]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bleu_agrees_with_pycocoevalcap(order: int) -> None:
    found = statistics(measure(f"BLEU-{order}"), coco_items())
    corpus, each = frozen(f"BLEU-{order}")
    assert found.value == pytest.approx(corpus, abs=1e-6)
    # where no n-gram matches pycocoevalcap puts 1e-15 for 0, whose fourth root is 2e-4; and for a text of fewer words
    # than n 1e-15 of 1e-9 n-grams
    assert found.scores == pytest.approx(each, abs=2e-3)
    assert np.median(np.abs(found.scores - each)) < 1e-6


def test_rouge_by_hand() -> None:
    # 2 of 3 words, 2 of 2
    assert value("ROUGE-L", ("red blood cells", "red cells")) == pytest.approx(0.8)
    assert value("ROUGE-L (beta 1.2)", ("red blood cells", "red cells")) == pytest.approx(
        2.44 * 2 / 3 / (1 + 1.44 * 2 / 3)
    )
    assert value("ROUGE-L", ("red blood cells", ("worms", "red blood cells"))) == 1
    assert value("ROUGE-L", ("", "red cells")) == 0
    # one reference has the best precision (3 of 3), another the best recall (1 of 1): only COCO's takes both
    pair = ("red blood cells", ("red blood cells of one more kind", "cells"))
    assert value("ROUGE-L (beta 1.2)", pair) == pytest.approx(1)
    assert value("ROUGE-L", pair) == pytest.approx(2 * 3 / 7 / (1 + 3 / 7))


def test_rouge_with_beta_agrees_with_pycocoevalcap() -> None:
    found = statistics(measure("ROUGE-L (beta 1.2)"), coco_items())
    corpus, each = frozen("ROUGE_L")
    assert found.value == pytest.approx(corpus, abs=1e-6)
    assert found.scores == pytest.approx(each, abs=1e-6)


def test_rouge_agrees_with_rouge_score() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    wanted = [max(scorer.score(r, i.prediction)["rougeL"].fmeasure for r in i.references) for i in coco_items()]
    assert statistics(measure("ROUGE-L"), coco_items()).scores == pytest.approx(wanted, abs=1e-12)


@given(WORDS, WORDS)
def test_common_length_is_rouge_scores(a: list[str], b: list[str]) -> None:
    from rouge_score.rouge_scorer import _lcs_table

    assert common_length(a, b) == _lcs_table(a, b)[-1][-1]


def test_chrf_by_hand() -> None:
    # letters: 2 of 2 and 2 of 3; pairs: 1 of 1 and 1 of 2; no triple on one side. F2 of mean precision and recall
    recall = (2 / 3 + 1 / 2) / 2
    assert value("chrF", ("ab", "abc")) == pytest.approx(5 * recall / (4 + recall))


def test_bleu_and_chrf_agree_with_sacrebleus_corpus_scores_on_any_resample() -> None:
    from sacrebleu import corpus_bleu, corpus_chrf

    rows = coco_items()
    width = max(len(row.references) for row in rows)
    found = {name: statistics(measure(name), rows) for name in ("BLEU-4", "chrF")}
    for seed in range(3):
        chosen = np.random.default_rng(seed).integers(len(rows), size=len(rows))
        drawn = [rows[i] for i in chosen]
        streams = [[r.references[k] if k < len(r.references) else None for r in drawn] for k in range(width)]
        texts = [r.prediction for r in drawn]
        assert found["chrF"].on(chosen) == pytest.approx(corpus_chrf(texts, streams).score / 100, abs=1e-9)
        plain = [" ".join(ptb_tokens(text)) for text in texts]
        refs = [[text and " ".join(ptb_tokens(text)) for text in stream] for stream in streams]
        score = corpus_bleu(plain, refs, smooth_method="none", force=True, tokenize="none").score
        assert found["BLEU-4"].on(chosen) == pytest.approx(score / 100, abs=1e-9)


def test_meteor_by_hand() -> None:
    # all six words in one piece: 1 - 0.5 (1 / 6) ** 3
    assert value("METEOR (exact, stem)", ("six red cells on a slide", "six red cells on a slide")) == pytest.approx(
        1 - 0.5 / 216
    )
    # one word, by its stem: 1 - 0.5 (1 / 1) ** 3
    assert value("METEOR (exact, stem)", ("cell", "cells")) == pytest.approx(0.5)
    # precision 1 / 2, recall 1 / 1: 10 P R / (R + 9 P), times 0.5
    assert value("METEOR (exact, stem)", ("red cells", "cells")) == pytest.approx(0.5 * 10 * 0.5 / (1 + 9 * 0.5))
    assert value("METEOR (exact, stem)", ("erythrocytes", "cells")) == 0


def test_meteor_is_not_the_java_programs() -> None:
    # METEOR 1.5 has alpha 0.85, beta 0.2, gamma 0.6, weighs function words less and matches synonyms and paraphrases:
    # a match in some pieces loses a third of its score there, next to nothing here
    found = statistics(measure("METEOR (exact, stem)"), coco_items())
    corpus, each = frozen("METEOR")
    assert corpus == pytest.approx(0.452, abs=1e-3)
    assert found.value == pytest.approx(0.693, abs=1e-3)
    assert np.corrcoef(found.scores, each)[0, 1] == pytest.approx(0.83, abs=0.01)


def test_cider_by_hand() -> None:
    # every n-gram occurs in one of two items and weighs log 2; cosines 1, 1, 0, 0, times 10
    assert value("CIDEr-D", ("red cells", "red cells"), ("blue worms", "blue worms")) == pytest.approx(5)
    # "red" twice, clipped to once: 1 / (2 sqrt 2), no pair in common; the other item scores 5
    expected = (10 / 4 / (2 * math.sqrt(2)) + 5) / 2
    assert value("CIDEr-D", ("red red", "red cells"), ("blue worms", "blue worms")) == pytest.approx(expected)
    # one word in common, of one and of two: 1 / sqrt 2, a word shorter
    expected = (10 / 4 / math.sqrt(2) * math.exp(-1 / 72) + 0) / 2
    assert value("CIDEr-D", ("red", "red cells"), ("green", "blue worms")) == pytest.approx(expected)
    # what all references have weighs nothing
    assert value("CIDEr-D", ("cells", "cells"), ("cells", "cells")) == 0
    # of one item all n-grams do
    assert math.isnan(value("CIDEr-D", ("red cells", "red cells")))


def test_cider_agrees_with_pycocoevalcap() -> None:
    found = statistics(measure("CIDEr-D"), coco_items())
    corpus, each = frozen("CIDEr-D")
    assert found.value == pytest.approx(corpus, abs=1e-6)
    assert found.scores == pytest.approx(each, abs=1e-6)


@pytest.mark.parametrize("name", TEXTS)
def test_abstentions_count_as_empty_texts(name: str) -> None:
    both = items(("six red cells", "six red cells"), ("", "two blue worms"), labels={"cells": 6})
    found = statistics(measure(name), both)
    assert found.rows.shape[0] == 2
    assert found.scores is not None
    assert found.scores[1] == 0 or math.isnan(found.scores[1])
    assert not found.value > 1 or name == "CIDEr-D"


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_to_score_is_no_score(name: str) -> None:
    found = statistics(measure(name), [])
    assert math.isnan(found.value)
    assert found.rows.shape[0] == 0


@pytest.mark.parametrize("name", TEXTS)
def test_wrong_items_are_named(name: str) -> None:
    with pytest.raises(InputError, match="'0': no reference text"):
        statistics(measure(name), items(("a", ())))


@pytest.mark.parametrize("name", TEXTS)
def test_progress_hears_of_every_item(name: str) -> None:
    heard: list[tuple[int, int]] = []
    statistics(measure(name), items(("a", "a"), ("b", "c")), lambda done, n: heard.append((done, n)))
    assert heard == [(1, 2), (2, 2)]


@pytest.mark.parametrize("name", TEXTS)
def test_additive_measures_depend_on_sums_alone(name: str) -> None:
    found = statistics(measure(name), coco_items())
    if found.additive:
        rows = found.rows[found.defined]
        halves = np.array([rows[::2].sum(axis=0), rows[1::2].sum(axis=0)])
        assert found.reduce(halves) == pytest.approx(found.value, nan_ok=True)
    else:
        assert found.mean


@pytest.mark.parametrize("name", ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "chrF"])
@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=18, max_size=18), st.data())
def test_many_sums_at_once_are_what_the_library_says_of_each(name: str, numbers: list[int], data: Any) -> None:
    found = statistics(measure(name), items(("a cat sat", ("a cat",))))
    assert found.many is not None
    # matches are never more than either side has
    if name == "chrF":
        sums = [n for mine, theirs in zip(numbers[::2], numbers[1::2], strict=True)
                for n in (mine, theirs, data.draw(st.integers(0, min(mine, theirs))))][:18]  # fmt: skip
    else:
        total = sorted(numbers[2:6], reverse=True)
        sums = [*numbers[:2], *(data.draw(st.integers(0, n)) for n in total), *total]
    rows = np.array([sums, [2 * n for n in sums], np.zeros(len(sums))], dtype=np.float64)
    assert found.many(rows) == pytest.approx([found.reduce(row[None]) for row in rows], abs=1e-12)


def test_vqa_may_use_measures_of_texts() -> None:
    from ragvlm.measures.text import Bleu

    made = Bleu(task="vqa", order=1)
    assert isinstance(made, Measure)
    assert (made.name, made.task) == ("BLEU-1", "vqa")
