"""A torchvision whose compiled operators don't fit the torch beside it: in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# a package that, like torchvision, describes to torch an operator that its missing library should have declared
FAKE = """
import torch
import torchvision.part
torch.library.register_fake("torchvision::{name}")(lambda dets, scores, iou_threshold: dets)
"""
CALL = """
import sys
from ragvlm.encoders.vision_ops import import_torchvision
{before}
import_torchvision()
assert "torchvision" in sys.modules
import torchvision.part
"""


@pytest.fixture
def mismatched(tmp_path: Path) -> Path:
    folder = tmp_path / "torchvision"
    folder.mkdir()
    (folder / "__init__.py").write_text("".join(FAKE.format(name=name) for name in ("an_op", "another_op")))
    (folder / "part.py").touch()
    return tmp_path


@pytest.mark.parametrize("before", ["", "try:\n    import torchvision\nexcept RuntimeError:\n    pass"])
def test_it_is_imported_also_after_a_failed_import(mismatched: Path, before: str) -> None:
    code = f"import sys; sys.path.insert(0, {str(mismatched)!r}){CALL.format(before=before)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_the_declaration_the_import_fails(mismatched: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(mismatched)!r}); import torchvision"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "operator torchvision::an_op does not exist" in done.stderr
