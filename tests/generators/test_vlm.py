"""Vision-language models on tiny checkpoints of their true architectures. Mechanics only: random weights babble."""

from __future__ import annotations

import json
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
import tinyvlm
from PIL import Image
from texts import context_of
from tiny import build as build_index
from tiny import make_corpus

from ragvlm.describe import Describer
from ragvlm.encoders import torch_tools
from ragvlm.errors import ImageError, InputError, MissingExtraError, RagvlmError
from ragvlm.generators import load_generator
from ragvlm.generators.tidy import tidy
from ragvlm.generators.vlm_dialects import task_words
from ragvlm.prompt import build_prompt
from ragvlm.types import Generator, Prompt, Query, Record

pytest.importorskip("transformers")

FAMILIES = sorted(tinyvlm.BUILDERS)
CHATS = ["llava", "smolvlm", "smolvlm2"]
PICTURES = [Image.effect_noise(size, 90).convert("RGB") for size in ((100, 70), (70, 100), (60, 60))]
TOKENS = 16


def prompt_of(*captions: str | Record, picture: int = 0, text: str | None = None) -> Prompt:
    context = context_of(*(captions or ("Two red cells [1].", "One white cell.")))
    return build_prompt(replace(context, query=Query("query", PICTURES[picture], text)))


@pytest.fixture(scope="module", autouse=True)
def offline() -> Any:
    import torch
    from huggingface_hub import constants

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # models so small lose time to more
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds the checkpoint of a family once; it ends a text after a few tokens."""
    root = tmp_path_factory.mktemp("vlm")

    def folder_of(family: str) -> Path:
        if family == "smolvlm2":
            pytest.importorskip("num2words")
        # the name says which kind of PaliGemma it is
        folder = root / {"paligemma": "paligemma-3b-mix-224"}.get(family, family)
        if not folder.exists():
            tinyvlm.build(family, folder)
            tinyvlm.give_an_end(folder, new_tokens(load(folder), prompt_of())[1])
        return folder

    return folder_of


@pytest.fixture
def altered(folders: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """Copies the tiny LLaVA with another configuration."""

    def alter(family: str = "llava", **changes: Any) -> Path:
        folder = tmp_path / "altered"
        shutil.copytree(folders(family), folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))
        return folder

    return alter


def load(folder: Path, **options: Any) -> Any:
    return load_generator(f"vlm:{folder}", **{"device": "cpu", "max_new_tokens": TOKENS, **options})


def new_tokens(generator: Any, prompt: Prompt) -> tuple[Any, list[int]]:
    """What goes into the model for ``prompt``, and the tokens that it answers."""
    seen: list[tuple[Any, Any]] = []
    original = generator._net.generate

    def spy(**options: Any) -> Any:
        seen.append((options, original(**options)))
        return seen[-1][1]

    generator._net.generate = spy
    try:
        generator.generate([prompt])
    finally:
        generator._net.generate = original
    options, rows = seen[0]
    start = 0 if generator._reads_apart else options["input_ids"].shape[1]
    return options, rows[0][start:].tolist()


def by_hand(family: str, folder: Path, prompt: Prompt) -> tuple[dict[str, Any], str]:
    """Inputs and text as the documentation of transformers makes them."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    net, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    picture, whole = prompt.images[0], f"{prompt.system}\n\n{prompt.user}"
    if family in CHATS:
        system = [{"role": "system", "content": [{"type": "text", "text": prompt.system}]}]
        words = prompt.user if family == "smolvlm" else whole
        content = [{"type": "image", "image": picture}, {"type": "text", "text": words}]
        inputs = processor.apply_chat_template(
            [*(system if family == "smolvlm" else []), {"role": "user", "content": content}],
            add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
        )  # fmt: skip
    elif family == "git":
        inputs = processor(images=picture, return_tensors="pt")
        inputs["input_ids"] = torch.tensor([[processor.tokenizer.cls_token_id]])
    else:
        words = "<image>caption en" if family == "paligemma" else whole
        inputs = processor(images=picture, text=words, return_tensors="pt")
        inputs.pop("labels", None)
    row = net.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)[0]
    new = row if family == "blip2-t5" else row[inputs["input_ids"].shape[1] :]
    return dict(inputs), processor.tokenizer.decode(new, skip_special_tokens=True)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "smolvlm2"])
def test_inputs_and_text_are_those_of_transformers(family: str, folders: Callable[[str], Path]) -> None:
    import torch

    generator, prompt = load(folders(family)), prompt_of()
    inputs, text = by_hand(family, folders(family), prompt)
    given, tokens = new_tokens(generator, prompt)
    for name, tensor in inputs.items():
        assert torch.equal(given[name], tensor), name
    assert 4 < len(tokens) < TOKENS
    assert generator.generate([prompt]) == [tidy(text.strip(), 2, cut=False)] != [""]


