"""ViLT on a tiny checkpoint of its true architecture: questions about pictures, answered by classification."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import tinyvilt
from vlmtools import PICTURES, prompt_of

import ragvlm as rv
from ragvlm.errors import InputError, RagvlmError
from ragvlm.generators import load_generator
from ragvlm.registry import find
from ragvlm.types import Generator, Query, Record

pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("offline")

QUESTIONS = ["what red cells", "is red", "what is", "is what", "red", "cells", "what a b c", "what?", "is cells red?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinyvilt.build(tmp_path_factory.mktemp("vilt") / "vilt")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def load(folder: Path, **options: Any) -> Any:
    return load_generator(f"vilt:{folder}", device="cpu", **options)


def test_inputs_and_answers_are_those_of_transformers(folder: Path) -> None:
    import torch
    from transformers import ViltForQuestionAnswering, ViltProcessor

    generator = load(folder)
    net, processor = ViltForQuestionAnswering.from_pretrained(folder), ViltProcessor.from_pretrained(folder)
    answers = []
    for i, question in enumerate(QUESTIONS):
        prompt = prompt_of(text=question, picture=i % 3)
        inputs = processor(PICTURES[i % 3], question, return_tensors="pt")
        given = generator.inputs([prompt])
        assert sorted(given) == sorted(inputs)
        assert all(torch.equal(given[name], inputs[name]) for name in inputs)
        answers.append(net.config.id2label[net(**inputs).logits.argmax(-1).item()])
        assert generator.generate([prompt]) == answers[-1:]
    assert len(set(answers)) > 2
    assert set(answers) <= set(tinyvilt.ANSWERS)


def test_pictures_of_several_shapes_share_a_batch(folder: Path) -> None:
    generator = load(folder, batch_size=4)
    prompts = [prompt_of(text=question, picture=i % 3) for i, question in enumerate(QUESTIONS)]
    prompts.insert(2, prompt_of(Record("silent"), text="what"))
    given = generator.inputs(prompts[:2])
    assert given["pixel_values"].shape[0] == 2
    assert sorted(given["pixel_mask"].unique().tolist()) == [0, 1]
    texts = generator.generate(prompts)
    assert isinstance(generator, Generator)
    assert generator.generate([]) == []
    assert texts[2] == ""
    assert texts == [generator.generate([prompt])[0] for prompt in prompts]


def test_half_numbers_and_its_own_name(folder: Path) -> None:
    import torch

    generator = load(folder, dtype="bfloat16")
    assert generator._net.dtype == torch.bfloat16
    assert load_generator(generator.name, dtype="bfloat16").generate([prompt_of(text="is red")]) == generator.generate(
        [prompt_of(text="is red")]
    )
    row = find("generators", "vilt")
    assert row.arguments == {"model": f"dandelin/vilt-b32-finetuned-vqa@{row.revision}"}


def test_it_answers_a_question_about_a_real_picture(folder: Path, blood: rv.Index, shared_data: Path) -> None:
    picture = shared_data / "blood-cells" / "images" / "BloodImage_00020.jpg"
    describer = rv.Describer(blood, f"vilt:{folder}", 3, alpha=0, keep_unsupported=True)
    found = describer(picture, question="what cells?")
    query = Query("q", rv.images.open_image(picture), "what cells?")
    assert [evidence.sentence for evidence in found.evidence] == [found.text.removesuffix(" [unsupported]")]
    assert found.evidence[0].sentence in tinyvilt.ANSWERS
    assert found.text == describer(query).text
    assert found.provenance["question"] == "what cells?"
    with pytest.raises(InputError, match=r"answers questions only: ask one with --question \(in Python question=\)$"):
        describer(picture)


def test_memory_that_runs_out_halves_the_batch(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    generator = load(folder, batch_size=6)
    prompts = [prompt_of(text=question) for question in QUESTIONS]
    answers, forward, room = generator.generate(prompts), generator._net.forward, 2

    def small(**inputs: Any) -> Any:
        if len(inputs["input_ids"]) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(**inputs)

    monkeypatch.setattr(generator._net, "forward", small)
    with caplog.at_level(logging.WARNING):
        assert generator.generate(prompts) == answers
    assert generator.batch_size == 1
    assert "going on with batch_size 3" in caplog.text
    room = 0
    with pytest.raises(RagvlmError, match="not enough memory"):
        generator.generate(prompts)


def test_what_is_refused(folder: Path, copy: Path) -> None:
    with pytest.raises(InputError, match=r"the question has 52 tokens, .* reads 40: shorten it"):
        load(folder).generate([prompt_of(text="what " * 50)])
    with pytest.raises(InputError, match="batch_size is 0"):
        load(folder, batch_size=0)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(InputError, match="is a 'bert' model, not ViLT"):
        load(copy)


def test_a_checkpoint_without_its_answers_is_refused(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    headless = {name: tensor for name, tensor in weights.items() if "classifier" not in name}
    save_file(headless, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(RagvlmError, match="its weights lack classifier"):
        load(copy)


def test_a_pickled_state_dict_is_read(folder: Path, copy: Path) -> None:
    prompts = [prompt_of(text=question) for question in QUESTIONS]
    assert load(checkpoints.pickled(copy)).generate(prompts) == load(folder).generate(prompts)
