"""Descriptions over plain colours: evidence, abstention, and what is handed on."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import COLOURS, build, make_corpus, of

from ragvlm.describe import Describer
from ragvlm.errors import InputError
from ragvlm.generators.pictures import picture, pictured
from ragvlm.index import Index
from ragvlm.prompt import prompt_hash
from ragvlm.report import render_report, write_report
from ragvlm.templates import template_names
from ragvlm.types import Prompt, Query, Record


class Says:
    """Writes the same words whatever it is given."""

    name = "says"

    def __init__(self, text: str) -> None:
        self.text = text

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        return [self.text for _ in prompts]


class Records(Says):
    """Says its words, and keeps the prompts that it was given."""

    pictures = None

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.prompts: list[Prompt] = []

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        self.prompts += prompts
        return super().generate(prompts)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Reds and dark reds only, so that green is a stranger."""
    whole = make_corpus(tmp_path / "c", 160)
    return build(of(whole.root, whole.records[0::4]), tmp_path / "i", segment_rows=64, calibrate=True)


def _square(colour: str) -> Image.Image:
    return Image.new("RGB", (12, 12), COLOURS[colour])


def test_what_is_near_is_described_with_evidence(index: Index) -> None:
    description = Describer(index)(_square("red"))
    assert not description.abstained
    assert description.text.startswith("a red square number")
    assert description.evidence[0].record_ids[0] in {hit.record.id for hit in description.context.hits}
    assert description.evidence[0].support == 1.0
    assert 0 < description.confidence <= 1
    assert str(description).count("[") >= 1


def test_what_is_far_is_refused_with_the_reason(index: Index) -> None:
    description = Describer(index)(_square("green"))
    assert description.abstained
    assert description.text == ""
    assert description.evidence == ()
    assert description.confidence == 0
    assert "nothing in the corpus is close enough" in (description.reason or "")
    assert str(description).startswith("Abstained: ")
    assert not Describer(index, alpha=0)(_square("green")).abstained


def test_unsupported_sentences_are_dropped_or_marked(index: Index) -> None:
    own = Describer(index, generator="nearest")(_square("red")).text
    liar = Says(f"{own}. There are 7 green cells.")
    dropped = Describer(index, generator=liar)(_square("red"))
    assert "green" not in dropped.text
    assert dropped.provenance["dropped_sentences"] == 1
    kept = Describer(index, generator=liar, keep_unsupported=True)(_square("red"))
    assert "There are 7 green cells. [unsupported]" in kept.text
    assert kept.evidence[1].record_ids == ()


def test_nothing_supported_or_nothing_said_is_an_abstention(index: Index) -> None:
    lies = Describer(index, generator=Says("There are 7 green cells."))(_square("red"))
    assert lies.abstained
    assert "none of the 1 generated sentences" in (lies.reason or "")
    assert lies.provenance["dropped_sentences"] == 1
    silent = Describer(index, generator=Says(""))(_square("red"))
    assert silent.abstained
    assert "found nothing to say" in (silent.reason or "")
    assert silent.provenance["dropped_sentences"] == 0


def test_without_captions_or_labels_it_says_so(tmp_path: Path) -> None:
    whole = make_corpus(tmp_path / "c", 4)
    bare = build(
        of(whole.root, [Record(id=r.id, image=r.image) for r in whole.records]), tmp_path / "i", calibrate=True
    )
    description = Describer(bare)(_square("red"))
    assert description.abstained
    assert "caption or labels" in (description.reason or "")


def test_labels_alone_are_named_as_the_reason(tmp_path: Path) -> None:
    whole = make_corpus(tmp_path / "c", 4)
    labelled = of(whole.root, [Record(id=r.id, image=r.image, labels={"colour": r.id}) for r in whole.records])
    index = build(labelled, tmp_path / "i", calibrate=True)
    assert "try generator 'template'" in (Describer(index)(_square("red")).reason or "")
    told = Describer(index, "template")(_square("red"))
    assert not told.abstained
    assert "<div>Colour: a00.</div>" in render_report([told], index)


def test_a_caption_can_not_fake_a_citation(index: Index) -> None:
    lie = "There is one red square [2]."
    assert Describer(index, Says(lie), keep_unsupported=True)(_square("red")).cited_text.startswith(
        "There is one red square (2)."
    )


