from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from ragvlm import registry
from ragvlm.errors import InputError, MissingExtraError, require

KINDS = ("encoders", "generators", "classifiers", "stores")


@pytest.mark.parametrize("kind", KINDS)
def test_every_usable_entry_loads_and_bears_its_name(kind: str) -> None:
    for entry in registry.entries(kind).values():
        assert entry.summary
        if not entry.missing:
            assert isinstance(entry.load(), type)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown generator 'gpt': choose one of consensus, nearest"):
        registry.find("generators", "gpt")


def test_a_missing_package_is_an_error_with_the_pip_command() -> None:
    entry = registry.Entry("encoders", "x", "no.module:X", extra="openclip", modules=("no_such_module_at_all",))
    assert entry.command == 'pip install "ragvlm[openclip]"'
    with pytest.raises(MissingExtraError, match=r'pip install "ragvlm\[openclip\]"'):
        entry.load()
    with pytest.raises(MissingExtraError, match=r"ragvlm\[datasets\]"):
        require("no_such_module_at_all", "datasets")


def rows() -> list[registry.Entry]:
    return [entry for kind in KINDS for entry in registry.entries(kind).values()]


@pytest.mark.parametrize("entry", rows(), ids=lambda e: f"{e.kind}-{e.name}")
def test_a_row_holds_together(entry: registry.Entry) -> None:
    assert not entry.revision or (entry.hub_id and re.fullmatch(r"[0-9a-f]{40}", entry.revision))
    assert entry.run in {"", "tiny", "real", "stand-in"}
    assert not entry.hub_id or (entry.run in {"tiny", "stand-in"} and entry.use and entry.limits)  # no hub in reach
    assert not entry.gated or entry.hub_id
    assert not entry.modules or entry.extra in extras()
    arguments = inspect.signature(entry.load()).parameters if not entry.missing else entry.arguments
    assert set(entry.arguments) <= set(arguments)


def extras() -> set[str]:
    table = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    return set(table["project"]["optional-dependencies"])


def test_a_checkpoint_is_pinned_by_its_row_and_overridden_by_the_caller() -> None:
    entry = registry.Entry("encoders", "x", "m:X", hub_id="lab/clip", revision="c" * 40, scheme="hf-hub:")
    assert entry.model == f"hf-hub:lab/clip@{'c' * 40}"
    assert entry.arguments == {"model": entry.model}
    assert registry.Entry("encoders", "y", "m:Y", options={"k": 1}).arguments == {"k": 1}


class Plugged:
    def __init__(
        self, *, n: int = 1, x: float = 1, trust: bool = False, name: str | None = None, rest: object = 0
    ) -> None:
        self.given = (n, x, trust, name, rest)


WRONG = [
    ("n", "many", "a whole number, not 'many'"),
    ("n", 2.5, "a whole number, not 2.5"),
    ("n", True, "a whole number, not True"),
    ("x", "far", "a number, not 'far'"),
    ("trust", "False", "true or false, not 'False'"),
    ("trust", 1, "true or false, not 1"),
    ("name", 100000.0, r"words \(.*\), not 100000.0"),
    ("n", None, "a whole number, not None"),
]


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.Entry("encoders", "plugged", f"{__name__}:Plugged")
    monkeypatch.setattr(registry, "find", lambda kind, name: entry)


@pytest.mark.parametrize(("option", "value", "told"), WRONG)
def test_a_value_of_another_type_is_refused(plugged: None, option: str, value: object, told: str) -> None:
    with pytest.raises(InputError, match=rf"^encoder 'plugged': option {option!r} takes {told}$"):
        registry.create("encoders", "plugged", {option: value})


def test_a_value_of_the_type_is_taken(plugged: None) -> None:
    options = {"n": np.int64(3), "x": 2, "trust": True, "name": None, "rest": [1]}
    assert registry.create("encoders", "plugged", options).given == (3, 2, True, None, [1])
