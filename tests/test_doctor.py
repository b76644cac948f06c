"""What is missing is named, with the command that brings it."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tiny import build, make_corpus

from ragvlm import doctor
from ragvlm.doctor import examine

REQUIRES = [
    "numpy>=2.0",
    'absent-package>=1.0; extra == "far"',
    'numpy>=1.0; extra == "near"',
    'numpy>=99; extra == "newer"',
    'ragvlm[far,near]; extra == "both"',
]


@pytest.fixture
def _asks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Metadata:
        def get_all(self, name: str) -> list[str]:
            return ["far", "near", "newer", "both", "all"]

    monkeypatch.setattr(importlib.metadata, "requires", lambda name: REQUIRES)
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: Metadata())


@pytest.mark.usefixtures("_asks")
def test_extras_are_followed_and_what_is_missing_named() -> None:
    parts = {part.extra: part for part in examine().parts}
    assert list(parts) == ["", "both", "far", "near", "newer"]
    assert [package.name for package in parts[""].packages] == ["numpy"]
    assert [package.name for package in parts["both"].packages] == ["absent-package", "numpy"]
    assert [package.told for package in parts["far"].lacking] == ["is not installed"]
    assert parts["far"].command == 'pip install "ragvlm[far]"'
    assert not parts["near"].lacking
    (old,) = parts["newer"].lacking
    assert old.told == f"{importlib.metadata.version('numpy')} is installed, but >=99 is needed"


@pytest.mark.usefixtures("_asks")
def test_what_ragvlm_itself_needs_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["absent-package>=1"])
    assert "absent-package is not installed: pip install --upgrade ragvlm" in examine().findings


def test_this_installation_is_told_as_pip_knows_it() -> None:
    needed = {Requirement(line).name for line in importlib.metadata.requires("ragvlm") or [] if "extra" not in line}
    assert {package.name for package in examine().parts[0].packages} == needed


def test_an_index_is_looked_at(tmp_path: Path) -> None:
    build(make_corpus(tmp_path / "c", 4), tmp_path / "i")
    assert any("unknown encoder 'colour'" in line for line in examine(tmp_path / "i").findings)
    assert any(str(tmp_path / "none") in line for line in examine(tmp_path / "none").findings)


def test_a_cache_without_room_or_right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RAGVLM_CACHE", str(tmp_path / "file"))
    assert any("set RAGVLM_CACHE" in line for line in examine().findings)
    monkeypatch.setenv("RAGVLM_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor, "LEAST_FREE", 1e9)
    assert any("GB are free there" in line for line in examine().findings)


def test_the_command_tells_names_of_settings_not_values(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "ragvlm", "doctor", "--json"]
    env = {
        "RAGVLM_API_KEY": "a secret",
        "RAGVLM_CACHE": str(tmp_path),
        "PYTHONPATH": ":".join(sys.path),
        "PATH": "/usr/bin",
    }
    done = subprocess.run(call, env=env, capture_output=True, text=True, check=False)
    assert "a secret" not in done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert done.returncode == (1 if told["findings"] else 0)
    assert told["machine"]["settings"] == ["RAGVLM_API_KEY", "RAGVLM_CACHE"]
    assert {part["extra"] for part in told["parts"]} >= {"", "embedded", "smollm2"}
    wrong = subprocess.run([*call, "--index", str(tmp_path / "none")], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert str(tmp_path / "none") in json.loads(wrong.stdout)["findings"][-1]
