"""Moondream 2 by a stand-in for its code (tinymoondream.py): loading, asking, refusing."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tinymoondream
from hubserver import COMMIT, serve
from vlmtools import prompt_of

import ragvlm as rv
from ragvlm.errors import InputError, RagvlmError
from ragvlm.generators import load_generator
from ragvlm.registry import find
from ragvlm.types import Generator, Record

pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(scope="module", autouse=True)
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A checkpoint's code is copied here, not into the user's cache."""
    from transformers import dynamic_module_utils

    cache = tmp_path_factory.mktemp("modules")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
            patch.delitem(sys.modules, name)
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(cache))
        patch.syspath_prepend(str(cache))
        yield
        for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinymoondream.build(tmp_path_factory.mktemp("moondream") / "moondream")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def load(folder: Path, **options: Any) -> Any:
    return load_generator(f"moondream:{folder}", **{"device": "cpu", "trust_remote_code": True, **options})


def test_transformers_itself_cannot_load_such_code(folder: Path) -> None:
    # the reason for a loader of our own; should this ever pass, the loader may go
    from transformers import AutoModelForCausalLM

    with pytest.raises(AttributeError, match="all_tied_weights_keys"):
        AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)


def test_the_code_is_asked_as_documented(folder: Path) -> None:
    import torch

    generator = load(folder, max_new_tokens=7)
    assert generator._net.dtype == torch.bfloat16
    assert not generator._net.training
    assert generator._net.model.place.tolist() == [n / 16 for n in range(16)]  # not saved, so made by the code
    caption, answer = generator.generate([prompt_of(), prompt_of(text="how many?")])
    assert generator._net.model.asked == [{"temperature": 0, "max_tokens": 7}] * 2
    seen = generator._net.encode_image(prompt_of().images[0])
    assert caption == generator._net.caption(seen, settings={"max_tokens": 7})["caption"].strip() != ""
    assert answer == generator._net.query(seen, "how many?", settings={"max_tokens": 7})["answer"] != caption
    assert len(load(folder, length="long").generate([prompt_of()])[0].split()) == 9
    assert len(load(folder, length="long", max_new_tokens=2).generate([prompt_of()])[0].split()) == 2


def test_contract(folder: Path) -> None:
    generator = load(folder)
    prompts = [prompt_of(), prompt_of(Record("silent")), prompt_of(picture=1), prompt_of(text="red?")]
    texts = generator.generate(prompts)
    assert isinstance(generator, Generator)
    assert generator.generate([]) == []
    assert texts[1] == ""
    assert texts == [generator.generate([prompt])[0] for prompt in prompts]
    assert len(set(texts)) > 2
    assert load_generator(generator.name, trust_remote_code=True).generate(prompts) == texts
    row = find("generators", "moondream")
    assert row.arguments == {"model": f"vikhyatk/moondream2@{row.revision}"}


def test_a_sentence_that_is_cut_is_left_out_behind_a_whole_one(folder: Path) -> None:
    generator = load(folder)
    for text, kept in (
        ("Two red cells. A white", "Two red cells."),
        ("Two red cells. A white one.", "Two red cells. A white one."),
        ("2", "2"),
        ("A pale field", "A pale field"),
    ):
        generator._net.model.__dict__["caption"] = lambda *_, said=text, **__: {"caption": said}
        assert generator.generate([prompt_of()]) == [kept]


def test_it_describes_a_real_picture_with_evidence(folder: Path, blood: rv.Index, shared_data: Path) -> None:
    picture = shared_data / "blood-cells" / "images" / "BloodImage_00020.jpg"
    options = {"trust_remote_code": True}
    describer = rv.Describer(blood, f"moondream:{folder}", 3, alpha=0, keep_unsupported=True, generator_options=options)
    found = describer(picture)
    assert found.evidence
    assert found.provenance["generator"] == f"moondream:{folder}"
    assert describer(picture, question="how many red cells?").text != found.text
    strict = rv.Describer(blood, describer.generator, 3, alpha=0)(picture)
    assert strict.abstained or all(evidence.supported for evidence in strict.evidence)


def test_without_the_flag_nothing_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragvlm.encoders.hub.checkpoint", lambda *_, **__: pytest.fail("loaded"))
    flag = r"read its \.py files \(%s\), then give trust_remote_code=True"
    with pytest.raises(InputError, match=flag % folder):
        load(folder, trust_remote_code=False)
    page = "https://huggingface.co/vikhyatk/moondream2/tree/9a7d4024050840e001defacec2b00727e89149e6"
    with pytest.raises(InputError, match=flag % page):
        load_generator("moondream")


def test_code_that_an_earlier_download_left_out_is_fetched(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub import constants

    with serve({"lab/moon": folder}) as server:
        pattern = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", pattern)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        half = Path(huggingface_hub.snapshot_download("lab/moon", allow_patterns=["*.json", "*.safetensors"]))
        assert not list(half.glob("*.py"))
        generator = load_generator("moondream:lab/moon", device="cpu", trust_remote_code=True)
    assert generator.name == f"moondream:lab/moon@{COMMIT}"
    assert generator.generate([prompt_of()]) == load(folder).generate([prompt_of()])


@pytest.mark.parametrize(
    ("options", "expected"), [({"length": "huge"}, "length 'huge'"), ({"max_new_tokens": 0}, "max_new_tokens is 0")]
)
def test_bad_options(options: dict[str, Any], expected: str, folder: Path) -> None:
    with pytest.raises(InputError, match=expected):
        load(folder, **options)


def test_what_is_refused(folder: Path, copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(RagvlmError, match=r"its own code failed \(no such skill\): try another revision$"):
        load(folder).generate([prompt_of(text="fail")])
    weights = load_file(copy / "model.safetensors")
    save_file({n: t for n, t in weights.items() if "head.bias" not in n}, copy / "model.safetensors")
    with pytest.raises(RagvlmError, match=r"its weights lack model\.head\.bias: give a complete checkpoint$"):
        load(copy)
    (copy / "inner.py").write_text("import a_package_that_is_absent")
    with pytest.raises(RagvlmError, match=r"a_package_that_is_absent[^\n]*install that package$"):
        load(copy)
    (copy / "hf_moondream.py").unlink()
    with pytest.raises(RagvlmError, match=r"holds no hf_moondream\.py"):
        load(copy)


def test_code_from_another_repository_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    named = config["auto_map"] | {"AutoTokenizer": ["hf_moondream.Words", None], "AutoProcessor": "lab/other--x.Eyes"}
    (copy / "config.json").write_text(json.dumps(config | {"auto_map": named}))
    assert load(copy).generate([prompt_of()])
    elsewhere = {"auto_map": {"AutoModelForCausalLM": "lab/other--hf_moondream.HfMoondream"}}
    (copy / "config.json").write_text(json.dumps(config | elsewhere))
    with pytest.raises(InputError, match="doesn't bring the code of its model"):
        load(copy)