def test_an_index_without_calibration_is_described_from_only_where_nothing_shall_be_refused(tmp_path: Path) -> None:
    index = build(make_corpus(tmp_path / "c", 8), tmp_path / "i", calibrate=False)
    with pytest.raises(InputError, match="no calibration"):
        Describer(index)
    assert not Describer(index, alpha=0)(_square("red")).abstained


def test_json_has_the_documented_keys_and_no_subject(index: Index) -> None:
    found = Describer(index)([_square("red"), _square("green")], subject_id="secret subject")
    for description in found:
        document = json.loads(json.dumps(description.to_dict()))
        assert list(document) == [
            *("image", "text", "abstained", "reason", "confidence", "evidence", "neighbours", "provenance", "timings")
        ]
        assert set(document["neighbours"][0]) == {
            *("rank", "id", "score", "caption", "image", "source", "licence", "duplicate")
        }
        provenance = document["provenance"]
        assert provenance["index_fingerprint"] == index.fingerprint
        assert provenance["encoder"]["name"] == "colour"
        assert provenance["parameters"]["k"] == 5
        assert set(document["timings"]) == {"decode", "retrieve", "generate", "evidence"}
        assert "secret subject" not in json.dumps(document)
    assert found[0].provenance["prompt_hash"] and found[1].provenance["prompt_hash"] is None


