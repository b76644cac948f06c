"""Data flows one way: a module imports only what stands above it in this list."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ragvlm"
ORDER = re.findall(
    r"\w+",
    """
    __init__ types results errors filters paths braces remote privacy phi pseudonym registry pixels tiff jpeg streams
    hidden burnedin locator microscopy slides formats images notebook readers corpus simulate
    encoders labelsets stores index queries duplicates fusion
    modalities searching slices retrieve abstain
    language templates prompt generators writing evidence threshold calibration regions describe
    manypictures classifiers tasks assistant
    measures statistics weights evaluation tuning
    langchain service config doctor agreement catalogue modelpage report terminal taskterminal arguments output commands
    cli __main__
    """,
)
MODULES = sorted(PACKAGE.rglob("*.py"))


def _home(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """Top-level ragvlm modules that ``path`` imports when it is imported; local and typing-only imports are free."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module == "ragvlm":
            names |= {f"ragvlm.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[1] for name in names if name.startswith("ragvlm.")} - {"__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_what_stands_above_it(path: Path) -> None:
    home = _home(path.relative_to(PACKAGE).parts)
    wrong = {name for name in _imports(path) if name != home and ORDER.index(name) > ORDER.index(home)}
    assert not wrong, f"{home} imports {wrong}, which stand below it"


def test_every_module_has_its_place() -> None:
    assert {_home(path.relative_to(PACKAGE).parts) for path in MODULES} == set(ORDER)


def test_files_stay_short() -> None:
    long = {path.name: n for path in MODULES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 300}
    assert not long
