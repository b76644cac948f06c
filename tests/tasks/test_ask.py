"""Questions over plain colours: who votes, what is allowed, who may not be seen, and when nothing is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import COLOURS, ColourEncoder, build, of, paint

import ragvlm as rv
from ragvlm.describe import Describer
from ragvlm.errors import InputError
from ragvlm.index import Index
from ragvlm.tasks.answerers import combined
from ragvlm.tasks.ask import Asker, contradiction
from ragvlm.types import Prompt, Query, Record


def _square(colour: str) -> Image.Image:
    return Image.new("RGB", (12, 12), COLOURS[colour])


def _record(number: int, colour: str, *told: tuple[str, str], **fields: Any) -> Record:
    questions = [{"question": question, "answer": answer} for question, answer in told]
    return Record(f"r{number}", f"p{number}.png", subject_id=f"s{number}", extra={"questions": questions}, **fields)


def _index(
    root: Path, records: Sequence[Record], colours: Sequence[str | tuple[int, int, int]], **options: Any
) -> Index:
    for record, colour in zip(records, colours, strict=True):
        paint(root / "c" / str(record.image), colour)
    return build(of(root / "c", records), root / "i", **options)


TOLD = [
    ("red", ("is it red", "Yes"), ("what colour", "dark red")),
    ("red", ("is it red", "yes"), ("what colour", "dark red")),
    ("blue", ("is it red", "no"), ("what colour", "sky blue")),
    ("blue", ("is it red", "No."), ("is it blue", "yes"), ("what colour", "navy")),
]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    records = [_record(i, colour, *told) for i, (colour, *told) in enumerate(TOLD)]
    return _index(tmp_path, records, [colour for colour, *_ in TOLD])


def _asker(index: Index, generator: Any = "consensus", **options: Any) -> Asker:
    return Asker(Describer(index, generator, alpha=0, **options))


def test_picture_and_question_decide_together(index: Index) -> None:
    asker = _asker(index)
    found = asker(_square("red"), "is it red")
    assert (found.answer, found.options) == ("yes", ("yes", "no"))
    assert asker(_square("blue"), "is it red").answer == "no"
    assert asker(_square("red"), "what colour").answer == "dark red"
    assert found.evidence[0].record_ids[:2] == ("r0", "r1")
    assert found.confidence == pytest.approx(dict(found.shares)["yes"]) == pytest.approx(found.evidence[0].support)
    assert sum(neighbour.weight for neighbour in found.neighbours) == pytest.approx(1)
    blind = Asker(asker.describer, picture_weight=0)
    shares = dict(blind(_square("red"), "is it red").shares)
    assert shares == dict(blind(_square("blue"), "is it red").shares)


def test_references_of_the_own_subject_have_no_vote(index: Index) -> None:
    found = _asker(index)(_square("red"), "is it red", subject_id="s0")
    assert "r0" not in {neighbour.record_id for neighbour in found.neighbours} | {
        hit.record.id for hit in found.context.hits
    }
    assert "r0" in {n.record_id for n in _asker(index, exclude_subject=False)(
        _square("red"), "is it red", subject_id="s0").neighbours}  # fmt: skip


def test_an_option_is_answered_or_nothing(index: Index) -> None:
    asker = _asker(index)
    assert asker(_square("blue"), "what colour", ["blue", "red"]).answer == "blue"
    assert asker(_square("red"), "is it red", []).options == ()
    none = asker(_square("red"), "what colour", ["plaid", "tartan"])
    assert none.abstained and none.answer == "" and none.confidence == 0 and none.evidence == ()
    assert "says anything to this question" in str(none)


def test_contradictions_are_told_and_cost_confidence(tmp_path: Path) -> None:
    records = [_record(i, "red", ("is it red", answer)) for i, answer in enumerate(["yes", "no", "yes", "no", "yes"])]
    found = _asker(_index(tmp_path, records, ["red"] * 5))(_square("red"), "is it red")
    assert found.answer == "yes"
    assert found.confidence == pytest.approx(0.6)
    assert found.contradiction == "The references contradict each other: yes 60%, no 40%."
    assert found.contradiction in str(found)


@pytest.mark.parametrize(
    ("shares", "closed", "told"),
    [
        ({"yes": 1.0}, True, False),
        ({"yes": 0.7, "no": 0.3}, True, False),
        ({"yes": 0.6, "no": 0.4}, True, True),
        ({"a": 0.6, "b": 0.4}, False, False),
        ({"a": 0.4, "b": 0.3, "c": 0.3}, False, True),
    ],
)
def test_what_counts_as_a_contradiction(shares: dict[str, float], closed: bool, told: bool) -> None:
    assert (contradiction(next(iter(shares)), shares, closed=closed) is not None) == told


def test_a_stranger_is_refused(tmp_path: Path) -> None:
    records = [_record(i, "red", ("is it red", "yes")) for i in range(40)]
    shades = [(250 - i, 0, 0) for i in range(40)]
    index = _index(tmp_path, records, shades, segment_rows=64, calibrate=True)
    found = Asker(Describer(index))(_square("green"), "is it red")
    assert found.abstained and "nothing in the corpus is close enough" in (found.reason or "")
    assert not Asker(Describer(index))(_square("red"), "is it red").abstained


def test_captions_and_labels_answer_where_no_question_was_asked(tmp_path: Path) -> None:
    captions = ["Two red cells and no platelets.", "Three red cells and no platelets.", "Two red cells."]
    records = [
        Record(f"r{i}", f"p{i}.png", caption=caption, labels={"stain": "DAPI"}) for i, caption in enumerate(captions)
    ]
    asker = _asker(_index(tmp_path, records, ["red"] * 3))
    ask = lambda question: asker(_square("red"), question)  # noqa: E731
    assert ask("How many red cells are there?").answer == "2"
    assert ask("Are there platelets?").answer == "no"
    assert ask("What is the stain?").answer == "DAPI"
    assert ask("Is it DAPI or Giemsa?").answer == "DAPI"
    assert ask("Are there red cells?").evidence[0].record_ids == ("r0", "r1", "r2")
    assert ask("Are there red cells?").confidence == pytest.approx(1)


def test_vectors_of_questions_are_made_once_and_kept(index: Index) -> None:
    first = ColourEncoder()
    _asker(Index.open(index.path, encoder=first))(_square("red"), "is it red")
    assert first.texts == 3 + 1  # each different question once, and what is asked
    again = ColourEncoder()
    opened = Index.open(index.path, encoder=again)
    found = _asker(opened)(_square("red"), "is it red")
    assert (again.texts, found.answer) == (1, "yes")
    opened.verify()
    opened.delete("r3")
    assert not list(index.path.glob("questions-*"))
    assert "r3" not in {n.record_id for n in _asker(opened)(_square("blue"), "is it red").neighbours}
    opened.verify()


class Writes:
    """Writes the same words, and keeps its prompts."""

    def __init__(self, text: str, name: str = "writes") -> None:
        self.text, self.name = text, name
        self.prompts: list[Prompt] = []

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        self.prompts += prompts
        return [self.text for _ in prompts]


class Chooses(Writes):
    """Chooses the brighter option by its picture: as probable as the picture is red."""

    def choose(self, prompts: Sequence[Prompt], options: Sequence[str]) -> list[tuple[str, float | None]]:
        reds = [float(np.asarray(prompt.images[0]).mean(axis=(0, 1))[0]) / 250 for prompt in prompts]
        return [(options[0], p) if p >= 0.5 else (options[1], 1 - p) for p in reds]


def test_a_generator_is_shown_question_neighbours_and_choices(index: Index) -> None:
    writes = Writes("Yes, it is. It really is.")
    found = _asker(index, writes)(_square("red"), "is it red")
    assert (found.answer, found.probability) == ("yes", None)
    assert 'Question about the new image: "is it red"\nAnswer with one of: yes, no.' in writes.prompts[0].user
    assert '[1] "is it red yes."' in writes.prompts[0].user
    assert _asker(index, Writes("Perhaps"))(_square("red"), "is it red").reason == (
        "generator 'writes' gave no answer that is allowed"
    )


def test_an_answer_without_support_is_held_back_unless_wanted(index: Index) -> None:
    held = _asker(index, Writes("green."))(_square("red"), "what colour")
    assert held.reason == "no reference supports the answer 'green'"
    kept = _asker(index, Writes("green."), keep_unsupported=True)(_square("red"), "what colour")
    assert (kept.answer, kept.confidence) == ("green", 0)


def test_a_probability_among_the_options_weighs_on_confidence(index: Index) -> None:
    found = _asker(index, Chooses(""))(Image.new("RGB", (12, 12), (200, 0, 0)), "is it red")
    assert (found.answer, found.probability) == ("yes", pytest.approx(0.8))
    assert found.confidence == pytest.approx(0.8 * dict(found.shares)["yes"])


def test_of_a_volume_the_answer_is_pooled_and_the_deciding_slice_named(index: Index) -> None:
    slices = {"slice 0": _square("blue"), "slice 1": _square("red"), "slice 2": _square("blue")}
    query = Query("scan", slices["slice 1"], "is it red", slices=slices)
    found = _asker(index).answer(query)
    assert (found.answer, found.slice) == ("yes", "slice 1") or (found.answer == "no" and found.slice != "slice 1")
    chosen = _asker(index, Chooses("")).answer(query)
    assert (chosen.answer, chosen.slice) == ("no", "slice 0")
    assert chosen.probability == pytest.approx(2 / 3)
    assert "slice 0" in str(chosen)


def test_opinions_are_combined_by_vote_or_by_share() -> None:
    opinions = [{"yes": 0.6, "no": 0.4}, {"Yes.": 0.6, "no": 0.4}, {"no": 1.0}, {}]
    vote, mean = combined(opinions, "vote"), combined(opinions, "consensus")
    assert max(vote, key=lambda one: vote[one]) == "yes"
    assert max(mean, key=lambda one: mean[one]) == "no"
    assert sum(mean.values()) == pytest.approx(1)


def test_json_holds_answer_evidence_and_settings(index: Index) -> None:
    found = _asker(index)(_square("red"), "is it red")
    told = json.loads(json.dumps(found.to_dict()))
    assert told["answer"] == "yes" and told["abstained"] is False and told["question"] == "is it red"
    assert told["evidence"][0]["record_ids"][0] == "r0"
    assert told["provenance"]["parameters"]["voters"] == 40
    assert "is it red" in found._repr_html_()
    assert "is it red" in rv.Assistant(index, alpha=0).ask(_square("red"), "is it red")._repr_html_()


def test_what_cannot_be_asked_is_one_line(index: Index) -> None:
    asker = _asker(index)
    cases: list[tuple[Any, str]] = [
        (lambda: asker(_square("red"), " "), "the question is empty"),
        (lambda: asker(_square("red"), "q", ["yes"]), "give two or more different answers"),
        (lambda: asker(_square("red"), "q", ["yes", "Yes."]), "give two or more different answers"),
        (lambda: asker(Query("red", text="red"), "q"), "'red' is words"),
        (lambda: Asker(asker.describer, voters=0), "voters is 0"),
        (lambda: Asker(asker.describer, picture_weight=-1.0), "picture_weight is -1.0"),
        (lambda: _asker(index, "template"), "generator 'template' hears no question"),
    ]
    for call, words in cases:
        with pytest.raises(InputError, match=words):
            call()


def test_nearest_answers_as_the_nearest(index: Index) -> None:
    found = _asker(index, "nearest")(_square("blue"), "is it red")
    assert (found.answer, found.neighbours[0].record_id) == ("no", "r2")
    assert replace(found, abstained=True, reason="x").__str__() == "Abstained: x"


def test_real_questions_are_answered_without_their_own_case(shared_data: Path, tmp_path: Path) -> None:
    corpus = rv.Corpus.load(shared_data / "vqa-rad")
    records = [record for record in corpus.records if record.extra.get("questions")][:24]
    few = rv.Corpus.from_records(records, root=shared_data / "vqa-rad", name="few")
    index = rv.Index.build(few, tmp_path / "i", hash_subject=False)
    asker = _asker(index)
    for record in records[:3]:
        for question in record.extra["questions"][:3]:
            picture = shared_data / "vqa-rad" / str(record.image)
            found = asker(picture, question["question"], subject_id=record.subject_id)
            own = {one.id for one in records if one.subject_id == record.subject_id}
            assert not own & {neighbour.record_id for neighbour in found.neighbours}
            assert found.answer in (found.options or dict(found.shares))
