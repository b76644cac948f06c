"""The embedded describer: it learns, is saved and loaded as it was, goes on after a kill, and sees no subject twice."""

from __future__ import annotations

import numpy as np
import pytest
import tinydescriber as tiny
from PIL import Image
from texts import context_of

from ragvlm.errors import InputError, RagvlmError
from ragvlm.generators import load_generator
from ragvlm.generators.smallcap.features import PictureFeatures
from ragvlm.generators.smallcap.folder import CONFIG, TENSORS, Trained
from ragvlm.prompt import build_prompt
from ragvlm.tuning import describer_items as items
from ragvlm.types import Context, Query, Record

pytest.importorskip("peft")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGVLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    root = tmp_path_factory.mktemp("squares")
    return root, tiny.corpus(root)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return tiny.decoder(tmp_path_factory.mktemp("decoder"))


@pytest.fixture(scope="module")
def trained(squares, decoder, tmp_path_factory, cache):
    return tiny.train(squares[1], decoder, tmp_path_factory.mktemp("trained") / "out")


def prompt(colour: tuple[int, int, int] = (250, 0, 0), *captions: str, question: str | None = None):
    told = context_of(*captions, text=question)
    return build_prompt(Context(Query("q", Image.new("RGB", (12, 12), colour), question), told.hits))


def test_it_learns_and_says_how(trained):
    losses = [row["eval_loss"] for row in trained.card["training"]["history"] if "eval_loss" in row]
    assert losses[-1] < losses[0] * 0.9
    assert trained.metrics["validation"]["loss"] == min(losses)
    assert trained.card["kind"] == "describer"
    assert {path.name for path in trained.folder.iterdir()} >= {CONFIG, TENSORS, "README.md", "report.html"}


def test_the_result_is_a_generator_that_writes_the_same_again(trained):
    prompts = [prompt((250, 0, 0), "A red square."), prompt((0, 250, 0), "A green square.", "A blue square.")]
    first, again = (load_generator(f"smallcap:{trained.folder}") for _ in range(2))
    texts = first.generate(prompts)
    assert all(texts)
    assert again.generate(prompts) == texts
    assert load_generator("smallcap", model=str(trained.folder), batch_size=1).generate(prompts[:1]) == texts[:1]


def test_a_killed_training_goes_on_to_the_same_weights(squares, decoder, trained, tmp_path):
    out = tmp_path / "out"
    assert tiny.killed(squares[0], decoder, out, 6) == -9
    assert not out.exists()
    tuned = tiny.train(squares[1], decoder, out)
    assert tuned.card["training"]["resumed"] == 6
    assert (out / TENSORS).read_bytes() == (trained.folder / TENSORS).read_bytes()


def test_neighbours_are_of_other_subjects_and_other_pictures(squares, cache):
    pictures = items.look(squares[1], PictureFeatures())
    assert len(pictures.records) == tiny.N
    for place, near in enumerate(pictures.near):
        own = pictures.records[place].subject_id
        assert all(pictures.records[j].subject_id != own for j in near if j >= 0)
        assert (near >= 0).any()
    twin = int(pictures.near[0, 0])
    allowed = np.ones(tiny.N, bool)
    allowed[twin] = False
    assert twin not in items.neighbours(pictures, 0, allowed)


def test_what_an_item_is_told_changes_and_can_be_drawn_again(squares, cache):
    pictures = items.look(squares[1], PictureFeatures())
    lesson, allowed = items.Lesson(0, "A red square."), np.ones(tiny.N, bool)
    drawn = [items.tell(pictures, lesson, allowed, np.random.default_rng([0, i]), 2) for i in range(300)]
    assert drawn == [items.tell(pictures, lesson, allowed, np.random.default_rng([0, i]), 2) for i in range(300)]
    near = items.neighbours(pictures, 0, allowed)[:2]
    shares = [np.mean([told.neighbours == n for told in drawn]) for n in ((), near)]
    assert 0.08 < shares[0] < 0.22
    assert 0.6 < shares[1] < 0.8
    assert 0.02 < np.mean([not told.sighted for told in drawn]) < 0.15


def test_it_answers_with_an_answer_of_the_training_part(decoder, tmp_path, cache):
    index = tiny.corpus(tmp_path, asked=True)
    tuned = tiny.train(index, decoder, tmp_path / "out")
    assert 0 <= tuned.metrics["validation"]["exact match"] <= 1
    answer = load_generator(f"smallcap:{tuned.folder}").generate(
        [prompt((0, 0, 250), "Blue.", question="Which colour?")]
    )
    assert answer[0] in tiny.COLOURS


def test_a_corpus_that_nothing_can_be_learnt_from_is_one_line(squares, decoder, tmp_path, cache):
    bare = tiny.build(
        tiny.of(squares[0], [Record("a", "p00.png", None, labels={"n": 1})]), tmp_path / "bare", tiny.ColourEncoder()
    )
    with pytest.raises(InputError, match="no record has a picture with a caption"):
        tiny.train(bare, decoder, tmp_path / "out")
    few = tiny.build(tiny.of(squares[0], [Record("a", "p00.png", "Red.", "s")]), tmp_path / "few", tiny.ColourEncoder())
    with pytest.raises(InputError, match="1 subject can't be split"):
        tiny.train(few, decoder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_is_told(trained, tmp_path):
    with pytest.raises(InputError, match="no such describer"):
        load_generator("smallcap", model=str(tmp_path))
    with pytest.raises(InputError, match="batch_size is 0"):
        load_generator("smallcap", model=str(trained.folder), batch_size=0)
    folder = tmp_path / "torn"
    folder.mkdir()
    (folder / CONFIG).write_text((trained.folder / CONFIG).read_text())
    (folder / TENSORS).write_bytes((trained.folder / TENSORS).read_bytes()[:-9])
    with pytest.raises(RagvlmError, match="is damaged"):
        Trained.load(str(folder))
