"""Cases: what is asked, what is right, and that no result names a subject."""

from __future__ import annotations

from dataclasses import replace

import pytest
from suitetools import OFFICIAL, asked, records_of, suite_of

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError
from ragvlm.evaluation.cases import cases_of
from ragvlm.evaluation.split import Parts, parts_of
from ragvlm.evaluation.suite import Relevance, Split
from ragvlm.types import Record

ALL = Split(by="leave-one-out")


def made(suite, records):
    return cases_of(suite, parts_of(suite, records))


def test_descriptions():
    records = [replace(r, labels={"assay": "comet"}) for r in records_of(["p", "q", "p"])]
    cases = made(suite_of(split=ALL, group="assay"), records)
    assert [(c.id, c.references, c.cluster, c.group) for c in cases] == [
        ("0", ("picture 0",), "s00001", "comet"),
        ("1", ("picture 1",), "s00002", "comet"),
        ("2", ("picture 2",), "s00001", "comet"),
    ]
    assert cases[0].facts == {"labels": {"assay": "comet"}}


def test_no_case_shows_a_subject():
    record = Record("1", "1.png", "x", subject_id="Jane Doe", extra={"questions": asked(None)}, labels={"kind": "a"})
    for task, more in (("describe", {}), ("vqa", {}), ("classify", {"label": "kind"})):
        case = made(suite_of(task, ALL, **more), [record])[0]
        assert "Jane" not in repr(replace(case, record=Record("1")))


def test_questions():
    questions = asked(None, None)
    questions[0] |= {"answer_type": "CLOSED", "question_type": "SIZE", "choices": {"A": "yes"}}
    questions[1] |= {"answers": ["left", "left lung"]}
    cases = made(suite_of("vqa", ALL, group="answer_type"), [Record("r", "r.png", extra={"questions": questions})])
    assert [(c.id, c.words, c.references, c.group) for c in cases] == [
        ("0", "q0?", ("a0",), "CLOSED"),
        ("1", "q1?", ("left", "left lung"), None),
    ]
    assert cases[0].facts == {
        "question": "q0?", "question_type": "SIZE", "answer_type": "CLOSED", "choices": {"A": "yes"}
    }  # fmt: skip


def test_questions_are_told_apart_by_a_column_of_their_picture_too():
    records = [Record("r", "r.png", labels={"organ": "head"}, extra={"questions": asked(None)})]
    assert [c.group for c in made(suite_of("vqa", ALL, group="organ"), records)] == ["head"]


def test_questions_without_an_id_take_that_of_their_picture():
    bare = [{"question": "q?", "answer": 3}]
    assert [
        (c.id, c.references) for c in made(suite_of("vqa", ALL), [Record("r", "r.png", extra={"questions": bare})])
    ] == [("r:1", ("3",))]


def test_two_questions_of_one_id():
    records = [Record(name, "r.png", extra={"questions": asked(None)}) for name in "ab"]
    with pytest.raises(InputError, match=r"^x\.toml: two questions have the id '0'; give each its own"):
        made(suite_of("vqa", ALL), records)


def test_the_cluster_of_a_question_is_its_subject():
    records = [
        Record(str(n), "r.png", subject_id="p", extra={"questions": [{"qid": f"{n}", "question": "?", "answer": "x"}]})
        for n in range(2)
    ]
    assert {c.cluster for c in made(suite_of("vqa", ALL), records)} == {"s00001"}


@pytest.mark.parametrize(("value", "shown"), [("tumour", "tumour"), (3, "3"), (True, "true"), (False, "false")])
def test_labels_are_text(value, shown):
    records = [replace(r, labels={"kind": value}) for r in records_of([None, None])]
    assert [c.references for c in made(suite_of("classify", ALL, label="kind"), records)] == [shown, shown]


def labelled(kinds: str, subjects: list[str | None] | None = None) -> list[Record]:
    records = records_of(subjects or [None] * len(kinds))
    return [replace(r, labels={"kind": kind}) for r, kind in zip(records, kinds, strict=True)]


BY_KIND = Relevance("labels", labels=("kind",))


