"""``ragvlm ask`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli import run
from typer.testing import CliRunner

from ragvlm.cli import app
from ragvlm.index import Index
from ragvlm.simulate import simulate_corpus


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An index of simulated smears, and a picture."""
    root = tmp_path_factory.mktemp("ask")
    simulate_corpus(root / "corpus", n=8, seed=0, kinds=["blood_smear"])
    Index.build(root / "corpus", root / "index")
    return root / "index", next((root / "corpus" / "images").iterdir())


def test_a_question_is_answered_from_captions(demo: tuple[Path, Path]) -> None:
    index, picture = demo
    done = run("ask", picture, "Are there red blood cells?", "-i", index, "--json", "--alpha", "0")
    found = json.loads(done.stdout)
    assert (found["answer"], found["options"], found["abstained"]) == ("yes", ["yes", "no"], False)
    assert found["evidence"][0]["record_ids"]
    assert found["confidence"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("What colour?", "--options", "plaid,tartan", "--alpha", "0"), "Abstained: no reference that may be used"),
        (("Are there red blood cells?", "--alpha", "0"), "confidence 1.00"),
        (("Are there red blood cells?", "--alpha", "0", "-g", "consensus,nearest", "--combine", "vote"), "yes"),
    ],
)
def test_a_person_reads_the_answer(demo: tuple[Path, Path], arguments: tuple[str, ...], words: str) -> None:
    index, picture = demo
    done = CliRunner().invoke(app, ["ask", str(picture), *arguments, "-i", str(index)])
    assert done.exit_code == 0, done.output
    assert words in done.stdout


@pytest.mark.parametrize(
    ("question", "arguments", "words"),
    [
        (" ", (), "the question is empty"),
        ("q", ("--options", "yes"), "give two or more different answers"),
        ("q", ("-g", "template"), "hears no question"),
        ("q", ("-g", "nearest", "--samples", "3"), "always writes the same"),
        ("q", ("-g", "consensus,nearest", "--combine", "mean"), "combine 'mean' is unknown"),
    ],
)
def test_what_cannot_be_asked_is_told(
    demo: tuple[Path, Path], question: str, arguments: tuple[str, ...], words: str
) -> None:
    index, picture = demo
    done = CliRunner().invoke(app, ["ask", str(picture), question, "-i", str(index), *arguments])
    assert words in str(done.exception)
