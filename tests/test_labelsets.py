from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from ragvlm.errors import InputError
from ragvlm.labelsets import LabelSet, as_label_set, shipped


def test_words_are_labels_and_their_own_prompts() -> None:
    found = as_label_set(["no DR", " mild "])
    assert found.names == ("no DR", "mild")
    assert found.prompts == (("no DR",), ("mild",))
    assert as_label_set(["a", "b"], "an {label} or {label}").prompts[1] == ("an b or b",)
    assert as_label_set(found) is found


def test_braces_in_words_and_templates_are_only_words() -> None:
    found = as_label_set(["{0}", "{label.__class__}"], ["{x} {label}"])
    assert found.prompts == (("{x} {0}",), ("{x} {label.__class__}",))


def test_the_shipped_grades_are_five_in_order() -> None:
    found = as_label_set("diabetic-retinopathy")
    assert found.names == ("No DR", "Mild NPDR", "Moderate NPDR", "Severe NPDR", "Proliferative DR")
    assert found.ids == ("0", "1", "2", "3", "4")
    assert "10.1016/S0161-6420(03)00475-5" in str(found.source)
    assert all("{label}" in template for template in found.templates)
    assert as_label_set(["diabetic-retinopathy"]) == found
    assert found.prompts[0][0] == "a fundus photograph of no diabetic retinopathy"


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_set_names_its_source_and_licence(name: str) -> None:
    table = tomllib.loads(files("ragvlm").joinpath(f"data/labels/{name}.toml").read_text(encoding="utf-8"))
    assert table["name"] == name
    assert table["source"]
    assert table["licence"]
    texts = [text for prompts in as_label_set(name).prompts for text in prompts]
    assert len(set(texts)) == len(texts)


def test_a_text_file_has_one_label_a_line(tmp_path: Path) -> None:
    path = tmp_path / "organs.txt"
    path.write_text("\ufeffheart\n\n  lung \r\nliver, left lobe\n", encoding="utf-8")
    for given in (path, str(path), [str(path)], [path]):
        found = as_label_set(given)  # type: ignore[arg-type]
        assert found.names == ("heart", "lung", "liver, left lobe")
        assert found.name == "organs"


def test_a_toml_file_may_be_bare(tmp_path: Path) -> None:
    path = tmp_path / "bare.toml"
    path.write_text('[[labels]]\nname = "a"\n[[labels]]\nname = "b"\nprompts = ["c", "d"]\n')
    found = as_label_set(path)
    assert found == LabelSet(names=("a", "b"), phrases=(("a",), ("c", "d")), ids=("a", "b"), name="bare")


MALFORMED = {
    "no toml": ("labels = [", r"bad\.toml: "),
    "no labels": ('name = "x"\n', r"bad\.toml: holds no \[\[labels\]\] tables"),
    "labels as words": ('labels = ["a", "b"]\n', r"holds no \[\[labels\]\] tables"),
    "a nameless label": ('[[labels]]\nname = "a"\n[[labels]]\nid = "2"\n', "label 2: name is None: give some words"),
    "a number for a name": ("[[labels]]\nname = 3\n", "label 1: name is 3"),
    "a blank name": ('[[labels]]\nname = " "\n', "label 1: name is ' '"),
    "a prompt for prompts": ('[[labels]]\nname = "a"\nprompts = "b"\n', "label 1: prompts is 'b': give a list"),
    "a number for an id": ('[[labels]]\nname = "a"\nid = 1\n', "label 1: id is 1"),
    "an empty prompt": ('[[labels]]\nname = "a"\nprompts = [""]\n', "give a list of words in quotes"),
    "a misspelt key": ('[[labels]]\nname = "a"\nprompt = ["b"]\n', "label 1: unknown key 'prompt': the keys are id"),
    "a misspelt table": ('template = ["{label}"]\n[[labels]]\nname = "a"\n', "unknown key 'template'"),
    "a double label": ('[[labels]]\nname = "a"\n[[labels]]\nname = "a"\n', "'a' stands there twice"),
    "a template without its place": ('templates = ["a"]\n[[labels]]\nname = "a"\n', r"template 'a' has no \{label\}"),
    "no label at all": ("labels = []\n", "there are none"),
}


@pytest.mark.parametrize("name", list(MALFORMED))
def test_a_malformed_file_is_one_line(name: str, tmp_path: Path) -> None:
    text, message = MALFORMED[name]
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        as_label_set(path)
    assert "\n" not in str(caught.value)
    assert "bad" in str(caught.value) or "template" in str(caught.value)


def test_what_is_no_label_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "x.csv").write_text("a,b")
    (tmp_path / "folder.txt").mkdir()
    cases: list[tuple[Any, str]] = [
        (tmp_path / "none.txt", "No such file"),
        (str(tmp_path / "none.toml"), "No such file.+or one of diabetic-retinopathy"),
        (tmp_path / "bytes.txt", "not UTF-8"),
        (tmp_path / "folder.txt", "folder.txt: can't be read"),
        (tmp_path / "empty.txt", "there are none"),
        (tmp_path / "x.csv", "one label a line"),
        ([], "there are none"),
        (["a", " "], "label 2 is empty"),
        (["a", "a"], "'a' stands there twice"),
        (["a", 3], "labels are words"),
    ]
    for labels, message in cases:
        with pytest.raises(InputError, match=message):
            as_label_set(labels)


def test_the_manuals_file_can_be_read(tmp_path: Path) -> None:
    manual = (Path(__file__).resolve().parents[1] / "docs" / "classification.md").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(manual.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    found = as_label_set(tmp_path / "mine.toml")
    assert (found.name, found.names, found.ids) == ("mine", ("No DR", "Mild NPDR"), ("0", "1"))
    assert len(found.prompts[0]) == 4
