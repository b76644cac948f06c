"""What the package promises as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ragvlm

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "transformers", "onnxruntime", "faiss", "pyarrow", "scipy", "skimage", "numpy", "rich"}


def _modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_import_loads_nothing_heavy() -> None:
    assert not HEAVY & _modules_after("import ragvlm")


def test_nothing_is_told_to_the_maker_of_onnx_runtime(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    env = {name: text for name, text in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    code = "import ragvlm, onnxruntime; onnxruntime.SessionOptions()"
    subprocess.run([sys.executable, "-c", code], env=env | {"HOME": str(tmp_path)}, check=True)
    assert [path.name for path in tmp_path.rglob("*")] == []


def test_the_command_line_loads_nothing_heavy() -> None:
    assert not HEAVY & _modules_after("import ragvlm.cli")


def test_public_names_exist() -> None:
    assert all(getattr(ragvlm, name) is not None for name in ragvlm.__all__)
    assert set(ragvlm.__all__) <= set(dir(ragvlm))


def test_no_extra_brings_both_faiss_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]

    def packages(name: str) -> set[str]:
        found: set[str] = set()
        for item in extras[name]:
            if item.startswith("ragvlm["):
                for other in item[7:-1].split(","):
                    found |= packages(other)
            else:
                found.add(item.split(">")[0])
        return found

    for name in extras:
        assert len(packages(name) & {"faiss-cpu", "faiss-gpu-cu12"}) < 2, name
