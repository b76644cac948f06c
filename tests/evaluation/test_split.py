"""Splits: nothing on both sides, the same on every machine, the share that was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from suitetools import OFFICIAL, asked, records_of, suite_of

from ragvlm.errors import InputError
from ragvlm.evaluation.split import parts_of, subject_of
from ragvlm.evaluation.suite import Relevance, Split
from ragvlm.readers.questions import questions_of
from ragvlm.types import Record

subjects = st.lists(st.none() | st.sampled_from([f"s{n}" for n in range(12)]), min_size=2, max_size=60)
fractions = st.floats(0.01, 0.99)


def enough(names: list[str | None]) -> bool:
    return len({subject_of(record) for record in records_of(names)}) > 1


@given(subjects.filter(enough), fractions, st.integers(0, 9))
def test_no_subject_on_both_sides_and_nothing_lost(names, fraction, seed):
    records = records_of(names)
    parts = parts_of(suite_of(split=Split(fraction=fraction, seed=seed)), records)
    asked, indexed = {subject_of(r) for r in parts.queries}, {subject_of(r) for r in parts.index}
    assert asked
    assert indexed
    assert not asked & indexed
    assert sorted((*parts.queries, *parts.index), key=lambda r: int(r.id)) == records
    assert [int(r.id) for r in parts.queries] == sorted(int(r.id) for r in parts.queries)


@given(subjects.filter(enough), fractions, st.integers(0, 9))
def test_the_share_is_that_of_the_subjects(names, fraction, seed):
    parts = parts_of(suite_of(split=Split(fraction=fraction, seed=seed)), records_of(names))
    asked, indexed = {subject_of(r) for r in parts.queries}, {subject_of(r) for r in parts.index}
    n = len(asked) + len(indexed)
    assert len(asked) == min(max(round(fraction * n), 1), n - 1)


@given(subjects.filter(enough), st.randoms())
def test_the_order_of_records_doesnt_matter(names, random):
    records = records_of(names)
    shuffled = random.sample(records, len(records))
    suite = suite_of(split=Split(fraction=0.4))
    assert {r.id for r in parts_of(suite, records).queries} == {r.id for r in parts_of(suite, shuffled).queries}


def test_the_same_on_every_machine():
    # the lowest of sha256("0:s0") to sha256("0:s9"): a change here is a change of every figure that was published
    parts = parts_of(suite_of(split=Split(fraction=0.3)), records_of([f"s{n}" for n in range(10)]))
    assert [r.id for r in parts.queries] == ["0", "3", "5"]


def test_seeds_differ():
    records = records_of([f"s{n}" for n in range(40)])
    parts = [parts_of(suite_of(split=Split(fraction=0.5, seed=seed)), records) for seed in range(5)]
    assert len({tuple(r.id for r in found.queries) for found in parts}) == 5


@given(st.integers(1, 20), st.integers(0, 3))
def test_a_limit_keeps_the_order_and_draws_from_the_queries(limit, seed):
    records = records_of([None] * 20)
    whole = parts_of(suite_of(split=Split(fraction=0.5, seed=seed)), records)
    some = parts_of(suite_of(split=Split(fraction=0.5, seed=seed, limit=limit)), records)
    assert len(some.queries) == min(limit, 10)
    assert [r for r in whole.queries if r in some.queries] == list(some.queries)
    assert some.index == whole.index


def test_leave_one_out_asks_about_all_and_hides_the_subject():
    records = records_of(["a", "a", None])
    parts = parts_of(suite_of(split=Split(by="leave-one-out")), records)
    assert parts.queries == parts.index == tuple(records)
    assert parts.own == "hide"


def test_the_official_split_of_records():
    records = [
        replace(r, extra={"split": s}) for r, s in zip(records_of([None] * 3), ["train", "val", "test"], strict=True)
    ]
    parts = parts_of(suite_of(split=OFFICIAL), records)
    assert ([r.id for r in parts.queries], [r.id for r in parts.index]) == (["2"], ["0"])
    rest = parts_of(suite_of(split=replace(OFFICIAL, index=())), records)
    assert [r.id for r in rest.index] == ["0", "1"]


def test_the_official_split_of_questions():
    first = Record("a", "a.png", extra={"questions": asked("train", "test", "train")})
    second = Record("b", "b.png", extra={"questions": asked("test", "val")})
    parts = parts_of(suite_of("vqa", OFFICIAL), [first, second])
    assert [(r.id, [q["qid"] for q in questions_of(r)]) for r in parts.queries] == [("a", ["1"]), ("b", ["0"])]
    assert [(r.id, [q["qid"] for q in questions_of(r)]) for r in parts.index] == [("a", ["0", "2"])]
    assert parts.index[0].caption == "q0? a0. q2? a2."
    both = parts_of(suite_of("vqa", replace(OFFICIAL, index=("train", "val"))), [first, second])
    assert [(r.id, len(questions_of(r))) for r in both.index] == [("a", 2), ("b", 1)]


def test_questions_without_a_split_take_that_of_their_record():
    records = [Record(s, "x.png", extra={"split": s, "questions": asked(None)}) for s in ("train", "test")]
    assert [r.id for r in parts_of(suite_of("vqa", OFFICIAL), records).queries] == ["test"]


def test_a_caption_of_its_own_stays():
    records = [Record(s, "x.png", "a caption", extra={"split": s, "questions": asked(None)}) for s in ("train", "test")]
    assert parts_of(suite_of("vqa", OFFICIAL), records).index[0].caption == "a caption"


def test_what_a_task_cannot_use_is_left_out():
    whole = records_of([None] * 4)
    mute, blind = replace(whole[0], caption=None), replace(whole[1], image=None)
    parts = parts_of(suite_of(split=Split(by="leave-one-out")), [mute, blind, *whole[2:]])
    assert [r.id for r in parts.queries] == ["2", "3"]
    rule = Relevance("labels", labels=("kind", "modality"))
    labelled = replace(whole[2], labels={"kind": "x"}, modality="CT")
    found = parts_of(
        suite_of("retrieve", Split(by="leave-one-out"), relevance=rule), [*whole, replace(labelled, id="z")]
    )
    assert [r.id for r in found.queries] == ["z"]


def test_paired_captions_are_looked_up_among_the_queries():
    suite = suite_of("retrieve", Split(fraction=0.5), relevance=Relevance("caption", directions=("image->text",)))
    parts = parts_of(suite, records_of([None] * 10))
    assert (len(parts.queries), parts.index, parts.own) == (5, parts.queries, "wanted")


TESTED = [Record("a", "a.png", "x", extra={"split": "test"})]


@pytest.mark.parametrize(
    ("task", "split", "records", "message"),
    [
        ("describe", Split(), [], r"no record has a picture and a caption"),
        ("vqa", Split(), records_of([None] * 3), r"no record has a picture and questions"),
        ("ground", Split(), records_of([None] * 3), r"no record has a picture and boxes"),
        ("describe", Split(), records_of(["a", "a"]), r"all records are of one subject; split by 'official'"),
        ("describe", OFFICIAL, records_of([None] * 7), r"7 records have no 'split', as '0', '1', '2', '3', '4': look"),
        ("describe", replace(OFFICIAL, queries=("tset",)), TESTED, r"no record has split 'tset'; there are test"),
        ("describe", replace(OFFICIAL, index=()), TESTED, r"nothing is left to index"),
    ],
)  # fmt: skip
def test_sides_that_stay_empty(task, split, records, message):
    with pytest.raises(InputError, match=rf"^x\.toml: {message}") as caught:
        parts_of(suite_of(task, split), records)
    assert "\n" not in str(caught.value)
