"""Defaults from a file and from the environment; what is given on the command line wins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ragvlm.config import VARIABLE, Taken, config_file, defaults
from ragvlm.errors import InputError

COMMANDS = {
    ("search",): {"index": Taken("index_dir", False), "k": Taken("k", False), "where": Taken("where", True)},
    ("models", "check"): {"index": Taken("index", False), "trust-remote-code": Taken("trust_remote_code", False)},
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)


def write(text: str) -> None:
    Path("ragvlm.toml").write_text(text, encoding="utf-8")


def test_without_a_file_nothing_is_set() -> None:
    assert config_file() is None
    assert defaults(COMMANDS) == {}


def test_a_table_wins_over_what_stands_above_it_and_the_environment_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    write('index = "a"\n[search]\nindex = "b"\nwhere = ["x=1"]\n[models.check]\n')
    assert defaults(COMMANDS) == {
        "search": {"index_dir": "b", "where": ["x=1"]},
        "models": {"check": {"index": "a"}},
    }
    monkeypatch.setenv("RAGVLM_SEARCH_INDEX", "c")
    monkeypatch.setenv("RAGVLM_SEARCH_WHERE", "y=2")
    monkeypatch.setenv("RAGVLM_MODELS_CHECK_TRUST_REMOTE_CODE", "1")
    assert defaults(COMMANDS) == {
        "search": {"index_dir": "c", "where": ["y=2"]},
        "models": {"check": {"index": "a", "trust_remote_code": "1"}},
    }


def test_the_nearest_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "settings" / "ragvlm" / "ragvlm.toml"
    own.parent.mkdir(parents=True)
    own.write_text("k = 1\n")
    assert config_file() == own
    write("k = 2\n")
    assert defaults(COMMANDS)["search"] == {"k": 2}
    monkeypatch.setenv(VARIABLE, str(own))
    assert defaults(COMMANDS)["search"] == {"k": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("k = ", r"ragvlm\.toml: is not TOML: "),
        ("[serch]\nk = 1", r"\[serch\] is no command: choose among models\.check, search"),
        ("[search]\ndepth = 1", r"search\.depth is no option: choose among index, k, where"),
        ("depth = 1", r"depth is no option: choose among index, k, trust-remote-code, where"),
        ("trust_remote_code = true", r"can't be set by a file: give --trust-remote-code on the command line"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, says: str) -> None:
    write(text)
    with pytest.raises(InputError, match=says):
        defaults(COMMANDS)


def test_a_variable_that_names_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "absent.toml")
    with pytest.raises(InputError, match=r"RAGVLM_CONFIG is absent\.toml: there is no such file"):
        config_file()


def test_the_program_reads_them(tmp_path: Path) -> None:
    def told(*arguments: str, **variables: str) -> tuple[int, str]:
        env = os.environ | variables
        done = subprocess.run(
            [sys.executable, "-m", "ragvlm", *arguments], env=env, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    write('index = "from-the-file"\n[search]\nk = 3\n')
    assert "from-the-file is not an index" in told("search", "red")[1]
    assert "from-there is not an index" in told("search", "red", RAGVLM_SEARCH_INDEX="from-there")[1]
    assert "by-hand is not an index" in told("search", "red", "--index", "by-hand", RAGVLM_SEARCH_INDEX="x")[1]
    code, said = told("search", "red", RAGVLM_SEARCH_K="many")
    assert code == 2
    assert "'-k'" in said
    write("[search]\nkk = 3\n")
    code, said = told("search", "red")
    assert (code, said.count("\n")) == (2, 1)
    assert told("--help")[0] == 0  # help comes first
