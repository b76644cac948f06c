"""Templates with vision-language models: where pictures stand, two turns, and what one picture a prompt forbids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from texts import context_of
from tiny import build as build_index
from tiny import make_corpus
from vlmtools import PICTURES, TOKENS, load

from ragvlm.describe import Describer
from ragvlm.errors import InputError
from ragvlm.templates import template_names
from ragvlm.types import Context, Query, Record
from ragvlm.writing import Writer, Written

pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("offline")

SHADES = [Image.new("RGB", (64, 64), (80 * shade, 0, 0)) for shade in range(2)]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Two references with pictures, one without between them."""
    paths = [tmp_path / f"{n}.png" for n in range(2)]
    for shade, path in zip(SHADES, paths, strict=True):
        shade.save(path)
    records = [Record("a", str(paths[0]), "One."), Record("b", caption="Two."), Record("c", str(paths[1]), "Three.")]
    return replace(context_of(*records), query=Query("query", PICTURES[0]))


@pytest.mark.parametrize("family", ["smolvlm", "llava"])
def test_each_neighbours_picture_stands_before_its_caption(
    family: str, folders: Callable[[str], Path], context: Context
) -> None:
    generator = load(folders(family), neighbour_images=1)  # the template decides
    written = Writer(generator, "few-shot-pictures").first_turn([context, context])
    prompt, dialect = written[0].prompts[0], generator.dialect
    pictures = dialect.pictures(prompt)
    assert [picture.getpixel((0, 0)) for picture in pictures[:2]] == [(0, 0, 0), (80, 0, 0)]
    assert pictures[2].tobytes() == PICTURES[0].tobytes()
    told = dialect.text(prompt).replace("<image>\n", "<image>")
    system, first, rest, last = told.split("<image>")
    assert prompt.system in system
    assert first == 'Image [1] -> "One."\nImage [2] -> "Two."\n'
    assert rest == 'Image [3] -> "Three."\n'
    assert last.startswith("New image, described")
    assert len(dialect.inputs([prompt])["pixel_values"].flatten(0, -4)) >= 3
    assert written[0].text == written[1].text


def test_an_unplaced_new_picture_comes_first(folders: Callable[[str], Path], context: Context, tmp_path: Path) -> None:
    own = tmp_path / "own.jinja"
    own.write_text(
        "{% block system %}S{% endblock %}{% block user %}"
        "{% for r in references %}{{ r.picture }}{{ r.text }}{% endfor %}{% endblock %}"
    )
    generator = load(folders("smolvlm"))
    prompt = Writer(generator, str(own)).first_turn([context])[0].prompts[0]
    assert "User:<image><image>One.Two.<image>Three.<" in generator.dialect.text(prompt)
    assert generator.dialect.pictures(prompt)[0].tobytes() == PICTURES[0].tobytes()


@pytest.mark.parametrize("family", ["blip2-t5", "paligemma", "git"])
def test_one_picture_at_a_time_is_one_clear_line(family: str, folders: Callable[[str], Path]) -> None:
    generator = load(folders(family))
    with pytest.raises(InputError, match=r"takes one picture|reads no prompt") as told:
        Writer(generator, "few-shot-pictures")
    assert "\n" not in str(told.value)
    if generator.reads == "question":
        with pytest.raises(InputError, match="reads no prompt"):
            Writer(generator, "findings-impression")


@pytest.mark.parametrize("template", template_names())
def test_every_template_describes_a_real_picture(
    template: str, folders: Callable[[str], Path], tmp_path: Path, shared_data: Path
) -> None:
    picture = sorted((shared_data / "blood-cells").rglob("*.jpg"))[0]
    index = build_index(make_corpus(tmp_path / "corpus"), None)
    options = {"max_new_tokens": TOKENS}
    describe = Describer(
        index, f"vlm:{folders('smolvlm')}", 2, alpha=0, template=template, keep_unsupported=True,
        generator_options=options,
    )  # fmt: skip
    first, second = describe([picture, picture], question="How many cells?")
    assert first.text == second.text
    assert first.evidence or "found nothing to say" in (first.reason or "")
    assert first.provenance["parameters"]["template"] == template
    assert first.provenance["question"] == "How many cells?"
    assert first.provenance["prompt_hash"] == second.provenance["prompt_hash"] is not None


def test_the_second_turn_reads_picture_and_draft(folders: Callable[[str], Path], context: Context) -> None:
    generator = load(folders("smolvlm"))
    writer = Writer(generator, "findings-impression")
    first = writer.first_turn([context])[0]
    written = writer.second_turn([Written("Two red cells.<image>", first.prompts)])[0]
    told = generator.dialect.text(written.prompts[1])
    assert 'User:<image>Findings of the new image: "Two red cells.‹image>"\n' in told
    assert told.count("<image>") == 1
    assert written.text.startswith("Two red cells.")


def test_pictures_count_towards_the_context(
    folders: Callable[[str], Path], altered: Callable[..., Path], context: Context
) -> None:
    generator = load(folders("llava"))
    tokens = generator.dialect.inputs([Writer(generator, "few-shot-pictures").first_turn([context])[0].prompts[0]])
    generator.context = tokens["input_ids"].shape[1] + TOKENS
    assert Writer(generator, "few-shot-pictures").first_turn([context])[0].prompts[0].dropped == 0
    generator.context -= 1
    assert Writer(generator, "few-shot-pictures").first_turn([context])[0].prompts[0].cited_ids == ("a", "b")
    generator.context = TOKENS
    with pytest.raises(InputError, match=r"^query 'query': template .* is too long for this generator"):
        Writer(generator, "few-shot-pictures").first_turn([context])
