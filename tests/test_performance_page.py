"""docs/performance.md says what the committed results say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("page", ROOT / "benchmarks" / "page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_of_the_committed_results():
    maker = load()
    assert maker.page(maker.results()) == (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


def test_a_drawing_is_the_same_for_the_same_numbers(tmp_path):
    maker = load()
    rows = maker.results()["growth"]["rows"]
    for name in ("a.svg", "b.svg"):
        maker.draw(rows, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
