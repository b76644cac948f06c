"""Soft prompts on tiny checkpoints, and the search over written templates with a generator that can be read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import tiny
from tinytraining import torch
from tinytuning import SETTINGS, load, squares
from vlmtools import prompt_of

from ragvlm.errors import InputError
from ragvlm.generators import load_generator
from ragvlm.tuning import template_search
from ragvlm.tuning.lora import tune_prompt
from ragvlm.tuning.merging import merge_adapter
from ragvlm.tuning.soft import add_soft_prompt
from ragvlm.tuning.template_search import search_templates
from ragvlm.tuning.vlm_items import encode

SOFT = replace(SETTINGS, lr=0.1, epochs=3)


@pytest.mark.parametrize("family", ["smolvlm", "paligemma", "blip2-opt", "blip2-t5", "git"])
def test_a_soft_prompt_is_learnt_saved_and_used(family, folder_of, corpus, tmp_path):
    base = folder_of(family)
    tuned = tune_prompt(str(base), corpus, tmp_path / "out", tokens=5, settings=SOFT, validation=0.25, test=0)
    assert tuned.card["training"]["trained"] == 5 * 32  # nothing but five vectors
    assert tuned.metrics["validation"]["loss"] < tuned.metrics["validation, base"]["loss"]
    assert (tuned.folder / "adapter_model.safetensors").stat().st_size < 5000
    generator, plain = load_generator(str(tuned.folder), device="cpu", max_new_tokens=8), load(base, max_new_tokens=8)
    ids, alone = generator.inputs([prompt_of()])["input_ids"][0], plain.inputs([prompt_of()])["input_ids"][0]
    soft = torch.tensor(generator.soft)
    assert min(generator.soft) >= len(plain.tokenizer)  # tokens that no text holds
    expected = torch.cat([soft, alone] if family == "blip2-t5" else [alone, soft])
    assert torch.equal(ids, expected)
    both = generator.generate([prompt_of(), prompt_of(picture=1)])
    assert both == [generator.generate([prompt_of(picture=i)])[0] for i in range(2)]
    with pytest.raises(InputError, match="has no weights to add"):
        merge_adapter(tuned.folder, tmp_path / "m")


def test_it_begins_as_words_and_they_are_not_learnt(folder_of):
    generator = load(folder_of("smolvlm"))
    first = generator.tokenizer("red cells", add_special_tokens=False)["input_ids"]
    table = generator.net.get_input_embeddings().weight.detach().clone()
    add_soft_prompt(generator, len(first) + 1, words="red cells", seed=0)
    made = encode(generator, prompt_of(), "red")
    assert made["labels"][0, -4:].tolist()[0] == -100
    vectors = generator.net.get_input_embeddings()(torch.tensor(generator.soft))
    assert torch.equal(vectors, table[[*first, first[0]]])
    with pytest.raises(InputError, match="tokens is 0"):
        add_soft_prompt(load(folder_of("smolvlm")), 0, seed=0)


class Parrot:
    """Says the first reference's words where it is told any, else "cells"."""

    name, reads, pictures = "parrot", "prompt", 1
    asked = 0

    def generate(self, prompts):
        Parrot.asked += len(prompts)
        return [p.user.split('"')[1] if '"' in p.user else "cells" for p in prompts]


@pytest.fixture
def parrot(monkeypatch):
    Parrot.asked = 0
    monkeypatch.setattr(template_search, "load_generator", lambda name, **options: Parrot())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Forty records and their index: a reference's caption shares "red cells" with the right one, "cells" one word."""
    corpus = squares(tmp_path_factory.mktemp("forty"), 40)
    return corpus, tiny.build(corpus, corpus.root / "index")


def search(pictures, out, **options):
    corpus, index = pictures
    settings = {"templates": ["zero-shot", "describe"], "index": index, "k": 1}
    return search_templates("consensus", corpus, out, **settings | options)


def test_the_best_template_is_kept_with_its_interval(pictures, tmp_path, parrot):
    tuned = search(pictures, tmp_path / "out", command="ragvlm tune template")
    assert tuned.card["best"] == "describe"
    # two of three words, and one of three: F1 of ROUGE-L
    assert tuned.metrics["validation"] == {"zero-shot": pytest.approx(0.5), "describe": pytest.approx(2 / 3)}
    rows = {row["template"]: row for row in tuned.card["compared"]["test"]}
    assert set(rows) == {"zero-shot", "describe"}
    difference = rows["zero-shot"]["best_minus_it"]
    assert difference["difference"] == pytest.approx(2 / 3 - 0.5)
    assert difference["low"] > 0
    assert {p.name for p in tuned.folder.iterdir()} == {"template.jinja", "card.json", "README.md"}
    assert "You describe a biomedical image from the captions" in (tuned.folder / "template.jinja").read_text()
    page = (tuned.folder / "README.md").read_text()
    assert "| describe | 0.6667 | the best | | |" in page
    assert "| zero-shot | 0.5 | 0.1667 |" in page
    asked = Parrot.asked
    assert asked == 2 * 6 * 2 * 2  # two templates, two parts of six subjects of two records
    assert search(pictures, tmp_path / "out", command="ragvlm tune template") == tuned
    assert Parrot.asked == asked


def test_a_killed_search_goes_on_where_it_stopped(pictures, tmp_path, parrot, monkeypatch):
    real = Parrot.generate

    def dies(self, prompts):
        if Parrot.asked >= 16:
            raise KeyboardInterrupt
        return real(self, prompts)

    with monkeypatch.context() as patch:
        patch.setattr(Parrot, "generate", dies)
        with pytest.raises(KeyboardInterrupt):
            search(pictures, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    before = Parrot.asked
    search(pictures, tmp_path / "out")
    assert (before, Parrot.asked) == (20, 48)  # 8 + 4 of the first template, 8 of the second; none twice
    assert json.loads((tmp_path / "out" / "card.json").read_text())["best"] == "describe"


def test_what_can_not_be_searched_is_one_line(pictures, tmp_path):
    for options, why in (
        ({"templates": ["describe"]}, "two or more templates that differ"),
        ({"templates": ["describe", "describe"]}, "two or more templates that differ"),
        ({"templates": ["describe", "nobody"]}, "unknown template 'nobody'"),
        ({"index": None}, "a template that tells references needs an index"),
        ({"scored_by": "unsupported sentences"}, "is better when it is lower"),
        ({"scored_by": "beauty"}, "unknown measure"),
    ):
        with pytest.raises(InputError, match=why):
            search(pictures, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