def test_a_batch_says_what_single_calls_say(index: Index) -> None:
    describe = Describer(index)
    pictures = [_square("red"), _square("green"), _square("red")]
    batch = [d.text for d in describe(pictures)]
    assert batch == [describe(picture).text for picture in pictures]
    assert [d.text for part in describe.batches(pictures, size=2) for d in part] == batch


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"k": 0}, "k is 0"),
        ({"alpha": 1.0}, "alpha is 1.0"),
        ({"threshold": 2.0}, "threshold is 2.0"),
        ({"generator": "gpt"}, "unknown generator"),
        ({"template": "no-such", "generator": "vlm:no-such-folder"}, "unknown template"),  # before a model is loaded
        ({"colour": "red"}, "there is no option 'colour'"),
    ],
)
def test_unusable_options_are_one_clear_line(index: Index, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Describer(index, **options)(_square("red"))


def test_words_can_not_be_described(index: Index) -> None:
    with pytest.raises(InputError, match="is words"):
        Describer(index)(Query(id="red", text="red"))


def test_a_question_reaches_the_prompt_but_not_the_retrieval(index: Index) -> None:
    plain = Describer(index, Says("a red square number 1."))(_square("red"))
    generator = Records("a red square number 1.")
    describer = Describer(index, generator)
    asked = describer(_square("red"), question="Is it green?")
    assert [hit.record.id for hit in asked.context.hits] == [hit.record.id for hit in plain.context.hits]
    assert 'Asked: "Is it green?"' in generator.prompts[0].user
    assert (asked.text, asked.evidence, asked.confidence) == (plain.text, plain.evidence, plain.confidence)
    assert asked.provenance["question"] == "Is it green?" and plain.provenance["question"] is None
    assert "Asked: Is it green?" in render_report([asked], index)
    assert "Asked" not in render_report([plain], index)
    assert describer(_square("green"), question="Is it green?").abstained
    assert len(generator.prompts) == 1
    batches = describer.batches([_square("red")] * 2, question="Is it red?", size=1)
    assert [d.provenance["question"] for part in batches for d in part] == ["Is it red?"] * 2
    fused = Describer(index, mode="fused")(_square("red"), question="a red square")
    assert not fused.abstained


@pytest.mark.parametrize(("question", "says"), [(" \u200b", "the question is empty"), ("What?", "hears no question")])
def test_questions_that_nobody_hears_are_refused(index: Index, question: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Describer(index)(_square("red"), question=question)


def test_findings_then_impression(index: Index) -> None:
    class Chain(Records):
        def generate(self, prompts: Sequence[Prompt]) -> list[str]:
            texts = super().generate(prompts)
            return [
                t if "captions of" in p.system else "There are 7 green cells."
                for p, t in zip(prompts, texts, strict=True)
            ]

    own = Describer(index, "nearest")(_square("red")).text
    describe = Describer(index, Chain(own), template="findings-impression", keep_unsupported=True)
    near, far = describe([_square("red"), _square("green")])
    assert [item.sentence for item in near.evidence] == [own, "There are 7 green cells."]
    assert [item.supported for item in near.evidence] == [True, False]
    hashes = [near.provenance[name] for name in ("prompt_hash", "second_prompt_hash")]
    assert hashes == [prompt_hash(prompt) for prompt in describe.generator.prompts]  # type: ignore[attr-defined]
    assert list(near.timings) == ["decode", "retrieve", "generate", "second_turn", "evidence"]
    assert far.abstained and far.provenance["second_prompt_hash"] is None
    dropped = Describer(index, Chain(own), template="findings-impression")(_square("red"))
    assert (dropped.text, dropped.provenance["dropped_sentences"]) == (own, 1)
    assert json.dumps(near.to_dict())


def test_zero_shot_is_checked_against_references_that_it_never_saw(index: Index) -> None:
    own = Describer(index, "nearest")(_square("red"))
    generator = Records(f"{own.text}. There are 7 green cells.")
    described = Describer(index, generator, template="zero-shot")(_square("red"))
    assert (described.text, described.evidence[0].record_ids) == (f"{own.text}.", own.evidence[0].record_ids)
    assert generator.prompts[0].cited_ids == ()
    assert "square" not in generator.prompts[0].system + generator.prompts[0].user


def test_what_was_dropped_for_length_is_told(index: Index) -> None:
    generator = Records("a red square number 1.")
    provenance = Describer(index, generator, max_chars=600)(_square("red")).provenance
    assert provenance["dropped_references"] == 5 - len(generator.prompts[0].cited_ids) > 0
    assert provenance["parameters"]["max_chars"] == 600
    assert Describer(index)(_square("red")).provenance["dropped_references"] == 0


@pytest.mark.parametrize("template", [name for name in template_names() if name != "zero-shot"])
def test_nothing_of_an_excluded_subject_or_duplicate_goes_in(tmp_path: Path, template: str) -> None:
    """Neither caption nor picture: a generator can only get the pictures of what its prompt cites."""
    root = tmp_path / "c"
    records = [
        Record("own", "p0.png", "caption OWN", "patient"), Record("double", "p1.png", "caption DOUBLE"),
        Record("named", "p2.png", "caption NAMED"), *(Record(str(n), f"p{n}.png", f"caption {n}") for n in range(3, 6)),
    ]  # fmt: skip
    noise = np.random.default_rng(0).integers(0, 255, (6, 40, 40, 3), dtype=np.uint8)
    root.mkdir()
    for n, pixels in enumerate(noise):
        Image.fromarray(pixels).save(root / f"p{n}.png")
    index = build(of(root, records), tmp_path / "i", calibrate=True)
    generator = Records("caption 3.")
    describe = Describer(index, generator, 6, alpha=0, template=template, duplicates="exclude", exclude_ids={"named"})
    describe(Image.fromarray(noise[1]), subject_id="patient")
    prompt = generator.prompts[0]
    assert sorted(prompt.cited_ids) == ["3", "4", "5"]
    assert not re.search("OWN|DOUBLE|NAMED", prompt.user)
    shown = {number: picture(prompt, number) for number in pictured(prompt, 99)}
    assert {number: np.asarray(shown[number]).tobytes() for number in shown} == {
        number: noise[int(i)].tobytes() for number, i in enumerate(prompt.cited_ids, 1)
    }
    for number in (4, 5, 6):
        with pytest.raises(InputError, match=f"reference .{number}. has no picture"):
            picture(prompt, number)


def test_the_report_shows_sentences_references_and_refusals(index: Index, tmp_path: Path) -> None:
    found = Describer(index)([_square("red"), _square("green")])
    path = write_report(found, index, tmp_path / "out" / "report.html")
    page = path.read_text(encoding="utf-8")
    assert "1 described, 1 refused" in page
    assert found[0].evidence[0].sentence in page
    assert "Not described." in page
    assert page.count("data:image/jpeg;base64,") == 2 + sum(len(d.context.hits) for d in found)
    assert "http://" not in page and "https://" not in page
    # an article is often longer than a sheet: kept whole it would leave sheets empty
    assert "break-inside: avoid" in page and "article { break-inside" not in page


def test_a_report_survives_lost_pictures_and_hostile_captions(tmp_path: Path) -> None:
    whole = make_corpus(tmp_path / "c", 4)
    evil = Record(id="<b>x", image="p00.png", caption="a red <script>alert(1)</script> square")
    index = build(of(whole.root, [evil, *whole.records[1:]]), tmp_path / "i", calibrate=True)
    (tmp_path / "c" / "p00.png").unlink()
    page = render_report(Describer(index, generator="nearest")([_square("red")]), index)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "no picture at hand" in page
