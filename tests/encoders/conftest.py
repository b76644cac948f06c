"""The encoders that the contract is tried on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragvlm.encoders.embedded import EmbeddedEncoder


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the tests' own: the export runs once a session, and never in the user's cache."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(model_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RAGVLM_CACHE", str(model_cache))
    yield


@pytest.fixture(scope="session")
def embedded(model_cache: Path) -> Iterator[EmbeddedEncoder]:
    """The default encoder, its towers exported."""
    from PIL import Image

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGVLM_CACHE", str(model_cache))
        encoder = EmbeddedEncoder(threads=1)
        encoder.encode_images([Image.new("RGB", (8, 8))])
        encoder.encode_texts(["nuclei"])
        yield encoder


@pytest.fixture(scope="session")
def tiny_openclip() -> object:
    """A model of open_clip."""
    pytest.skip("open_clip isn't installed")