def test_smolvlm2_needs_no_torchvision_for_pictures(folders: Callable[[str], Path]) -> None:
    # the two generations differ in the class of the processor only; the first one is checked against transformers
    import torch

    first, second = folders("smolvlm"), folders("smolvlm2")
    given = [load(folder).dialect.inputs([prompt_of(), prompt_of(picture=1)]) for folder in (first, second)]
    for name in ("input_ids", "attention_mask", "pixel_values"):
        assert torch.equal(given[0][name], given[1][name]), name


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
def test_it_describes_a_real_picture_with_evidence(
    family: str, folders: Callable[[str], Path], tmp_path: Path, shared_data: Path
) -> None:
    picture = sorted((shared_data / "blood-cells").rglob("*.jpg"))[0]
    index = build_index(make_corpus(tmp_path / "corpus"), None)
    options = {"max_new_tokens": TOKENS}
    describer = Describer(index, f"vlm:{folders(family)}", 2, alpha=0, keep_unsupported=True, generator_options=options)
    first, second = describer([picture, picture])
    assert first.text == second.text
    assert first.provenance["generator"] == f"vlm:{folders(family)}"
    assert (
        first.evidence
        or first.reason == f"generator {describer.generator.name!r} found nothing to say from the references"
    )
    checked = Describer(index, describer.generator, 2, alpha=0)(picture)
    assert checked.abstained or all(evidence.supported for evidence in checked.evidence)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_numbers(family: str, folders: Callable[[str], Path]) -> None:
    import torch

    generator = load(folders(family), dtype="bfloat16")
    given, _ = new_tokens(generator, prompt_of())
    assert given["pixel_values"].dtype == generator._net.dtype == torch.bfloat16


@pytest.mark.parametrize("family", ["smolvlm", "blip2-t5"])
def test_it_survives_save_and_reload(family: str, altered: Callable[..., Path]) -> None:
    folder = altered(family)
    generator = load(folder)
    text = generator.generate([prompt_of()])
    (folder / "model.safetensors").unlink()
    generator._net.save_pretrained(folder)
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
    texts, original, sizes = generator.generate(prompts), generator._net.generate, []
    room = 2

    def small(**options: Any) -> Any:
        sizes.append(len(options["input_ids"]))
        if sizes[-1] > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(**options)

    monkeypatch.setattr(generator._net, "generate", small)
    with caplog.at_level(logging.WARNING):
        assert generator.generate(prompts) == texts
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert "going on with batch_size 3" in caplog.text
    room = 0
    with pytest.raises(RagvlmError, match="not enough memory"):
        generator.generate(prompts)


def test_too_little_memory_is_told_before_loading(
    folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_tools, "free_memory", lambda device: 1000)
    with pytest.raises(RagvlmError, match=r"needs .* GB on cpu, which has 0.0 GB free"):
        load(folders("llava"))


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


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"neighbour_images": -1}, "neighbour_images is -1"),
        ({"device": "gpu please"}, "device 'gpu please'"),
        ({"dtype": "int3"}, "dtype 'int3'"),
        ({"neighbour_images": 1}, "reads one picture at a time"),
    ],
)
def test_bad_options(options: dict[str, Any], expected: str, folders: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match=expected):
        load(folders("git"), **options)


def test_bad_prompts(folders: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match="'query' has no picture"):
        load(folders("git")).generate([build_prompt(replace(context_of("One."), query=Query("query", text="cells")))])
    with pytest.raises(InputError, match=r"holds 4096 tokens, .*fewer references"):
        load(folders("llava"), max_new_tokens=4000).generate([prompt_of()])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model_type": "bert"}, "is a 'bert' model, not one that reads pictures"),
        ({"model_type": "moondream1"}, "has no model 'moondream1': upgrade"),
        (
            {"model_type": "moondream1", "auto_map": {"AutoModelForImageTextToText": "code.Model"}},
            "brings Python code of its own.*trust_remote_code",
        ),
    ],
)
def test_models_of_another_kind_are_refused(
    changes: dict[str, Any], expected: str, altered: Callable[..., Path]
) -> None:
    with pytest.raises(InputError, match=expected):
        load(altered(**changes))


def test_incomplete_checkpoints_are_one_line(altered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = altered()
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "mlp" in name)
    save_file({n: t for n, t in weights.items() if n != name}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RagvlmError, match=r"its weights lack [^\n]+: give a complete checkpoint$"):
        load(folder)
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(RagvlmError, match=r"holds no model.safetensors \(only pickled"):
        load(folder)
    shutil.copy(folder / "config.json", folder / "model.safetensors")
    with pytest.raises(RagvlmError, match=r"can't be loaded \([^\n]+\): give a complete checkpoint$"):
        load(folder)


def test_without_a_chat_template_a_new_family_is_refused(altered: Callable[..., Path]) -> None:
    folder = altered()
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="'llava' model without a chat template"):
        load(folder)


def test_a_missing_package_gives_the_command(folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.smolvlm import processing_smolvlm

    folder = folders("smolvlm2")
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    with pytest.raises(MissingExtraError, match=r'num2words.*pip install "ragvlm\[vlm\]"'):
        load(folder)


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
        f"print(type(load_generator('vlm:{remote}', trust_remote_code=True)._net).__name__)"
    )
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300)
    assert done.stderr == ""
    name, refusal, maker = done.stdout.splitlines()
    assert name == "vlm:org/tiny-git"
    assert "SmolVLM-256M-Instruct" in refusal
    assert "HF_HUB_OFFLINE is set" in refusal
    assert maker == "TinyModel"
