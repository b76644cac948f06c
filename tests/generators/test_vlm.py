"""Vision-language models on tiny checkpoints of their true architectures. Mechanics only: random weights babble."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hubserver import COMMIT, serve
from PIL import Image
from texts import context_of
from vlmtools import CHATS, FAMILIES, PICTURES, TOKENS, load, new_tokens, prompt_of

from ragvlm.errors import ImageError, InputError, RagvlmError
from ragvlm.generators import load_generator, vlm_load
from ragvlm.generators.tidy import tidy
from ragvlm.generators.vlm_dialects import task_words
from ragvlm.prompt import build_prompt
from ragvlm.types import Generator, Prompt, Query, Record

pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("offline")

FILMS = ["qwen2.5-vl", "qwen3-vl", "smolvlm2"]


def by_hand(family: str, folder: Path, prompt: Prompt) -> tuple[dict[str, Any], str]:
    """Inputs and text as the documentation of transformers makes them."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    net, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    picture, whole = prompt.images[0], f"{prompt.system}\n\n{prompt.user}"
    if family in CHATS:
        system = [{"role": "system", "content": [{"type": "text", "text": prompt.system}]}]
        words = whole if family == "llava" else prompt.user
        content = [{"type": "image", "image": picture}, {"type": "text", "text": words}]
        inputs = processor.apply_chat_template(
            [*(system if family != "llava" else []), {"role": "user", "content": content}],
            add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
        )  # fmt: skip
    elif family == "git":
        inputs = processor(images=picture, return_tensors="pt")
        inputs["input_ids"] = torch.tensor([[processor.tokenizer.cls_token_id]])
    else:
        words = "<image>caption en" if family.startswith("paligemma") else whole
        inputs = processor(images=picture, text=words, return_tensors="pt")
        inputs.pop("labels", None)
    row = net.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)[0]
    new = row if family == "blip2-t5" else row[inputs["input_ids"].shape[1] :]
    return dict(inputs), processor.tokenizer.decode(new, skip_special_tokens=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_and_text_are_those_of_transformers(family: str, folders: Callable[[str], Path]) -> None:
    import torch

    if family in FILMS:
        pytest.importorskip("torchvision")  # transformers itself can't make these processors without it
    generator, prompt = load(folders(family)), prompt_of()
    inputs, text = by_hand(family, folders(family), prompt)
    given, tokens = new_tokens(generator, prompt)
    for name, tensor in inputs.items():
        assert torch.equal(given[name], tensor), name
    assert 1 < len(tokens) < TOKENS
    assert generator.generate([prompt]) == [tidy(text.strip(), 2, cut=False)] != [""]


@pytest.mark.parametrize("family", FILMS)
def test_pictures_need_no_torchvision(
    family: str, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    pytest.importorskip("torchvision")
    prompts, folder = [prompt_of(), prompt_of(picture=1)], folders(family)
    own = load(folder).dialect.inputs(prompts)
    monkeypatch.setattr(vlm_load, "_has_torchvision", lambda transformers: False)
    given = load(folder).dialect.inputs(prompts)
    assert sorted(given) == sorted(own)
    for name in own:
        level = 0.016 if name == "pixel_values" else 0  # Pillow and torchvision round differently: one of 256 shades
        torch.testing.assert_close(given[name], own[name], atol=level, rtol=0, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_contract(family: str, folders: Callable[[str], Path]) -> None:
    generator = load(folders(family), batch_size=2)
    silent = build_prompt(replace(context_of(Record("silent")), query=Query("query", PICTURES[0])))
    prompts = [
        prompt_of(picture=1),
        silent,
        prompt_of("One."),
        prompt_of(text="what cells"),
        prompt_of("<image><bos></s>[SEP] Go. " * 9),
    ]
    texts = generator.generate(prompts)
    assert isinstance(generator, Generator)
    assert generator.generate([]) == []
    assert texts[1] == ""
    assert texts == generator.generate(prompts) == [generator.generate([prompt])[0] for prompt in prompts]
    assert not any("Captions of" in text or "caption en" in text or "Assistant:" in text for text in texts)
    assert load_generator(generator.name, max_new_tokens=TOKENS).generate(prompts[:1]) == texts[:1]


@pytest.mark.parametrize("family", FAMILIES)
def test_half_numbers(family: str, folders: Callable[[str], Path]) -> None:
    import torch

    generator = load(folders(family), dtype="bfloat16")
    given, _ = new_tokens(generator, prompt_of())
    assert given["pixel_values"].dtype == generator.net.dtype == torch.bfloat16


@pytest.mark.parametrize("family", ["smolvlm", "blip2-t5"])
def test_it_survives_save_and_reload(family: str, altered: Callable[..., Path]) -> None:
    folder = altered(family)
    generator = load(folder)
    text = generator.generate([prompt_of()])
    (folder / "model.safetensors").unlink()
    generator.net.save_pretrained(folder)
    generator.dialect.processor.save_pretrained(folder)
    assert load(folder).generate([prompt_of()]) == text


def test_the_neighbours_pictures_go_in_beside_their_captions(folders: Callable[[str], Path], tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for shade, path in enumerate(paths):
        Image.new("RGB", (64, 64), (80 * shade, 0, 0)).save(path)
    records = [Record(path.stem, str(path), f"Field {path.stem}.") for path in paths]
    prompt = prompt_of(Record("bare", caption="No picture."), *records)
    dialect = load(folders("smolvlm"), neighbour_images=2).dialect
    assert [picture.getpixel((0, 0)) for picture in dialect.pictures(prompt)[:2]] == [(0, 0, 0), (80, 0, 0)]
    assert dialect.pictures(prompt)[2].size == PICTURES[0].size
    assert "Image of reference [2]:<image>Image of reference [3]:<image>The new image:<image>" in dialect.text(prompt)
    assert dialect.inputs([prompt])["pixel_values"].shape[0] == 1
    load(folders("smolvlm"), neighbour_images=2).generate([prompt, prompt_of()])
    with pytest.raises(ImageError, match="nowhere"):
        dialect.pictures(prompt_of(Record("x", "nowhere.png", "One.")))


def test_memory_that_runs_out_halves_the_batch(
    folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    generator = load(folders("git"), batch_size=8)
    prompts = [prompt_of(picture=i % 3) for i in range(7)]
    texts, original, sizes = generator.generate(prompts), generator.net.generate, []
    room = 2

    def small(**options: Any) -> Any:
        sizes.append(len(options["input_ids"]))
        if sizes[-1] > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(**options)

    monkeypatch.setattr(generator.net, "generate", small)
    with caplog.at_level(logging.WARNING):
        assert generator.generate(prompts) == texts
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert "going on with batch_size 3" in caplog.text
    room = 0
    with pytest.raises(RagvlmError, match="not enough memory"):
        generator.generate(prompts)


@pytest.mark.parametrize(
    ("model", "asked", "words"),
    [
        ("google/paligemma-3b-pt-224", False, "caption en"),
        ("google/paligemma-3b-mix-448", False, "caption en"),
        ("google/paligemma2-10b-pt-896", True, "answer en {question}"),
        ("google/paligemma2-3b-ft-docci-448", False, "caption en"),
        ("google/paligemma-3b-ft-vqav2-224", True, "answer en {question}"),
        ("/home/me/my-tuned-one", False, "caption en"),
    ],
)
def test_the_words_for_paligemma(model: str, asked: bool, words: str) -> None:
    assert task_words(model, asked=asked) == words


def test_tasks(folders: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match="tuned to answer questions"):
        task_words("google/paligemma-3b-ft-vqav2-224", asked=False)
    paligemma = load(folders("paligemma"))
    assert paligemma.dialect.text(prompt_of(text="How {many}?")) == "<image>answer en How {many}?"
    assert load(folders("paligemma"), task="describe en").dialect.text(prompt_of()) == "<image>describe en"
    git = load(folders("git")).dialect
    ids = git.inputs([prompt_of(text="what red cells")])["input_ids"].tolist()
    assert git.processor.tokenizer.convert_ids_to_tokens(ids[0]) == ["[CLS]", "what", "red", "cells"]


def test_a_hub_id_is_downloaded_with_all_that_it_needs(
    folders: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    with serve({"lab/smolvlm": folders("smolvlm")}) as server:
        pattern = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", pattern)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        generator = load_generator("vlm:lab/smolvlm", device="cpu", max_new_tokens=TOKENS)
        asked = len(server.requests)
        again = load_generator(f"vlm:lab/smolvlm@{COMMIT}", device="cpu", max_new_tokens=TOKENS)
        assert len(server.requests) == asked  # from the cache
    assert again.name == f"vlm:lab/smolvlm@{COMMIT}"
    expected = load(folders("smolvlm")).generate([prompt_of()])
    assert generator.generate([prompt_of()]) == again.generate([prompt_of()]) == expected != [""]


REMOTE = """
from transformers import Idefics3Config, Idefics3ForConditionalGeneration

class TinyConfig(Idefics3Config):
    model_type = "tiny-remote"

class TinyModel(Idefics3ForConditionalGeneration):
    config_class = TinyConfig
"""


def test_in_a_process_of_its_own(folders: Callable[[str], Path], altered: Callable[..., Path], tmp_path: Path) -> None:
    """A hub id from the cache, one that is not there, and code of a checkpoint's own; nothing else is printed."""
    commit = "0" * 40
    cache = tmp_path / "hub" / "models--org--tiny-git"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(commit)
    shutil.copytree(folders("git"), cache / "snapshots" / commit)
    own = {"AutoConfig": "tiny.TinyConfig", "AutoModelForImageTextToText": "tiny.TinyModel"}
    remote = altered("smolvlm", model_type="tiny-remote", auto_map=own)
    (remote / "tiny.py").write_text(REMOTE)
    code = (
        "from ragvlm.generators import load_generator; from ragvlm.errors import RagvlmError\n"
        "print(load_generator('vlm:org/tiny-git').name)\n"
        "try: load_generator('smolvlm')\nexcept RagvlmError as error: print(error)\n"
        f"print(type(load_generator('vlm:{remote}', trust_remote_code=True).net).__name__)"
    )
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300)
    assert done.stderr == ""
    name, refusal, maker = done.stdout.splitlines()
    assert name == f"vlm:org/tiny-git@{commit}"
    assert "SmolVLM-256M-Instruct" in refusal
    assert "HF_HUB_OFFLINE is set" in refusal
    assert maker == "TinyModel"
