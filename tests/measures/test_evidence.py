"""Measures of evidence against examples worked by hand, ALCE's definition read out for every judge, and properties."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest

from ragvlm.errors import InputError
from ragvlm.measures import evidence as module
from ragvlm.measures.base import Item
from ragvlm.measures.evidence import Citations, Unsupported, citations, judge_of, passages_of
from ragvlm.types import Evidence, Record

RECALL, PRECISION = Citations("recall"), Citations("precision")
PASSAGES = {
    "r1": "A blood smear with 19 red blood cells. The red cells are crowded.",
    "r2": "A blood smear with one neutrophil. No platelets are seen.",
    "r3": "Actin filaments in a fibroblast.",
}


def item(told: list[tuple[str, list[str]]], passages: Any = PASSAGES, name: str = "pic7", **facts: Any) -> Item:
    rows = [{"sentence": sentence, "record_ids": ids, "support": 0.9} for sentence, ids in told]
    return Item(name, name, "text", ("reference",), facts={"evidence": rows, "passages": passages, **facts})


BY_HAND = item(
    [
        ("The red cells are crowded.", ["r1", "r3"]),  # r1 says so, r3 adds nothing: 1 of 2 citations
        ("A smear with 19 red blood cells and no platelets.", ["r1", "r2"]),  # each gives a half: 2 of 2
        ("Actin filaments are seen.", ["r2"]),  # r2 doesn't say so: 0 of 1
        ("A fibroblast.", []),  # cites nothing
    ]
)


def test_citations_worked_by_hand() -> None:
    assert RECALL.statistics([BY_HAND]).value == pytest.approx(2 / 4)
    assert PRECISION.statistics([BY_HAND]).value == pytest.approx(3 / 5)
    nothing_cited = item([("A fibroblast.", [])], name="b")
    assert RECALL.statistics([nothing_cited]).value == PRECISION.statistics([nothing_cited]).value == 0
    # the mean over items, not over sentences
    assert RECALL.statistics([BY_HAND, nothing_cited]).value == pytest.approx((2 / 4 + 0) / 2)


def test_what_is_not_defined() -> None:
    items = [item([]), Item("b", "b", "text", ("r",)), item([("A fibroblast.", ["r3"])], passages=None)]
    for measure in (RECALL, PRECISION):
        assert not measure.statistics(items).defined.any()
    assert Unsupported().statistics(items).defined.tolist() == [False, False, True]


def plain_alce(told: list[tuple[str, list[str]]], supports: Any) -> tuple[float, float]:
    """Recall and precision as the paper words them."""
    recall, relevant, total = 0, 0, 0
    for sentence, ids in told:
        total += len(ids)
        if ids and supports(sentence, frozenset(ids)):
            recall += 1
            for own in ids:
                irrelevant = not supports(sentence, frozenset({own})) and supports(sentence, frozenset(ids) - {own})
                relevant += not irrelevant
    return recall / len(told), relevant / total if total else 0.0


@pytest.mark.parametrize("seed", range(30))
def test_equals_the_definition_for_any_judge(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)
    ids = ["a", "b", "c"]
    verdicts = {
        (sentence, frozenset(chosen)): draw.random() < 0.5
        for sentence in "xyz"
        for size in (1, 2, 3)
        for chosen in itertools.combinations(ids, size)
    }

    def supports(sentence: str, chosen: frozenset[str]) -> bool:
        return verdicts.get((sentence, chosen), False)

    monkeypatch.setattr(module, "judge_of", lambda name: lambda claim, passages: supports(claim, frozenset(passages)))
    told = [(sentence, draw.sample(ids, draw.randint(0, 3))) for sentence in "xyz"]
    made = [item(told, {name: name for name in ids})]
    assert (RECALL.statistics(made).value, PRECISION.statistics(made).value) == plain_alce(told, supports)


@pytest.mark.parametrize(
    ("sentence", "cited", "supported"),
    [
        ("The red cells are crowded.", ["r1"], True),
        ("The image shows crowded red cells.", ["r1"], True),
        ("13 red blood cells in a blood smear.", ["r1"], False),  # another number
        ("No platelets are seen.", ["r1"], False),  # never said there
        ("Platelets are seen in the smear.", ["r2"], False),  # denied there
        ("A neutrophil near an eosinophil and a basophil.", ["r2"], False),  # one word of three
        ("The stain is DAPI (4 of 5 references).", ["stain"], True),
        ("The of.", ["r1"], False),
    ],
)
def test_the_judge_of_words(sentence: str, cited: list[str], supported: bool) -> None:
    passages = {**PASSAGES, "stain": "The stain is DAPI."}
    assert judge_of("words")(module._TALLY.sub("", sentence), [passages[i] for i in cited]) is supported
    assert RECALL.statistics([item([(sentence, cited)], passages)]).value == float(supported)


def test_the_judge_of_the_checker(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tower:
        def encode_texts(self, texts: Any) -> Any:
            """Alike where both speak of cells."""
            return np.array([[1.0, 0.0] if "cell" in text else [0.0, 1.0] for text in texts], np.float32)

    module._checker.cache_clear()
    monkeypatch.setattr("ragvlm.encoders.load_encoder", Tower)
    made = [item([("Crowded cells.", ["r1"]), ("13 red blood cells.", ["r1"]), ("Crowded cells.", ["r3"])])]
    assert Citations("recall", "checker").statistics(made).value == pytest.approx(1 / 3)
    module._checker.cache_clear()


def test_unsupported_sentences_worked_by_hand() -> None:
    items = [BY_HAND, item([("A.", ["r1"])], name="b", dropped_sentences=3), item([], name="c", dropped_sentences=1)]
    found = Unsupported().statistics([*items, item([], name="d")])
    assert found.value == pytest.approx((1 + 3 + 1) / (4 + 4 + 1))
    assert found.scores is not None
    np.testing.assert_array_equal(found.scores, [1 / 4, 3 / 4, 1.0, np.nan])
    assert not Unsupported().higher_is_better


def test_evidence_may_be_that_of_a_description() -> None:
    told = (Evidence("The red cells are crowded.", ("r1",), 1.0), Evidence("A fibroblast.", (), 0.0))
    made = [Item("a", "a", "text", ("r",), facts={"evidence": told, "passages": PASSAGES})]
    assert RECALL.statistics(made).value == 0.5
    assert PRECISION.statistics(made).value == 1.0
    assert Unsupported().statistics(made).value == 0.5


def test_passages_are_captions_and_labels() -> None:
    records = [Record("a", caption="Cells.", labels={"stain": "DAPI"}), Record("b", labels={"nuclei": 4}), Record("c")]
    told = passages_of(records)
    assert told["a"] == "Cells. The stain is DAPI."
    assert told["b"] == "There are four nuclei."
    assert told["c"] == ""


@pytest.mark.parametrize(
    "facts",
    [
        {"evidence": "text"},
        {"evidence": [{"sentence": "A."}]},
        {"evidence": [{"sentence": "A.", "record_ids": "r1"}]},
        {"evidence": [["A.", []]]},
        {"passages": ["A."]},
        {"passages": {"r1": None}},
        {"dropped_sentences": -1},
        {"dropped_sentences": "two"},
    ],
)
def test_refuses_in_one_line_that_names_the_item(facts: dict[str, Any]) -> None:
    base = item([("A.", ["r1"])])
    made = Item("pic7", "s", "text", ("r",), facts={**base.facts, **facts})
    with pytest.raises(InputError, match="'pic7'") as error:
        (Unsupported() if "dropped_sentences" in facts else RECALL).statistics([made])
    assert "\n" not in str(error.value)


def test_names() -> None:
    assert citations("Recall", "Words") == RECALL
    assert PRECISION.name == "citation precision (words)"
    assert math.isclose(0.8, module.SHARE)
    assert "80%" in PRECISION.source
    with pytest.raises(InputError, match="unknown judge"):
        citations("recall", "oracle")
