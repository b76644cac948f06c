"""The threshold of support: what it promises, on corpora that can be counted."""

from __future__ import annotations

import json

import pytest
from texts import WordEncoder, context_of

from ragvlm.errors import InputError
from ragvlm.evidence import DEFAULT_THRESHOLD, EvidenceChecker
from ragvlm.threshold import HIGHEST, LOWEST, calibrate_threshold

NOUNS = ["worm", "lung", "gland", "smear", "comet", "colony", "nucleus", "plate", "neuron", "fibre"]
LOOKS = ["pale", "granular", "smooth", "folded", "stained", "glowing"]
CAPTIONS = [f"A {look} {noun} under glass." for noun in NOUNS for look in LOOKS]


def test_small_corpora_take_the_default():
    found = calibrate_threshold(["A cell."] * 19 + [" "], WordEncoder())
    assert (found["threshold"], found["default"], found["n"]) == (DEFAULT_THRESHOLD, True, 0)


def test_the_rate_is_kept_on_the_corpus_itself():
    found = calibrate_threshold(CAPTIONS, WordEncoder(), false_support_rate=0.1)
    # four of five words are common to the nearest other caption: 4 / 5 for each of the 60 sentences
    assert found["n"] == 60
    assert found["median"] == pytest.approx(0.8, abs=1e-6)
    assert found["threshold"] == pytest.approx(0.8, abs=1e-6)
    assert found["threshold"] > 0.8 or found["measured_rate"] == 0
    checker = EvidenceChecker(WordEncoder(), found["threshold"])
    supported = [checker.check(c, context_of(*(o for o in CAPTIONS if o != c)))[0].supported for c in CAPTIONS]
    assert sum(supported) <= 0.1 * len(CAPTIONS)


def test_bounds_and_reproducibility():
    far = [f"{a}{b}" for a in ("ap", "be", "ce", "do", "er", "fu") for b in ("lo", "mi", "na", "po", "qui", "ro")]
    assert calibrate_threshold(far, WordEncoder())["threshold"] == LOWEST
    near = [" ".join(["very"] * 30 + [word]) for word in far]
    found = calibrate_threshold(near, WordEncoder())
    assert found["threshold"] == HIGHEST
    assert found["measured_rate"] == 1  # the bound costs the promise, and that is told
    assert calibrate_threshold(CAPTIONS, WordEncoder(), sample=7, seed=3) == calibrate_threshold(
        CAPTIONS, WordEncoder(), sample=7, seed=3
    )
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("options", [{"false_support_rate": 0}, {"false_support_rate": 1}, {"sample": 0}])
def test_options_out_of_range(options):
    with pytest.raises(InputError, match=next(iter(options))):
        calibrate_threshold(CAPTIONS, WordEncoder(), **options)
