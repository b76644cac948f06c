"""Parts of a corpus without a subject in two of them, and corpora that nothing can be learnt from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError
from ragvlm.evaluation.split import subject_of
from ragvlm.tuning.split import captioned, corpus_facts, labelled, questioned, split_by_subject
from ragvlm.types import Record


def records(subjects):
    return [Record(f"r{i}", "p.png", "words", subject_id=s) for i, s in enumerate(subjects)]


@given(
    st.lists(st.sampled_from([None, *"abcdefgh"]), min_size=1, max_size=40),
    st.floats(0.05, 0.45),
    st.floats(0, 0.45),
    st.integers(0, 9),
    st.randoms(),
)
def test_no_subject_is_in_two_parts_whatever_the_order(subjects, validation, test, seed, dice):
    found = records(subjects)
    settings = {"name": "c", "validation": validation, "test": test, "seed": seed}
    count = len({subject_of(r) for r in found})
    if count < (3 if test else 2):
        with pytest.raises(InputError, match="can't be split"):
            split_by_subject(found, **settings)
        return
    split = split_by_subject(found, **settings)
    parts = [split.train, split.validation, split.test]
    sides = [{subject_of(r) for r in part} for part in parts]
    assert sum(map(len, sides)) == count
    assert sorted(r.id for part in parts for r in part) == sorted(r.id for r in found)
    assert all(parts[:2])
    assert bool(parts[2]) == bool(test)
    mixed = list(found)
    dice.shuffle(mixed)
    again = split_by_subject(mixed, **settings)
    assert {r.id for r in again.test} == {r.id for r in split.test}
    assert {r.id for r in again.train} == {r.id for r in split.train}


def test_shares_are_of_subjects_and_the_seed_draws_them():
    found = records([str(i // 3) for i in range(60)])
    split = split_by_subject(found, name="c", validation=0.1, test=0.2)
    assert split.facts() == {
        "train": {"records": 42, "subjects": 14},
        "validation": {"records": 6, "subjects": 2},
        "test": {"records": 12, "subjects": 4},
    }
    assert split_by_subject(found, name="c", validation=0.1, test=0.2, seed=1) != split


@pytest.mark.parametrize(("validation", "test"), [(0, 0.1), (1, 0), (0.5, 0.5), (0.1, -0.1)])
def test_shares_that_leave_nothing_are_refused(validation, test):
    with pytest.raises(InputError, match="are shares"):
        split_by_subject(records("abcd"), name="c", validation=validation, test=test)


def test_too_few_subjects_are_one_line_that_says_what_to_do():
    with pytest.raises(InputError, match=r"^mine: 2 subjects can't be split into 3 parts: .* or --test 0$"):
        split_by_subject(records("aab"), name="mine")
    with pytest.raises(InputError, match=r"^mine: 1 subject can't be split into 2 parts: give"):
        split_by_subject(records("aaa"), name="mine", test=0)


def test_wrong_corpora_are_one_line():
    plain = Corpus.from_records([Record("a", None, "words", labels={"kind": "x"}), Record("b", None)], name="c")
    with pytest.raises(InputError, match=r"^c: no record has a picture and a caption"):
        captioned(plain)
    with pytest.raises(InputError, match=r"^c: no record has a picture and questions"):
        questioned(plain)
    with pytest.raises(InputError, match=r"^c: no record has a picture and a value of 'kind'"):
        labelled(plain, "kind")


def test_one_class_is_refused(tmp_path):
    (tmp_path / "p.png").write_bytes(b"x")
    found = [Record(f"r{i}", "p.png", labels={"kind": "x"}, licence="CC0-1.0", subject_id=str(i)) for i in range(3)]
    corpus = Corpus.from_records(found, root=tmp_path, name="c")
    with pytest.raises(InputError, match=r"^c: 'kind' is 'x' in all records: nothing is to be told apart"):
        labelled(corpus, "kind")
    facts = corpus_facts(corpus, found, split_by_subject(found, name="c"))
    assert facts["licences"] == ["CC0-1.0"]
    assert facts["split"]["test"] == {"records": 1, "subjects": 1}
