"""TREC files: both ways, read by pytrec_eval too, ordered as trec_eval orders, refused line by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from ragvlm.errors import InputError
from ragvlm.measures.base import Item
from ragvlm.measures.retrieval import retrieval
from ragvlm.measures.trec import read_qrels, read_run, trec_order, write_qrels, write_run

# as in a file written by hand: the ranks are wrong on purpose, trec_eval doesn't look at them
RUN = """\
# a comment
q1 Q0 d1 3 0.5 mine

q1\tQ0\td3 1   2.25 mine
q1 Q0 d10 2 0.5 mine
q1 Q0 d9 9 0.5 mine
q2 Q0 d1 1 1e-3 mine\r
"""
QRELS = "\ufeffq1 0 d9 1\nq1 0 d3 0\nq2 0 d2 +2\nq3 0 d1 -1"
IDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=6).filter(lambda s: s[0] != "#")
SCORES = st.floats(width=32, allow_nan=False, allow_infinity=False)


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_reads_what_others_write(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "run.trec", RUN))
    # 0.5 is tied between d1, d10 and d9: the higher name first, and "9" is higher than "10"
    assert run == {"q1": [("d3", 2.25), ("d9", 0.5), ("d10", 0.5), ("d1", 0.5)], "q2": [("d1", np.float32(1e-3))]}
    qrels = read_qrels(write(tmp_path / "qrels.txt", QRELS))
    assert qrels == {"q1": {"d9": 1, "d3": 0}, "q2": {"d2": 2}, "q3": {"d1": -1}}


def test_pytrec_eval_breaks_the_same_ties_from_the_same_files(tmp_path: Path) -> None:
    run = {"q1": [("d1", 0.5), ("d10", 0.5 + 1e-12), ("d9", 0.5)], "q2": [("b", 1.0), ("ä", 1.0), ("z", 2.0)]}
    qrels = {"q1": {"d10": 1, "d2": 1}, "q2": {"b": 1}}
    write_run(tmp_path / "run.trec", run)
    write_qrels(tmp_path / "qrels.txt", qrels)
    with (tmp_path / "run.trec").open(encoding="utf-8") as lines, (tmp_path / "qrels.txt").open() as judged:
        evaluator = pytrec_eval.RelevanceEvaluator(pytrec_eval.parse_qrel(judged), {"recip_rank", "map"})
        theirs = evaluator.evaluate(pytrec_eval.parse_run(lines))
    assert theirs["q1"]["recip_rank"] == 1 / 2  # d9, d10, d1
    assert theirs["q2"]["recip_rank"] == 1 / 3  # z, ä, b: bytes above 127 come last in the alphabet
    items = [Item(name, name, found, qrels[name]) for name, found in run.items()]
    ours = retrieval("MRR").statistics(items).scores
    assert ours is not None
    assert ours.tolist() == [theirs["q1"]["recip_rank"], theirs["q2"]["recip_rank"]]
    assert [d for d, _ in read_run(tmp_path / "run.trec")["q2"]] == ["z", "ä", "b"]


def test_the_file_itself(tmp_path: Path) -> None:
    write_run(tmp_path / "run.trec", {"q": [("a", 0.1), ("b", 0.3), ("c", 0.3)]}, tag="mine")
    assert (tmp_path / "run.trec").read_bytes() == b"q Q0 c 1 0.3 mine\nq Q0 b 2 0.3 mine\nq Q0 a 3 0.1 mine\n"
    write_qrels(tmp_path / "qrels.txt", {"q": {"a": 0, "b": 2}})
    assert (tmp_path / "qrels.txt").read_bytes() == b"q 0 a 0\nq 0 b 2\n"


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(IDS, st.dictionaries(IDS, SCORES, min_size=1, max_size=6), min_size=1, max_size=4))
def test_a_run_comes_back_as_it_was_ranked(tmp_path_factory: pytest.TempPathFactory, run: dict) -> None:
    path = tmp_path_factory.mktemp("trec") / "run.trec"
    given_run = {name: list(found.items()) for name, found in run.items()}
    write_run(path, given_run)
    back = read_run(path)
    assert back == {name: trec_order(found) for name, found in given_run.items()}
    with path.open(encoding="utf-8") as lines:
        theirs = pytrec_eval.parse_run(lines)
    assert {name: trec_order(list(found.items())) for name, found in theirs.items()} == back


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(IDS, st.dictionaries(IDS, st.integers(-2, 10_000), min_size=1), min_size=1, max_size=4))
def test_qrels_come_back(tmp_path_factory: pytest.TempPathFactory, qrels: dict) -> None:
    path = tmp_path_factory.mktemp("trec") / "qrels.txt"
    write_qrels(path, qrels)
    assert read_qrels(path) == qrels


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("q Q0 d 1 0.5 tag\nq Q0 d2 2 0.4\n", "line 2: 5 fields, not 'query Q0 document rank score tag'"),
        ("q Q0 my doc 1 0.5 tag\n", "line 1: 7 fields"),
        ("\n# c\nq Q0 d 1 high tag\n", "line 3: score 'high'"),
        ("q Q0 d 1 nan tag\n", "line 1: score 'nan'"),
        ("q Q0 d 1 1e39 tag\n", "line 1: score '1e39'"),
        ("q Q0 d 1 0.5 t\nq Q0 d 2 0.4 t\n", "line 2: document 'd' of query 'q' was found before"),
        ("# nothing\n", "holds nothing"),
        ("", "holds nothing"),
    ],
)
def test_refuses_a_run_line_by_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        read_run(write(tmp_path / "run.trec", text))
    assert words in str(error.value)
    assert "run.trec" in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("q 0 d 1\nq 0 d\n", "line 2: 3 fields, not 'query 0 document gain'"),
        ("q 0 d 1.5\n", "line 1: gain '1.5'"),
        ("q 0 d 99999\n", "line 1: gain '99999'"),
        ("q 0 d ٣\n", "line 1: gain"),
        ("q 0 d 1\nq 0 d 0\n", "line 2: document 'd' of query 'q' was judged before"),
    ],
)
def test_refuses_qrels_line_by_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        read_qrels(write(tmp_path / "qrels.txt", text))
    assert words in str(error.value)


def test_refuses_what_is_no_text_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "run.trec").write_bytes(b"q Q0 d 1 0.5 t\nq Q0 \xff 2 0.4 t\n")
    with pytest.raises(InputError, match="line 2: not UTF-8"):
        read_run(tmp_path / "run.trec")
    with pytest.raises(InputError, match="No such file"):
        read_run(tmp_path / "absent.trec")
    with pytest.raises(InputError, match="directory"):
        read_qrels(tmp_path)


@pytest.mark.parametrize("name", ["a b", "", "#1", "a\u00a0b", "a\nb", "a\0b"])
def test_refuses_to_write_ids_that_no_one_could_read(tmp_path: Path, name: str) -> None:
    for run in ({name: [("d", 1.0)]}, {"q": [(name, 1.0)]}):
        with pytest.raises(InputError, match="can't stand in a TREC file") as error:
            write_run(tmp_path / "run.trec", run)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="can't stand"):
        write_qrels(tmp_path / "qrels.txt", {"q": {name: 1}})
    with pytest.raises(InputError, match="can't stand"):
        write_run(tmp_path / "run.trec", {"q": [("d", 1.0)]}, tag=name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("found", "words"), [([("d", float("nan"))], "finite"), ([("d", 1.0), ("d", 2.0)], "twice")])
def test_refuses_to_write_a_run_that_is_none(tmp_path: Path, found: list, words: str) -> None:
    with pytest.raises(InputError, match=words):
        write_run(tmp_path / "run.trec", {"q": found})
    assert not list(tmp_path.iterdir())
