"""What identifies a person inside texts: found, replaced, counted; and what must not be touched."""

from __future__ import annotations

import json
import time
from collections import Counter
from itertools import pairwise

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from phireports import lines, score

from ragvlm import phi
from ragvlm.corpus import Corpus
from ragvlm.describe import Describer
from ragvlm.errors import InputError
from ragvlm.types import Record

TYPES = {"NAME", "DATE", "AGE", "ADDRESS", "PHONE", "EMAIL", "SSN", "ID", "URL", "IP"}


def test_the_reports_on_which_the_rules_were_tuned():
    found = score(lines("tuned.txt"))
    assert (found.missed, found.wrong) == ((), ())
    assert (found.marked, found.clean) == (90, 59)


def test_the_reports_that_were_held_out():
    found = score(lines("heldout.txt"))
    assert found.missed == (("DATE", "Christmas Day"), ("DATE", "2019-05"))  # known, and listed in docs/privacy.md
    assert (found.wrong, found.marked) == ((), 92)


def test_placeholders_say_the_type():
    text = "Dr. Anna Roth saw him on 3 May 2019 (MRN 0012345), tel. 617-555-0134; he is 93 years old."
    redacted, counts = phi.redact(text)
    assert redacted == "Dr. [NAME] saw him on [DATE] (MRN [ID]), tel. [PHONE]; he is [AGE] years old."
    assert counts == Counter(NAME=1, DATE=1, ID=1, PHONE=1, AGE=1)
    assert phi.redact(redacted) == (redacted, Counter())


def test_a_name_is_found_again_but_not_in_the_name_of_a_thing():
    text = "Patient: Otto Wright. Wright was seen; Wright's stain and Wright-Giemsa were used. wright"
    assert phi.redact(text)[0] == (
        "Patient: [NAME]. [NAME] was seen; Wright's stain and Wright-Giemsa were used. wright"
    )


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from([*(text for text, _ in lines("tuned.txt"))]) | st.text(max_size=20), max_size=4))
def test_findings_lie_in_order_in_the_text_and_redacting_twice_changes_nothing(parts):
    text = " ".join(parts)
    found = phi.find(text)
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert all(0 <= f.start < f.end <= len(text) and f.type in TYPES for f in found)
    once, counts = phi.redact(text)
    assert counts.total() == len(found)
    assert all(part in once for part in _between(text, found))


def _between(text, found):
    edges = [0, *(edge for f in found for edge in (f.start, f.end)), len(text)]
    return [text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize(
    "unit",
    ["A", "Aa ", "Aa-", "1.", "1 ", "1-", "a@", "Dr. Abc ", "name: ", "12/", "A^", "van ", "http://", "May ", "\n"],
)
def test_the_time_grows_with_the_length_alone(unit):
    text = unit * (100_000 // len(unit))
    before = time.process_time()
    phi.find(text)
    assert time.process_time() - before < 20  # some seconds at most; a rule that tries again and again takes hours


def test_modes(tmp_path):
    records = [
        Record(
            id="1",
            caption="Seen by Dr. Anna Roth.",
            labels={"note": "on 3 May 2019", "n": 3, "Dr. Ed Ott": True},
            source="Dr. Ann Poe",
            extra={
                "questions": [{"question": "Is Dr. Li right?", "n": 1}],
                "when": "2019-05-03",
                "url": "https://a.org/1",
            },
        ),
        Record(id="2", caption="Two nuclei."),
    ]
    redacted = Corpus.from_records(records, root=tmp_path)
    first = redacted.records[0]
    assert (first.caption, first.source) == ("Seen by Dr. [NAME].", "Dr. [NAME]")
    assert first.labels == {"note": "on [DATE]", "n": 3, "Dr. [NAME]": True}
    assert first.extra == {
        "questions": [{"question": "Is Dr. [NAME] right?", "n": 1}],
        "when": "[DATE]",
        "url": "https://a.org/1",
    }
    assert redacted.records[1] == records[1]
    assert redacted.phi.to_dict() == {"mode": "redact", "records": 1, "found": {"NAME": 4, "DATE": 2}}
    reported = Corpus.from_records(records, root=tmp_path, phi="report")
    assert (reported.records, reported.phi.found) == (tuple(records), redacted.phi.found)
    kept = Corpus.from_records(records, root=tmp_path, phi="keep")
    assert (kept.records, kept.phi.found) == (tuple(records), {})
    assert kept.fingerprint == reported.fingerprint != redacted.fingerprint
    assert redacted.summary()["phi"] == redacted.phi.to_dict()
    for line in (str(redacted.phi), str(reported.phi), repr(redacted)):
        assert "Roth" not in line
    with pytest.raises(InputError, match="phi is 'hide': choose one of redact, report, keep"):
        Corpus.from_records(records, root=tmp_path, phi="hide")


def test_an_index_holds_the_redacted_text_and_its_evidence_still_stands(tmp_path):
    for colour in ("red", "green", "blue"):
        tiny.paint(tmp_path / "in" / f"{colour}.png", colour)
    rows = [
        {"file_name": f"{colour}.png", "caption": f"Dr. Anna Roth saw a {colour} square on 3 May 2019."}
        for colour in ("red", "green", "blue")
    ]
    (tmp_path / "in" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    index = tiny.build(tmp_path / "in", tmp_path / "out")
    assert index.report.to_dict()["phi"] == {"mode": "redact", "records": 3, "found": {"NAME": 3, "DATE": 3}}
    assert not any(b"Roth" in data for data in tiny.files(tmp_path / "out").values())
    described = Describer(index, generator="nearest", k=1, alpha=0, threshold=0.5)(tmp_path / "in" / "red.png")
    assert described.text == "Dr. [NAME] saw a red square on [DATE]."
    assert described.evidence[0].record_ids == ("red.png",)
    assert described.cited_text == "Dr. (NAME) saw a red square on (DATE). [1]"
    kept = tiny.build(tmp_path / "in", tmp_path / "out", phi="keep")
    assert (kept.report.updated, kept.report.phi.found) == (3, {})
    corpus = Corpus.load(tmp_path / "in")
    with pytest.raises(InputError, match="phi is 'keep', but the corpus was read with 'redact'"):
        tiny.build(corpus, tmp_path / "other", phi="keep")


def test_simulated_captions_are_left_as_they_are(tmp_path):
    from ragvlm.simulate import simulate_corpus

    simulate_corpus(tmp_path / "s", 6, 3)
    assert Corpus.load(tmp_path / "s", phi="report").phi.found == {}


@pytest.mark.parametrize("name", ["blood-cells", "cell-assays", "vqa-rad"])
def test_real_captions_are_left_as_they_are(shared_data, name):
    assert Corpus.load(shared_data / name, phi="report").phi.found == {}
