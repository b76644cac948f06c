"""Tiny checkpoints, each built once."""

from __future__ import annotations

import pytest
import tinytuning


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    root = tmp_path_factory.mktemp("tinyvlm")
    return lambda family: tinytuning.checkpoint(family, root)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return tinytuning.squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="session")
def asked(tmp_path_factory):
    return tinytuning.squares(tmp_path_factory.mktemp("asked"), questions=True)
