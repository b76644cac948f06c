"""Every family describes real pictures from a real index, alone and beside its references' pictures; what fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tinyvlm
from PIL import Image
from vlmtools import CHATS, FAMILIES, TOKENS, load, new_tokens, prompt_of

import ragvlm as rv
from ragvlm.errors import InputError
from ragvlm.generators.vlm import VlmGenerator
from ragvlm.registry import entries
from ragvlm.types import Record

pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("offline")

ROWS = {"smolvlm", "smolvlm2", "medgemma", "qwen-vl", "llava", "paligemma", "paligemma2", "blip2", "git"}


@pytest.mark.parametrize("family", FAMILIES)
def test_it_describes_a_real_picture_with_evidence(
    family: str, folders: Callable[[str], Path], blood: rv.Index, shared_data: Path
) -> None:
    picture = shared_data / "blood-cells" / "images" / "BloodImage_00020.jpg"
    options = {"max_new_tokens": TOKENS, "device": "cpu"}
    describer = rv.Describer(
        blood, f"vlm:{folders(family)}", 3, alpha=0, keep_unsupported=True, generator_options=options
    )
    first, second = describer([picture, picture])
    assert first.text == second.text
    assert first.provenance["generator"] == f"vlm:{folders(family)}"
    silence = f"generator {describer.generator.name!r} found nothing to say from the references"
    assert first.evidence or first.reason == silence
    assert [hit.record.caption for hit in first.context.hits]
    checked = rv.Describer(blood, describer.generator, 3, alpha=0)(picture)
    assert checked.abstained or all(evidence.supported for evidence in checked.evidence)


@pytest.mark.parametrize("family", CHATS)
def test_real_neighbours_pictures_go_in(
    family: str, folders: Callable[[str], Path], blood: rv.Index, shared_data: Path
) -> None:
    picture = shared_data / "blood-cells" / "images" / "BloodImage_00020.jpg"
    options = {"max_new_tokens": TOKENS, "device": "cpu", "neighbour_images": 2}
    describer = rv.Describer(blood, f"vlm:{folders(family)}", 3, alpha=0, generator_options=options)
    generator = describer.generator
    assert isinstance(generator, VlmGenerator)
    told, seen = [], []
    original = generator.dialect.inputs
    generator.dialect.inputs = lambda prompts: told.extend(prompts) or seen.append(original(prompts)) or seen[-1]  # type: ignore[method-assign]
    found = describer(picture)
    shown = generator.dialect.pictures(told[-1])
    assert [image.size for image in shown] == [(640, 480)] * 3
    nearest = [Image.open(shared_data / "blood-cells" / hit.record.id).convert("RGB") for hit in found.context.hits]
    assert [image.tobytes() for image in shown[:2]] == [image.tobytes() for image in nearest[:2]]
    text = generator.dialect.text(told[-1])
    assert text.index("Image of reference [1]:") < text.index("Image of reference [2]:") < text.index("The new image:")
    alone = load(folders(family)).dialect.inputs(told[-1:])
    assert seen[-1]["input_ids"].shape[1] > alone["input_ids"].shape[1]


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "blip2-t5"])
def test_what_fits_is_what_is_not_refused(family: str, folders: Callable[[str], Path]) -> None:
    prompt = prompt_of(*(f"Field {n} with red cells." for n in range(9)))
    generator = load(folders(family))
    tokens = new_tokens(generator, prompt)[0]["input_ids"].shape[1]
    generator.context = tokens + TOKENS
    assert generator.fits(prompt)
    generator.generate([prompt])
    generator.context -= 1
    assert not generator.fits(prompt)
    with pytest.raises(InputError, match=f"holds {tokens + TOKENS - 1} tokens, the prompt has {tokens} .*fewer ref"):
        generator.generate([prompt])


def test_pictures_count_too_and_t5_has_no_bound(folders: Callable[[str], Path], tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    prompt = prompt_of(Record("a", str(tmp_path / "a.png"), "One."))
    alone, beside = load(folders("smolvlm")), load(folders("smolvlm"), neighbour_images=1)
    beside.context = alone.context = alone.dialect.inputs([prompt])["input_ids"].shape[1] + TOKENS
    assert (alone.fits(prompt), beside.fits(prompt)) == (True, False)
    assert load(folders("blip2-t5"), max_new_tokens=100_000).fits(prompt)


def test_references_are_dropped_until_the_prompt_fits(
    folders: Callable[[str], Path], blood: rv.Index, shared_data: Path
) -> None:
    picture = shared_data / "blood-cells" / "images" / "BloodImage_00020.jpg"
    options = {"max_new_tokens": TOKENS, "device": "cpu"}
    describer = rv.Describer(blood, f"vlm:{folders('llava')}", 6, alpha=0, generator_options=options)
    assert describer(picture).provenance["dropped_references"] == 0
    describer.generator.context = 700  # type: ignore[attr-defined]
    assert 0 < describer(picture).provenance["dropped_references"] < 6


def test_the_names_of_the_table(folders: Callable[[str], Path]) -> None:
    rows = {name: row for name, row in entries("generators").items() if row.target.endswith(":VlmGenerator")}
    assert set(rows) == ROWS | {"vlm"}
    assert set(tinyvlm.BUILDERS) >= {"medgemma", "qwen2.5-vl", "qwen3-vl", "paligemma2", "llava"}
    for name in ROWS:
        model = rows[name].arguments["model"]
        assert model.partition("@")[0] == rows[name].hub_id
        assert rows[name].revision or name == "git"
