"""Parts of the embedded describer without its decoder: probes, the perceptron, the text, and what no reference says."""

from __future__ import annotations

import numpy as np
import pytest

from ragvlm.generators.smallcap.answers import Answers, fit_answers
from ragvlm.generators.smallcap.ground import ground
from ragvlm.generators.smallcap.layout import Asked, pairs_of
from ragvlm.generators.smallcap.readings import Readings, fit_readings
from ragvlm.types import Record

pytest.importorskip("sklearn")
SMEARS = [
    "A smear with one white cell and 12 red cells.",
    "A smear with two white cells and 20 red cells. It is dense.",
]


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(120, 8)).astype(np.float32)
    counts = np.round((3 + features[:, 0]).clip(0) ** 2).astype(int)
    kinds = np.where(features[:, 1] > 0, "smear", "section")
    records = [
        Record(
            str(i), labels={"kind": k, "name": f"n{i}", "share": 0.5} | ({"red_cells": int(n)} if k == "smear" else {})
        )
        for i, (n, k) in enumerate(zip(counts, kinds, strict=True))
    ]
    return features, records, counts, kinds


def test_probes_read_counts_and_words_of_pictures_they_never_saw(field):
    features, records, counts, kinds = field
    readings, unseen = fit_readings(features, records, [str(i // 2) for i in range(120)])
    assert [probe.name for probe in readings.probes] == ["kind", "red_cells"]  # no names, no fractions
    told = [dict(part.rsplit(" ", 1) for part in text.split("; ")) for text in unseen]
    assert np.mean([t["kind"] == k for t, k in zip(told, kinds, strict=True)]) > 0.9
    errors = [abs(int(t["red cells"]) - n) for t, n in zip(told, counts, strict=True) if "red cells" in t]
    assert np.mean(errors) < np.abs(counts - np.median(counts)).mean() / 2
    again = Readings.of(readings.facts(), readings.tensors())
    assert again.read(features) == readings.read(features)


def test_the_perceptron_names_answers(field):
    features, *_ = field
    questions = np.eye(4, dtype=np.float32)[np.arange(120) % 4]
    answers = [["Yes", "No", "yes", "chest"][i % 4] for i in range(120)]
    net = fit_answers(questions, features, answers)
    assert set(net.vocabulary) == {"Yes", "No", "chest"}
    found = net.logprobs(questions[:4], features[:4])
    np.testing.assert_allclose(np.exp(found).sum(1), 1, rtol=1e-5)
    assert [net.vocabulary[i] for i in found.argmax(1)] == ["Yes", "No", "Yes", "chest"]
    again = Answers.of(net.facts(), net.tensors())
    np.testing.assert_array_equal(again.logprobs(questions[:4], features[:4]), found)
    two = fit_answers(questions, features, ["a" if i % 2 else "b" for i in range(120)])
    assert [two.vocabulary[i] for i in two.logprobs(questions[:2], features[:2]).argmax(1)] == ["b", "a"]
    assert fit_answers(questions, features, ["yes"] * 120) is None


def test_what_no_reference_states_is_said_as_the_nearest_says_it():
    assert ground(SMEARS[0], SMEARS) == SMEARS[0]
    assert ground("A smear with two white cells and 18 red cells. It is dense.", SMEARS) == SMEARS[1]
    assert ground("A smear with one white cell and 13 red cells.", SMEARS) == SMEARS[0]
    assert ground("Nine nuclei.", []) == "Nine nuclei."


def test_the_text_before_the_answer():
    record = Record("a", extra={"questions": [{"question": "Is the heart big?", "answer": "no"},
                                              {"question": "Which plane?", "answers": ["PA", "AP"]}]})  # fmt: skip
    pairs = pairs_of("Is the heart enlarged?", [record, Record("b", extra={"questions": "none"})])
    assert pairs == ("Is the heart big? no", "Which plane? PA")
    asked = Asked(pairs[:1], "organ chest", "Is the heart enlarged?", ("no", "yes"))
    assert asked.text.splitlines() == [
        "Similar: Is the heart big? no", "Readings: organ chest", "Question: Is the heart enlarged?", "Likely: no, yes",
        "Answer:",
    ]  # fmt: skip
    assert Asked(("A smear.",)).text == "Similar: A smear.\nDescription:"
