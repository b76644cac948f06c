"""Low-rank adapters on tiny checkpoints of each family: they learn, save, load, merge and go on after a kill."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest
import tiny
from tinytraining import torch
from tinytuning import FAMILIES, SETTINGS, load, squares
from vlmtools import prompt_of

import ragvlm as rv
from ragvlm.errors import InputError
from ragvlm.generators import load_generator
from ragvlm.tuning.adapters import LoraSettings, target_of
from ragvlm.tuning.lora import tune_lora
from ragvlm.tuning.merging import merge_adapter
from ragvlm.tuning.neighbours import find_neighbours
from ragvlm.tuning.several import tune_several
from ragvlm.tuning.split import captioned, split_by_subject
from ragvlm.tuning.vlm_items import encode

LORA = LoraSettings(dropout=0.1)


def logits(generator):
    made = encode(generator, prompt_of(), "red cells")
    with torch.inference_mode():
        return generator.net(**made).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_go_to_the_attention_of_the_language_model_alone(family, folder_of):
    net = load(folder_of(family)).net
    pattern = target_of(net)
    names = [n for n, m in net.named_modules() if isinstance(m, torch.nn.Linear) and re.fullmatch(pattern, n)]
    assert not [n for n in names if re.search("vision|visual|image|mlp|fc|head|intermediate", n)]
    if family.startswith("blip2"):
        assert all(n.startswith("qformer.") for n in names)
        layers = {n.rpartition(".layer.")[2].split(".")[1] for n in names}
        assert layers == {"attention", "crossattention"}
    else:
        count = net.config.get_text_config().num_hidden_layers
        assert len(names) == 4 * count  # q, k, v and o of each layer


@pytest.mark.parametrize("family", ["smolvlm", "smolvlm2", "paligemma", "blip2-opt", "blip2-t5", "git", "llava"])
def test_a_few_steps_lower_the_loss_and_the_adapter_saves_loads_and_merges(family, folder_of, corpus, tmp_path):
    if family == "smolvlm2":
        pytest.importorskip("num2words")
    base = folder_of(family)
    tuned = tune_lora(str(base), corpus, tmp_path / "out", lora=LORA, settings=SETTINGS, validation=0.25)
    files = {path.name for path in tuned.folder.iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors", "card.json", "README.md", "report.html"}
    assert tuned.metrics["validation"]["loss"] < tuned.metrics["validation, base"]["loss"]
    adapted = load_generator(str(tuned.folder), device="cpu")
    assert adapted.name == f"vlm:{tuned.folder}"
    difference = (logits(adapted) - logits(load(base))).abs().max()
    assert difference > 1e-3
    merged = load(merge_adapter(tuned.folder, tmp_path / "merged", device="cpu"))
    assert (logits(merged) - logits(adapted)).abs().max() < 1e-5
    assert not any("lora" in name for name, _ in merged.net.named_parameters())
    assert merged.generate([prompt_of()]) == load_generator(
        str(tuned.folder), device="cpu", max_new_tokens=16
    ).generate([prompt_of()])


def test_it_goes_on_after_a_kill_to_the_same_adapter(folder_of, corpus, tmp_path):
    def tune(out, **options):
        return tune_lora(str(folder_of("smolvlm")), corpus, out, lora=LORA, settings=SETTINGS, **options)

    @contextmanager
    def broken(title):
        def update(done, total, note=""):
            if title == "Training" and done == 5:
                raise KeyboardInterrupt

        yield update

    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "cut", progress=broken)
    assert not (tmp_path / "cut").exists()
    resumed, whole = tune(tmp_path / "cut"), tune(tmp_path / "whole")
    assert resumed.card["training"]["resumed"] == 3
    name = "adapter_model.safetensors"
    assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert tune(tmp_path / "whole").folder == whole.folder  # nothing is done again
    with pytest.raises(InputError, match="holds a training with rank 8, not 4"):
        tune_lora(str(folder_of("smolvlm")), corpus, tmp_path / "whole", lora=LoraSettings(rank=4), settings=SETTINGS)


def test_answers_are_learnt_and_measured(folder_of, asked, tmp_path):
    settings = replace(SETTINGS, epochs=12)
    tuned = tune_lora(
        str(folder_of("paligemma")), asked, tmp_path / "out", settings=settings, validation=0.25, test=0.2
    )
    assert tuned.card["data"]["learnt"] == "answers"
    assert set(tuned.metrics) == {"validation", "validation, base", "test", "test, base"}
    assert set(tuned.metrics["test"]) == {"items", "loss", "perplexity", "Exact Match", "token F1"}
    assert tuned.metrics["test"]["loss"] < tuned.metrics["test, base"]["loss"]
    assert '--question "..."' in tuned.card["use"]


@pytest.fixture(scope="module")
def index(corpus, tmp_path_factory):
    return tiny.build(corpus, tmp_path_factory.mktemp("index") / "i", hash_subject=True)


def test_references_are_of_other_subjects_of_the_training_part_and_show_another_picture(corpus, index, tmp_path):
    split = split_by_subject(captioned(corpus), name="c", validation=0.25, test=0.2)
    found = find_neighbours(index, corpus, split, 3)
    subject = {record.id: record.subject_id for record in corpus}
    trained = {record.id for record in split.train}
    for name, records in found.items():
        assert all(subject[r.id] != subject[name] and r.id in trained for r in records)
    assert sum(map(len, found.values())) > len(found)
    # squares of one colour have equal pixels: none is shown its own picture's caption
    colour = {record.id: record.caption for record in corpus}
    assert not any(colour[name] == record.caption for name, records in found.items() for record in records)


def test_it_is_trained_with_references_and_described_with_them(folder_of, corpus, index, tmp_path):
    tuned = tune_lora(
        str(folder_of("smolvlm")), corpus, tmp_path / "out", settings=replace(SETTINGS, max_steps=2), index=index, k=2
    )
    assert tuned.card["settings"]["drop"] == 0.2
    assert "--template" not in tuned.card["use"]
    generator = load_generator(str(tuned.folder), device="cpu", max_new_tokens=8)
    found = rv.Describer(index, generator=generator, alpha=0)(corpus.root / "p00.png")
    assert found.provenance["generator"] == f"vlm:{tuned.folder}"


def test_adapters_over_a_base_in_four_bits(folder_of, corpus, tmp_path):
    pytest.importorskip("bitsandbytes")
    settings = replace(SETTINGS, max_steps=4)
    tuned = tune_lora(str(folder_of("smolvlm")), corpus, tmp_path / "q", settings=settings, quantize="int4")
    assert tuned.card["settings"]["quantize"] == "int4"
    assert tuned.metrics["validation"]["loss"] < tuned.metrics["validation, base"]["loss"]
    packed = load_generator(str(tuned.folder), device="cpu", quantize="int4")
    assert packed.net.get_base_model().is_quantized
    assert load(merge_adapter(tuned.folder, tmp_path / "m", device="cpu")).net.dtype == torch.float32


def test_what_can_not_be_is_one_line(folder_of, corpus, index, tmp_path):
    git, smol = str(folder_of("git")), str(folder_of("smolvlm"))
    with pytest.raises(InputError, match="reads no references, so an index would change nothing"):
        tune_lora(git, corpus, tmp_path / "a", index=index)
    with pytest.raises(InputError, match="no linear layer of this 'idefics3' model is named 'nose'"):
        tune_lora(smol, corpus, tmp_path / "b", lora=LoraSettings(target="nose"))
    with pytest.raises(InputError, match="is no vision-language model that is tuned here"):
        tune_lora("consensus", corpus, tmp_path / "c")
    with pytest.raises(InputError, match="no record has a picture and questions"):
        tune_lora(smol, corpus, tmp_path / "d", task="vqa")
    with pytest.raises(InputError, match=r"give one of auto, describe, vqa"):
        tune_lora(smol, corpus, tmp_path / "d", task="dance")
    with pytest.raises(InputError, match="2 subjects can't be split into 3 parts"):
        tune_lora(smol, squares(tmp_path / "few", 4), tmp_path / "e")
    for wrong in ({"rank": 0}, {"dropout": 1.0}, {"target": "("}):
        with pytest.raises(InputError):
            LoraSettings(**wrong)
    assert not [name for name in "abcde" if (tmp_path / name).exists()]


def test_an_adapter_without_base_or_weights_is_one_line(folder_of, corpus, tmp_path):
    tuned = tune_lora(str(folder_of("git")), corpus, tmp_path / "out", settings=replace(SETTINGS, max_steps=1))
    assert json.loads((tuned.folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        folder_of("git")
    )
    with pytest.raises(InputError, match=r"holds no adapter_config.json"):
        merge_adapter(folder_of("git"), tmp_path / "m")
    with pytest.raises(InputError, match="exists; choose another --out"):
        merge_adapter(tuned.folder, tmp_path)
    lost = shutil.copytree(tuned.folder, tmp_path / "lost")
    (lost / "adapter_model.safetensors").unlink()
    with pytest.raises(rv.RagvlmError, match=r"holds no adapter_model.safetensors"):
        load_generator(str(lost), device="cpu")
    config = json.loads((lost / "adapter_config.json").read_text())
    (lost / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))
    with pytest.raises(InputError, match="names no base"):
        load_generator(str(lost), device="cpu")


def test_several_models_give_one_table(folder_of, asked, tmp_path):
    def tune(model, out):
        return tune_lora(model, asked, out, settings=replace(SETTINGS, max_steps=1), validation=0.25, test=0.2)

    models = [str(folder_of("paligemma")), str(folder_of("git"))]
    found = tune_several(models, tmp_path / "out", tune)
    assert [t.folder.name for t in found] == ["paligemma-3b-pt-224", "git"]
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [(row["model"], row["state"]) for row in table["rows"]] == [
        (model, state) for model in models for state in ("as it was", "tuned")
    ]
    assert table["rows"][1]["loss"] == found[0].metrics["test"]["loss"]
    lines = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert lines[2] == "| model | state | items | loss | perplexity | Exact Match | token F1 |"
    assert len(lines) == 8
    with pytest.raises(InputError, match="two have the same name"):
        tune_several(["a/git", "b/git"], tmp_path / "out", tune)
