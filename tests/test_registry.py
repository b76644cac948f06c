from __future__ import annotations

import pytest

from ragvlm import registry
from ragvlm.errors import InputError, MissingExtraError, require

KINDS = ("encoders", "generators", "stores")


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
