"""Tiny checkpoints for classifiers, built once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds a family's classifier once."""
    from tinyclassifiers import build

    root = tmp_path_factory.mktemp("classifiers")
    return lambda family: root / family if (root / family).is_dir() else build(family, root / family)


@pytest.fixture(scope="session")
def dual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family -> folder of a tiny dual encoder."""
    pytest.importorskip("sentencepiece")
    from checkpoints import BUILDERS

    root = tmp_path_factory.mktemp("dual")
    return {family: BUILDERS[family](root / family) for family in ("clip", "siglip")}


@pytest.fixture(scope="session")
def pictures(shared_data: Path) -> list[Image.Image]:
    """Real ones, of several shapes."""
    smears = sorted((shared_data / "blood-cells").rglob("*.jpg"))[:2]
    found = [Image.open(path).convert("RGB") for path in smears]
    return [*found, found[0].crop((0, 0, 640, 90))]
