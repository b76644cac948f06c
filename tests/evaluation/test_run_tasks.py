"""Questions, classes, rankings: each task with its baselines, on squares that can be checked by eye."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import ir_measures
import numpy as np
import pytest
from evaltools import kept, rows_of, squares, suite_file
from tiny import COLOURS, ColourEncoder

import ragvlm as rv
from ragvlm.errors import InputError
from ragvlm.types import Float32, Prompt


def run(suite: Path, systems: Any = (), out: str = "run", **options: Any) -> rv.Results:
    options = {"encoder": ColourEncoder(), "resamples": 50} | options
    with patch("ragvlm.evaluation.run.write_report"):  # the page takes longer than all the rest
        return rv.evaluate(systems, suite=suite, out=suite.parent / out, **options)


def said(results: rv.Results, system: str) -> dict[str, Any]:
    rows = rows_of(results.folder / "predictions.jsonl")
    return {row["id"]: row["prediction"] for row in rows if row["system"] == system}


def value(results: rv.Results, system: str, measure: str) -> float:
    return float(results.metrics["systems"][system][measure]["value"])


def _questions(i: int) -> list[dict[str, str]]:
    colour = list(COLOURS)[i % 4]
    return [
        {"qid": f"{i}c", "question": "which colour", "answer": colour, "question_type": "COLOR", "answer_type": "OPEN"},
        {
            "qid": f"{i}r",
            "question": "is it red ?",
            "answer": "Yes" if colour == "red" else "no",
            "question_type": "RED",
            "answer_type": "CLOSED",
        },
    ]


@pytest.fixture
def vqa(tmp_path: Path) -> Path:
    squares(tmp_path / "corpus", questions=[_questions(i) for i in range(16)])
    return suite_file(tmp_path, "vqa", top='measures = ["Exact Match"]')


class Looks:
    """Answers by the mean colour of the picture alone, in one word."""

    name = "looks"

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        return [self._say(prompt) for prompt in prompts]

    def _say(self, prompt: Prompt) -> str:
        pixel = np.asarray(prompt.images[0], float).mean(axis=(0, 1))
        colour = "grey" if np.ptp(pixel) < 20 else ["red", "green", "blue"][int(pixel.argmax())]
        if "is it red" in prompt.user:
            return "yes" if colour == "red" else "no"
        return colour


def test_questions_have_a_majority_and_nearest_answers(vqa: Path) -> None:
    results = run(vqa)
    baselines = ["majority answer", "nearest answer", "nearest answer, question alone"]
    assert list(results.metrics["systems"]) == ["consensus", "consensus, no retrieval", *baselines]
    assert value(results, "consensus", "Exact Match") == 1
    assert value(results, "consensus, no retrieval", "Exact Match") == 0
    majority = said(results, "majority answer")
    # three of four squares aren't red
    assert {majority[f"{i}r"] for i in range(16)} == {"no"}
    # of each colour there are four but of the own subject's two one less: the first of the others
    assert majority["0c"] in ("blue", "grey")
    assert value(results, "nearest answer", "Exact Match") == 1
    assert value(results, "majority answer", "Exact Match") < 0.5
    groups = results.metrics["systems"]["majority answer"]["Exact Match"]["by_group"]
    assert groups["CLOSED"]["value"] == 0.75
    assert value(results, "nearest answer, question alone", "Exact Match") < 0.7


def test_a_generator_is_asked_with_and_without_references(vqa: Path) -> None:
    results = run(vqa, Looks(), controls=True)
    assert value(results, "looks", "Exact Match") == value(results, "looks, no retrieval", "Exact Match") == 1
    shown = {
        row["b"]: (row["shows"], row["difference"]) for row in results.metrics["differences"] if row["a"] == "looks"
    }
    assert shown["looks, blank picture"] == ("picture", pytest.approx(1 - value(results, "looks, blank picture",
                                                                               "Exact Match")))  # fmt: skip
    assert shown["looks, blank picture"][1] > 0.4
    # it doesn't look at the references at all
    assert shown["looks, random neighbours"] == ("retrieval", 0)
    assert {"looks, no retrieval, blank picture", "nearest answer, other neighbours"} <= set(results.metrics["systems"])
    assert "looks, no retrieval, random neighbours" not in results.metrics["systems"]


def test_a_generator_that_hears_no_question_is_refused(vqa: Path) -> None:
    with pytest.raises(InputError, match="'template' hears no question"):
        run(vqa, "template")


class Mean:
    """Knows colours by their mean, under names of its own."""

    name, rule = "mean", "softmax"
    labels = ("red", "green", "blue", "purple")

    def classify(self, images: Sequence[Any]) -> Float32:
        means = np.array([np.asarray(image, float).mean(axis=(0, 1)) for image in images])
        purple = np.full((len(images), 1), 10.0)
        rows = np.hstack([means, purple]) + 1
        return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float32)


@pytest.fixture
def classify(tmp_path: Path) -> Path:
    squares(tmp_path / "corpus")
    return suite_file(tmp_path, "classify", top='measures = ["accuracy"]')


def test_classes_have_a_majority_and_nearest_labels(classify: Path) -> None:
    results = run(classify, Mean())
    assert list(results.metrics["systems"]) == ["mean", "majority label", "nearest labels"]
    assert value(results, "nearest labels", "accuracy") == 1
    assert value(results, "mean", "accuracy") >= 0.75
    assert value(results, "majority label", "accuracy") == 0.25
    assert said(results, "majority label")["a00"] == dict.fromkeys(sorted(COLOURS), 0.25)
    assert set(said(results, "mean")["a00"]) == set(COLOURS)
    assert said(results, "nearest labels")["a02"]["blue"] == 1


def test_grades_in_words_have_a_quadratic_kappa(tmp_path: Path) -> None:
    squares(tmp_path / "corpus")
    order = ["grey", "red", "green", "blue"]
    top = f'measures = ["accuracy", "quadratic kappa"]\nclasses = {order}'
    results = run(suite_file(tmp_path, "classify", top=top), Mean())
    assert value(results, "nearest labels", "quadratic kappa") == 1
    # grey squares are called red by the first of equal probabilities: by hand, each a grade away
    said_of = {name: max(p, key=p.get) for name, p in said(results, "mean").items()}
    pairs = [(order.index(list(COLOURS)[i % 4]), order.index(said_of[f"a{i:02d}"])) for i in range(16)]
    a, b = (np.array(side, float) for side in zip(*pairs, strict=True))
    by_chance = ((a[:, None] - b[None]) ** 2).mean()
    kappa = 1 - ((a - b) ** 2).mean() / by_chance
    assert value(results, "mean", "quadratic kappa") == pytest.approx(kappa, abs=1e-6)
    assert list(said(results, "majority label")["a00"]) == order
    with pytest.raises(InputError, match=r"label of 'a02' is 'blue', none of the classes grey, red, green"):
        run(suite_file(tmp_path, "classify", top=f"classes = {order[:3]}"), Mean())


def test_a_classifier_of_other_labels_is_refused(classify: Path) -> None:
    other = Mean()
    other.labels = ("a", "b", "c", "d")
    with pytest.raises(InputError, match="knows none of the labels"):
        run(classify, other)
    with pytest.raises(InputError, match="no rule that makes probabilities"):
        run(classify, "zero-shot")  # of the index's encoder
    with pytest.raises(InputError, match="unknown classifier 'consensus'"):
        run(classify, "consensus")


@pytest.fixture
def retrieve(tmp_path: Path) -> Path:
    squares(tmp_path / "corpus")
    more = '[relevance]\nby = "labels"\nlabels = ["label"]'
    return suite_file(tmp_path, "retrieve", more, top='measures = ["nDCG@3", "Recall@3", "hit@1"]')


def test_a_ranking_scores_as_trec_eval_scores_its_files(retrieve: Path) -> None:
    results = run(retrieve, ("image", "fused"))
    assert list(results.metrics["systems"]) == ["image", "fused", "random"]
    assert value(results, "image", "hit@1") == 1
    assert value(results, "random", "nDCG@3") < 0.7
    for name, file in (("image", "run.trec"), ("fused", "run.fused.trec"), ("random", "run.random.trec")):
        qrels = list(ir_measures.read_trec_qrels(str(results.folder / "qrels.txt")))
        ranked = list(ir_measures.read_trec_run(str(results.folder / file)))
        found = ir_measures.calc_aggregate([ir_measures.nDCG @ 3, ir_measures.R @ 3], qrels, ranked)
        assert found[ir_measures.nDCG @ 3] == pytest.approx(value(results, name, "nDCG@3"), abs=1e-5)
        assert found[ir_measures.R @ 3] == pytest.approx(value(results, name, "Recall@3"), abs=1e-5)
    assert not any(row["a"] == row["b"] for row in results.metrics["differences"])


def test_captions_find_pictures_and_pictures_captions(tmp_path: Path) -> None:
    squares(tmp_path / "corpus", 8)
    more = '[relevance]\nby = "caption"'
    suite = suite_file(tmp_path, "retrieve", more, top='measures = ["hit@1"]')
    results = run(suite)
    groups = results.metrics["systems"]["search"]["hit@1"]["by_group"]
    assert groups["image->text"]["value"] == groups["text->image"]["value"] == 1
    assert results.metrics["n"] == 16
    encoder = ColourEncoder()
    encoder.shared_space = False
    with pytest.raises(InputError, match="can't compare"):
        run(suite, out="apart", encoder=encoder)


def test_grounding_needs_boxes(tmp_path: Path) -> None:
    squares(tmp_path / "corpus", 4)
    with pytest.raises(InputError, match="no record has a picture and boxes"):
        run(suite_file(tmp_path, "ground"))


def test_runs_of_each_task_are_the_same_twice(vqa: Path, classify: Path, retrieve: Path) -> None:
    for suite in (vqa, classify, retrieve):
        squares(suite.parent / "corpus", questions=[_questions(i) for i in range(16)])
        one, two = (run(suite, out=f"{suite.stem}{n}") for n in (1, 2))
        assert kept(one.folder) == kept(two.folder)


@pytest.mark.parametrize("keep", [False, True])
def test_the_own_subject_is_hidden_or_kept_loudly(tmp_path: Path, keep: bool) -> None:
    parts = ["train", "test"] * 8
    squares(tmp_path / "corpus", part=parts)
    split = 'by = "official"\ncolumn = "part"\nqueries = ["test"]'
    suite = suite_file(tmp_path, "describe", split=split, top='measures = ["ROUGE-L"]')
    results = run(suite, "nearest", keep_subject=keep)
    assert results.warning.startswith("LEAKAGE: 8 of 8 queries share a subject") is keep
    neighbours = {row["id"]: {hit[0] for hit in row["hits"]} for row in rows_of(results.folder / "neighbours.jsonl")}
    own = [f"a{int(name[1:]) - 1:02d}" in hits for name, hits in neighbours.items()]
    # a subject's two squares differ in colour: its own is found only where there is nothing else
    assert not any(own) or keep
    assert results.metrics["n"] == 8
