"""What every generator must do; the language model is tried where its package is installed."""

from __future__ import annotations

import pytest
from texts import context_of

from ragvlm.errors import InputError
from ragvlm.generators import load_generator
from ragvlm.prompt import build_prompt
from ragvlm.registry import entries
from ragvlm.types import Context, Generator, Query, Record

PRIVATE = Record(
    "SECRET-id", "SECRET/path.png", "One red cell.", "SECRET-subject", "SECRET-study", labels={"stain": "eosin"},
    source="SECRET-source", extra={"note": "SECRET-extra"},
)  # fmt: skip


# vision-language models keep the contract on tiny weights: test_vlm.py
NAMES = sorted(name for name, entry in entries("generators").items() if entry.extra != "vlm")


@pytest.fixture(params=NAMES)
def generator(request: pytest.FixtureRequest) -> Generator:
    if missing := entries("generators")[request.param].missing:
        pytest.skip(f"{request.param}: {missing[0]} is not installed")
    if request.param == "openai":
        return load_generator("openai", base_url=request.getfixturevalue("chat_server").url)
    options = {"max_new_tokens": 24} if request.param in ("smollm2", "smallcap") else {}
    return load_generator(request.param, **options)


def test_contract(generator):
    contexts = [context_of(PRIVATE), Context(Query("empty")), context_of(Record("silent"))]
    texts = generator.generate([build_prompt(context) for context in contexts])
    assert isinstance(generator, Generator)
    assert [bool(text) for text in texts] == [True, False, False]
    assert "red cell" in texts[0] or "eosin" in texts[0]
    assert "SECRET" not in texts[0]
    assert generator.generate([build_prompt(contexts[0])]) == texts[:1]
    assert generator.generate([]) == []


@pytest.mark.parametrize("name", ["consensus", "nearest", "template"])
def test_order_is_kept(name):
    records = [Record(str(i), caption=f"Field {i}.", labels={"field": i}) for i in range(5)]
    texts = load_generator(name).generate([build_prompt(context_of(record)) for record in records])
    assert all(str(i) in text for i, text in enumerate(texts))


def test_unknown_names_and_options_are_told():
    with pytest.raises(InputError, match="choose one of"):
        load_generator("oracle")
    with pytest.raises(InputError, match="'nearest' has no option"):
        load_generator("nearest", temperature=1)
