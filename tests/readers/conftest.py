"""Folders of small pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pictures import draw


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.png, b.png and deep/c.png."""
    draw(tmp_path / "a.png", tmp_path / "b.png", tmp_path / "deep" / "c.png")
    return tmp_path


@pytest.fixture
def metadata(folder: Path) -> Callable[..., Path]:
    """Write metadata.jsonl of the given rows into ``folder``; returns the folder."""

    def write(*rows: Mapping[str, Any]) -> Path:
        (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return folder

    return write
