"""What vision-language models are trained on: the prompt as it is asked, and labels on the answer alone."""

from __future__ import annotations

import pytest
from tinytraining import torch
from tinytuning import FAMILIES, load
from vlmtools import prompt_of

from ragvlm.errors import InputError
from ragvlm.tuning.vlm_items import VlmItems, answer_ids, collate, encode, examples_of
from ragvlm.types import Record

ANSWER = "Two red cells"


@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_picture_and_padding_are_masked_and_the_answer_is_not(family, folder_of):
    generator = load(folder_of(family))
    prompt = prompt_of()
    asked = generator.dialect.inputs([prompt])
    made = encode(generator, prompt, ANSWER)
    ids = answer_ids(generator, prompt, ANSWER)
    labels = made["labels"][0].tolist()
    assert ids[-1] in generator.ends
    assert not set(ids[:-1]) & generator.ends
    assert generator.tokenizer.decode(ids, skip_special_tokens=True).strip().lower() == ANSWER.lower()
    assert torch.equal(made["pixel_values"], asked["pixel_values"])
    if generator.reads_apart:  # T5 writes on a sheet of its own
        assert labels == ids
        assert torch.equal(made["input_ids"], asked["input_ids"])
        return
    start = asked["input_ids"].shape[1]
    assert labels == [-100] * start + ids
    assert made["input_ids"][0].tolist() == asked["input_ids"][0].tolist() + ids
    assert made["attention_mask"].tolist() == [[1] * len(labels)]
    if family != "git":  # which has no places for its picture
        assert generator.net.config.image_token_id in made["input_ids"]
        assert generator.net.config.image_token_id not in labels


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_that_of_the_answer_alone_and_padding_changes_nothing(family, folder_of):
    generator = load(folder_of(family))
    short, long = (encode(generator, prompt_of(picture=1), text) for text in ("red", "red cells in a stained smear"))
    with torch.inference_mode():
        alone = [generator.net(**collate(generator, [item])) for item in (short, long)]
        both = generator.net(**collate(generator, [short, long]))
    ids = short["labels"][0] if generator.reads_apart else short["labels"][0, 1:]
    logits = alone[0].logits[0] if generator.reads_apart else alone[0].logits[0, -short["labels"].shape[1] : -1]
    by_hand = torch.nn.functional.cross_entropy(logits.float(), ids, ignore_index=-100)
    assert alone[0].loss.item() == pytest.approx(by_hand.item(), rel=1e-4)
    counts = [int((item["labels"] != -100).sum()) for item in (short, long)]
    mean = sum(n * one.loss.item() for n, one in zip(counts, alone, strict=True)) / sum(counts)
    assert both.loss.item() == pytest.approx(mean, rel=1e-4)


def test_paligemma_gets_what_its_own_processor_makes_with_a_suffix(folder_of):
    """Without a suffix its processor labels nothing; here prompt and answer are joined as it would."""
    generator, prompt = load(folder_of("paligemma")), prompt_of()
    processor = generator.dialect.processor
    text = generator.dialect.text(prompt)
    theirs = processor(text=text, images=prompt.images[0], suffix=ANSWER, return_tensors="pt")
    made = encode(generator, prompt, ANSWER)
    assert set(made) == set(theirs)
    for name, tensor in theirs.items():
        assert torch.equal(made[name], tensor), name


def test_smolvlm_learns_its_template_s_own_turn(folder_of):
    generator, prompt = load(folder_of("smolvlm")), prompt_of()
    whole = generator.tokenizer.decode(encode(generator, prompt, ANSWER)["input_ids"][0])
    assert whole.endswith(f"Assistant: {ANSWER}<end_of_utterance>")


def test_one_too_long_for_the_model_is_named(folder_of):
    generator = load(folder_of("smolvlm"))
    generator.context = 40
    with pytest.raises(InputError, match=r"record 'query': prompt and answer are \d+ tokens, the model holds 40"):
        encode(generator, prompt_of(), ANSWER)


def test_references_stand_in_the_prompt_and_are_dropped_by_epoch(folder_of, corpus):
    generator = load(folder_of("smolvlm"))
    near = {record.id: [Record("n", None, "three green worms")] for record in corpus}
    items = VlmItems(generator, corpus, examples_of(corpus, questions=False), neighbours=near, drop=0.5, seed=3)

    def told():
        return [bool(items.prompt(i).cited_ids) for i in range(len(items))]

    first = told()
    assert 0 < sum(first) < len(first)
    assert told() == first
    items.set_epoch(1)
    assert told() != first
    shown = next(i for i, is_told in enumerate(told()) if is_told)
    assert '[1] "three green worms"' in items.prompt(shown).user
    assert "reference" not in items.prompt(told().index(False)).user


def test_answers_are_learnt_where_there_are_questions(asked):
    examples = examples_of(asked, questions=True)
    assert [(e.question, e.answer) for e in examples[:2]] == [("what colour?", "red"), ("what colour?", "green")]
    assert examples_of(asked, questions=False) == []
