"""PaliGemma's places through a tiny checkpoint of the true architecture and its own tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vlmtools import PICTURES, load

import ragvlm as rv
from ragvlm.errors import InputError

PLACED = "<loc0000><loc0000><loc1023><loc0511> white cell"


def test_task_words_reach_the_model_and_places_survive_the_tokenizer(folders: Callable[[str], Path]) -> None:
    import torch

    generator = load(folders("paligemma"))
    words = generator.tokenizer
    seen: list[str] = []

    def answer(**options: Any) -> Any:
        asked = options["input_ids"]
        seen.append(words.decode(asked[0], skip_special_tokens=False))
        said = words(PLACED, add_special_tokens=False, return_tensors="pt")["input_ids"]
        end = torch.tensor([[words.eos_token_id]])
        return torch.cat([asked, said, end], dim=1)

    generator.net.generate = answer
    found = rv.ground(PICTURES[0], "white cell", generator=generator)
    assert "detect white cell" in " ".join(seen[0].split())
    width, height = PICTURES[0].size
    assert found.regions[0].box == pytest.approx((0, 0, width * 511 / 1023, height))
    assert found.provenance["malformed"] == []


def test_random_weights_write_something_that_is_read(folders: Callable[[str], Path]) -> None:
    found = rv.ground(PICTURES[1], "cell", generator=load(folders("paligemma")))
    assert isinstance(found.provenance["written"][0], str)
    assert found.method == "generator"
    assert not found.abstained


def test_a_family_without_task_words_is_refused(folders: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match="isn't asked by task words"):
        rv.ground(PICTURES[0], "cell", generator=load(folders("git")))