def test_relevance_by_labels_leaves_out_the_own_subject():
    suite = suite_of("retrieve", ALL, relevance=BY_KIND)
    cases = made(suite, labelled("aaab", ["p", "p", "q", None]))
    assert [c.references for c in cases] == [{"2": 1}, {"2": 1}, {"0": 1, "1": 1}, {}]


def test_relevance_by_labels_between_sides():
    records = labelled("aabb", ["p", "p", "q", "r"])
    parts = Parts(tuple(records[:1]), tuple(records[1:]), "keep")
    assert [c.references for c in cases_of(suite_of("retrieve", relevance=BY_KIND), parts)] == [{"1": 1}]
    hidden = cases_of(suite_of("retrieve", relevance=BY_KIND), replace(parts, own="hide"))
    assert [c.references for c in hidden] == [{}]


def test_queries_of_one_label_share_their_references():
    records = labelled("a" * 50 + "b" * 50)
    parts = Parts(tuple(records[:25]), tuple(records[25:]))
    cases = cases_of(suite_of("retrieve", relevance=BY_KIND), parts)
    assert len({id(case.references) for case in cases}) == 1
    assert len(cases[0].references) == 25


def test_paired_captions_in_both_directions():
    rule = Relevance("caption", directions=("image->text", "text->image"))
    records = records_of([None] * 3)
    records[2] = replace(records[2], caption=records[0].caption)
    cases = cases_of(suite_of("retrieve", relevance=rule), Parts(tuple(records), tuple(records), "wanted"))
    assert [(c.id, c.pictured, c.words, c.references) for c in cases[:2]] == [
        ("0@image->text", True, None, {"0": 1, "2": 1}),
        ("1@image->text", True, None, {"1": 1}),
    ]
    assert [(c.id, c.pictured, c.words, c.group) for c in cases[3:4]] == [
        ("0@text->image", False, "picture 0", "text->image")
    ]


def test_relevance_by_qrels(tmp_path):
    (tmp_path / "q").write_text("0 0 2 1\n0 0 1 0\n9 0 1 1\n")
    suite = suite_of("retrieve", ALL, relevance=Relevance("qrels", qrels=tmp_path / "q"))
    assert [(c.id, c.references) for c in made(suite, records_of([None] * 3))] == [("0", {"2": 1, "1": 0})]
    (tmp_path / "q").write_text("9 0 1 1\n")
    with pytest.raises(InputError, match=r"judges none of the 3 queries; look at its ids"):
        made(suite, records_of([None] * 3))


def test_boxes():
    boxes = [{"label": "WBC", "bbox": [1, 2, 3, 4]}]
    cases = made(suite_of("ground", ALL), [Record("r", "r.png", extra={"boxes": boxes})])
    assert cases[0].references == [{"bbox": [1.0, 2.0, 3.0, 4.0], "label": "WBC"}]
    for wrong in ([1, 2, 3], "x", [1, 2, 3, "4"], None):
        with pytest.raises(InputError, match=r"^x\.toml: box 1 of 'r' is no object with bbox"):
            made(suite_of("ground", ALL), [Record("r", "r.png", extra={"boxes": [{"bbox": wrong}]})])


def test_a_case_as_a_query_and_as_an_item(shared_pictures):
    corpus = Corpus.from_records([Record("a", "a.png", "x", subject_id="p")], root=shared_pictures)
    case = made(suite_of(split=ALL), corpus)[0]
    query = case.query(corpus)
    assert (query.id, query.image.size, query.text, query.subject_id) == ("a", (4, 4), None, "p")
    item = case.item("a dog", abstained=False)
    assert (item.id, item.cluster, item.prediction, item.references) == ("a", "s00001", "a dog", ("x",))
    assert item.facts == {"abstained": False}


@pytest.fixture
def shared_pictures(tmp_path):
    from pictures import draw

    draw(tmp_path / "a.png")
    return tmp_path


def test_ids_of_an_official_split_keep_to_their_side():
    records = [Record("a", "a.png", extra={"questions": asked("train", "test")})]
    assert [c.id for c in made(suite_of("vqa", OFFICIAL), records)] == ["1"]
