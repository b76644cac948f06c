"""``ragvlm tune`` as a user runs it, in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tinytuning import squares

from ragvlm.errors import InputError
from ragvlm.tuning.recipes import load_recipe, recipe_names

ROOT = Path(__file__).resolve().parents[2]


def run(*args, code=0):
    done = subprocess.run([sys.executable, ROOT / "cli.py", "tune", *map(str, args)], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures with a captions.csv, as a user has them."""
    corpus = squares(tmp_path_factory.mktemp("cli"))
    rows = [f"{record.image},{record.caption},{record.subject_id}" for record in corpus]
    (corpus.root / "captions.csv").write_text("\n".join(["file_name,caption,subject_id", *rows]))
    return corpus.root


def test_a_recipe_is_followed_and_the_adapter_is_written(folder, folder_of, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('command = "lora"\n[options]\nrank = 2\nepochs = 9\nbatch_size = 4\nlr = 0.03\n')
    out = tmp_path / "out"
    common = ("--corpus", folder, "--model", folder_of("git"), "--out", out)
    done = run("lora", *common, "--recipe", recipe, "--epochs", 1, "--device", "cpu", "--json")
    said = json.loads(done.stdout)
    assert done.stderr == ""
    assert said["settings"]["rank"] == 2  # of the recipe
    assert said["settings"]["epochs"] == 1  # given
    assert said["settings"]["alpha"] == 32  # the default
    assert said["folder"] == str(out)
    assert (out / "adapter_model.safetensors").is_file()
    assert said["command"].startswith("ragvlm tune lora --corpus")
    assert "--recipe" in (out / "README.md").read_text()
    # what is wrong is one line
    for wrong, why in (
        (("--rank", 4), "holds a training with rank 2, not 4"),
        (("--recipe", "slake-vilt"), "is one of `ragvlm tune classifier`, not of lora"),
        (("--recipe", "nobody"), "unknown recipe 'nobody': choose one of"),
    ):
        refused = run(
            "lora",
            *common,
            "--device",
            "cpu",
            *(() if wrong[0] == "--recipe" else ("--recipe", recipe, "--epochs", 1)),
            *wrong,
            code=2,
        )
        assert why in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_every_recipe_fits_its_command():
    import typer

    from ragvlm.cli import app

    tune = typer.main.get_command(app).commands["tune"]
    assert {"slake-blip2-lora", "slake-vilt", "retinamnist-vit", "retinamnist-resnet50", "paligemma-pt-mix-ft"} <= set(
        recipe_names()
    )
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.summary
        assert recipe.source
        if recipe.command in tune.commands:
            assert set(recipe.options) <= {param.name for param in tune.commands[recipe.command].params}, name


def test_a_broken_recipe_is_one_line(tmp_path):
    for text, why in (
        ("command = ", "Invalid value"),
        ('command = "lora"', "give a command, and a table of options"),
        ('command = "lora"\ncolour = 1\n[options]\n', "has no key 'colour'"),
    ):
        (tmp_path / "r.toml").write_text(text)
        with pytest.raises(InputError, match=re.escape(why)):
            load_recipe(str(tmp_path / "r.toml"))
    with pytest.raises(InputError, match="can't be read"):
        load_recipe(str(tmp_path / "none.toml"))


def test_help_is_instant():
    code = "import sys, ragvlm.cli; assert not {'torch', 'numpy', 'transformers'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
