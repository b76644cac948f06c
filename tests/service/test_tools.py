"""Search, describe and ask as tools: in this process, and as a program starts them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from tiny import build, make_corpus

import ragvlm as rv
from ragvlm.assistant import Assistant
from ragvlm.errors import InputError
from ragvlm.service.tools import mcp_server

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server(tmp_path: Path) -> Any:
    index = build(make_corpus(tmp_path / "c", 12), tmp_path / "i", calibrate=True)
    (tmp_path / "secret.png").write_bytes((tmp_path / "c" / "p00.png").read_bytes())
    (tmp_path / "c" / "link.png").symlink_to(tmp_path / "secret.png")
    return mcp_server(Assistant(index, alpha=0), tmp_path / "c")


async def call(server: Any, name: str, **arguments: Any) -> tuple[bool, Any]:
    async with Client(server) as client:
        told = await client.call_tool(name, arguments)
    text = told.content[0].text
    return bool(told.is_error), text if told.is_error else json.loads(text)


async def test_the_tools_say_what_they_do(server: Any) -> None:
    async with Client(server) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"search", "describe", "ask"}
    assert all(tool.description for tool in tools.values())


async def test_they_answer_as_the_commands_do(server: Any) -> None:
    assert [hit["id"] for hit in (await call(server, "search", text="a blue square", k=1))[1]["hits"]] == ["a02"]
    assert (await call(server, "search", picture="p01.png", k=1))[1]["hits"][0]["id"] == "a01"
    failed, found = await call(server, "describe", picture="p00.png", subject_id="s0")
    assert not failed
    assert found["image"] == "p00.png"
    assert "square" in found["text"]
    assert not {"a00", "a01"} & {hit["id"] for hit in found["neighbours"]}
    assert (await call(server, "ask", picture="p00.png", question="Is it red or blue?"))[1]["answer"] == "red"


@pytest.mark.parametrize("picture", ["../secret.png", "/etc/passwd", "link.png"])
async def test_nothing_outside_the_folder_is_read(server: Any, picture: str) -> None:
    for name, more in (("search", {}), ("describe", {}), ("ask", {"question": "what?"})):
        failed, text = await call(server, name, picture=picture, **more)
        assert failed
        assert "lies outside the folder of pictures" in text


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("search", {}, "give words as text, or a path as picture"),
        ("search", {"text": "red", "picture": "p00.png"}, "give words as text, or a path"),
        ("describe", {"picture": "absent.png"}, "No such file"),
        ("ask", {"picture": "p00.png", "question": " "}, "question"),
    ],
)
async def test_what_is_wrong_is_told(server: Any, name: str, arguments: dict[str, Any], says: str) -> None:
    failed, text = await call(server, name, **arguments)
    assert failed
    assert says in text


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder of pictures"):
        mcp_server(None, tmp_path / "none")  # type: ignore[arg-type]


async def test_a_program_starts_it(tmp_path: Path) -> None:
    rv.simulate_corpus(tmp_path / "corpus", 12, 0, kinds=["blood_smear", "dna_nuclei"])
    rv.Index.build(rv.Corpus.load(tmp_path / "corpus"), tmp_path / "index")
    images = tmp_path / "corpus" / "images"
    arguments = [str(ROOT / "cli.py"), "mcp", "-i", str(tmp_path / "index"), "--pictures", str(images)]
    failed, found = await call(
        StdioServerParameters(command=sys.executable, args=arguments),
        "describe",
        picture=sorted(images.iterdir())[0].name,
    )
    assert not failed
    assert found["evidence"]
