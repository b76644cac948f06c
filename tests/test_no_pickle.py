"""Nothing is unpickled, evaluated or run: a scan of the whole package, with each exception argued in place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted([*(ROOT / "ragvlm").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py"), ROOT / "cli.py"])
MODULES_REFUSED = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
CALLS_REFUSED = {"eval", "exec", "compile", "__import__"}
METHODS_REFUSED = {"read_pickle", "to_pickle", "unsafe_load", "full_load", "load_checkpoint_and_dispatch"}


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _owner(node: ast.expr) -> str:
    return _name(node.value) if isinstance(node, ast.Attribute) else ""


def _said(call: ast.Call, keyword: str) -> object:
    return next((k.value.value for k in call.keywords if k.arg == keyword and isinstance(k.value, ast.Constant)), None)


def _faults(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.partition(".")[0] for alias in node.names} if isinstance(node, ast.Import) else set()
            names |= {(node.module or "").partition(".")[0]} if isinstance(node, ast.ImportFrom) else set()
            found += [f"line {node.lineno}: imports {name}" for name in names & MODULES_REFUSED]
        if not isinstance(node, ast.Call):
            continue
        name, owner = _name(node.func), _owner(node.func)
        if (isinstance(node.func, ast.Name) and name in CALLS_REFUSED) or name in METHODS_REFUSED:
            found.append(f"line {node.lineno}: calls {name}")
        if name == "load" and owner in ("np", "numpy") and _said(node, "allow_pickle") is not False:
            found.append(f"line {node.lineno}: numpy.load without allow_pickle=False")
        if name == "load" and owner == "torch" and _said(node, "weights_only") is not True:
            found.append(f"line {node.lineno}: torch.load without weights_only=True")
        if name == "load" and owner == "yaml":
            found.append(f"line {node.lineno}: yaml.load; use safe_load")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_unpickled_or_evaluated(path):
    assert _faults(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pd.read_pickle(path)",
        "yaml.load(text)",
    ],
)
def test_the_scan_finds_what_it_looks_for(line):
    assert len(_faults(ast.parse(line))) == 1


def test_the_scan_lets_pass_what_is_safe():
    safe = (
        "np.load(p, allow_pickle=False)\ntorch.load(p, weights_only=True)\nre.compile('x')\nmodel.eval()\njson.load(f)"
    )
    assert _faults(ast.parse(safe)) == []
