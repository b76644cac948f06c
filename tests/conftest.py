"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ragvlm.encoders.vision_ops import import_torchvision

ROOT = Path(__file__).resolve().parents[1]
# tests and the processes that they start must not make or use the user's own key
os.environ["RAGVLM_SUBJECT_KEY"] = "the key of the test suite"
# many tests build their checkpoints with open_clip and transformers themselves
import_torchvision()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real pictures that lie beside a checkout (``$RAGVLM_TEST_DATA`` or ../shared/data); skips where absent."""
    path = Path(os.environ.get("RAGVLM_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real data at {path}")
    return path
