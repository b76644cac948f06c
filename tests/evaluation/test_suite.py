"""The suite's format: what it holds, and one line for whatever is wrong in it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragvlm.errors import InputError
from ragvlm.evaluation.suite import BASELINES, CONTROLS, load_suite

HEAD = 'name = "cells"\ntask = "{task}"\ntitle = "Cells"\nsource = "nobody"\nlicence = "CC0-1.0"\n'
CORPUS = '[corpus]\ndata = "cells"\nget = "draw them"\n'
SPLIT = '[split]\nby = "subject"\n'


def write(folder: Path, task: str = "describe", top: str = "", corpus: str = CORPUS, split: str = SPLIT, end: str = ""):
    path = folder / "suite.toml"
    path.write_text(HEAD.format(task=task) + top + "\n" + corpus + split + end, encoding="utf-8")
    return path


def test_the_least_that_a_suite_needs(tmp_path):
    suite = load_suite(write(tmp_path))
    assert (suite.name, suite.task, suite.corpus.data, suite.split.by) == ("cells", "describe", "cells", "subject")
    assert (suite.k, suite.seed, suite.measures, suite.systems, suite.literature) == ((5,), 0, (), (), ())
    assert suite.baselines == BASELINES["describe"]
    assert suite.controls == CONTROLS
    assert suite.group is None


def test_all_that_a_suite_may_say(tmp_path):
    top = 'doi = "10.1/x"\nmeasures = ["BLEU-4", "ROUGE-L"]\nsystems = ["consensus"]\nk = [10, 1, 5]\nseed = 7\n'
    top += 'controls = ["blank picture"]\ngroup = "assay"\n'
    corpus = '[corpus]\npath = "there"\nreader = "csv"\ncolumns = { caption = "report" }\nget = "ask"\n'
    split = '[split]\nby = "official"\ncolumn = "part"\nqueries = ["test"]\nindex = ["train", "val"]\n'
    split += 'own_subject = "keep"\nseed = 3\nlimit = 9\n'
    row = '[[literature]]\nsystem = "X"\nmetric = "BLEU-4"\nvalue = 1\nsplit = "test"\nsource = "a paper"\nnote = "n"\n'
    suite = load_suite(write(tmp_path, top=top, corpus=corpus, split=split, end=row))
    assert (suite.doi, suite.measures, suite.k, suite.seed) == ("10.1/x", ("BLEU-4", "ROUGE-L"), (1, 5, 10), 7)
    assert suite.corpus.columns == {"caption": "report"}
    assert (suite.split.queries, suite.split.index, suite.split.column) == (("test",), ("train", "val"), "part")
    assert (suite.split.own_subject, suite.split.seed, suite.split.limit) == ("keep", 3, 9)
    assert (suite.controls, suite.group) == (("blank picture",), "assay")
    assert (suite.literature[0].value, suite.literature[0].doi, suite.literature[0].note) == (1.0, None, "n")


def test_defaults_of_tasks(tmp_path):
    ask = load_suite(write(tmp_path, "vqa"))
    assert (ask.group, ask.controls, ask.baselines) == ("answer_type", CONTROLS, BASELINES["vqa"])
    label = load_suite(write(tmp_path, "classify", top='label_set = "diabetic-retinopathy"'))
    assert (label.label, label.label_set, label.controls) == ("label", "diabetic-retinopathy", ())
    find = load_suite(write(tmp_path, "retrieve", end='[relevance]\nby = "caption"\n'))
    assert (find.k, find.relevance.directions) == ((10,), ("image->text", "text->image"))
    qrels = load_suite(write(tmp_path, "retrieve", end='[relevance]\nby = "qrels"\nqrels = "a.qrels"\n'))
    assert qrels.relevance.qrels == tmp_path / "a.qrels"
    simulated = load_suite(write(tmp_path, corpus="[corpus.simulate]\nn = 5\nkinds = ['dna_nuclei']\n"))
    assert simulated.corpus.simulate == {"n": 5, "seed": 0, "kinds": ["dna_nuclei"]}
    assert simulated.foreign is None


def test_foreign_queries_are_of_another_corpus_or_held_out(tmp_path):
    other = load_suite(write(tmp_path, end='[foreign]\npath = "there"\nget = "ask"\nlimit = 3\n')).foreign
    assert (other.source.path, other.source.get, other.column, other.limit) == ("there", "ask", "", 3)
    held = load_suite(write(tmp_path, end='[foreign]\ncolumn = "kind"\nvalues = ["a", "b"]\n')).foreign
    assert (held.source, held.column, held.values, held.limit) == (None, "kind", ("a", "b"), None)


def test_grades_have_an_order(tmp_path):
    suite = load_suite(write(tmp_path, "classify", top='classes = ["none", "mild", "severe"]'))
    assert suite.classes == ("none", "mild", "severe")


OFFICIAL = '[split]\nby = "official"\n'
WRONG = [
    ({"top": 'sistems = ["x"]'}, r"sistems: is no key of a suite; did you mean 'systems'\?"),
    ({"top": 'zzz = "x"'}, r"zzz: is no key of a suite; the keys are baselines, controls"),
    ({"task": "dream"}, r"task: is 'dream'; choose of describe, retrieve, classify, vqa, ground"),
    ({"top": "k = 0"}, r"k: is 0; give a whole number from 1"),
    ({"top": "k = []"}, r"k: is empty"),
    ({"top": "k = true"}, r"k: is True; give a whole number"),
    ({"top": 'seed = "x"'}, r"seed: is 'x'; give a whole number from 0"),
    ({"top": "seed = -1"}, r"seed: is -1; give a whole number from 0"),
    ({"top": "systems = [1]"}, r"systems: is \[1\]; give a list of words"),
    ({"top": 'systems = ["a", "a"]'}, r"systems: names 'a' twice"),
    ({"top": 'measures = ["BLEU-9"]'}, r"measures: unknown measure 'BLEU-9' of task 'describe'"),
    ({"top": 'measures = ["nDCG@10"]'}, r"measures: unknown measure 'nDCG@10' of task 'describe'"),
    ({"top": 'controls = ["darkness"]'}, r"controls: is 'darkness'; choose of blank picture"),
    ({"top": 'baselines = ["nearest"]'}, r"baselines: leaves out no retrieval, consensus.*means nothing without them"),
    ({"top": 'label = "x"'}, r"label: is no key"),
    ({"top": 'doi = ""'}, r"doi: is ''; give some words"),
    ({"top": "doi = '''a\nb'''"}, r"doi: is 'a\\nb'; give some words in quotes, on one line"),
    ({"top": 'doi = "\\u001b[31m"'}, r"doi: is .*; give some words"),
    ({"top": "literature = 1"}, r"literature: is 1; write each as a table, \[\[literature\]\]"),
    ({"corpus": ""}, r"corpus\.data: give one of data, path and simulate; here are none"),
    ({"corpus": '[corpus]\ndata = "a"\npath = "b"\nget = "x"\n'}, r"corpus\.data: give one of .*; here are data, path"),
    ({"corpus": '[corpus]\ndata = "a"\n'}, r"corpus\.get: is missing"),
    ({"corpus": '[corpus]\ndata = "../a"\nget = "x"\n'}, r"corpus\.data: is '../a'; name it relative to \$RAGVLM_DATA"),
    ({"corpus": '[corpus]\ndata = "/a"\nget = "x"\n'}, r"corpus\.data: is '/a'; name it relative to \$RAGVLM_DATA"),
    ({"corpus": CORPUS + 'columns = { capton = "x" }\n'}, r"corpus\.columns: has the unknown field 'capton'"),
    ({"corpus": CORPUS + "columns = 1\n"}, r"corpus\.columns: is 1; write it as a table, \[corpus\.columns\]"),
    ({"corpus": CORPUS + 'rader = "x"\n'}, r"corpus\.rader: is no key of a suite; did you mean 'reader'"),
    ({"corpus": "[corpus.simulate]\nn = 0\n"}, r"corpus\.simulate\.n: is 0; give a whole number from 1"),
    ({"corpus": "[corpus.simulate]\nn = 1\nm = 2\n"}, r"corpus\.simulate\.m: is no key"),
    ({"split": ""}, r"split\.by: is missing"),
    ({"split": '[split]\nby = "luck"\n'}, r"split\.by: is 'luck'; choose of subject, official, leave-one-out"),
    ({"split": SPLIT + "queries = 1.0\n"}, r"split\.queries: is 1; give the share of the subjects, between 0 and 1"),
    ({"split": SPLIT + "queries = nan\n"}, r"split\.queries: is nan; give a number"),
    ({"split": SPLIT + 'index = ["x"]\n'}, r"split\.index: is no key"),
    ({"split": SPLIT + "limit = 0\n"}, r"split\.limit: is 0; give a whole number from 1"),
    ({"split": OFFICIAL}, r"split\.queries: is missing"),
    ({"split": OFFICIAL + "queries = []\n"}, r"split\.queries: is empty; name at least one"),
    ({"split": OFFICIAL + 'queries = ["a"]\nindex = ["b", "a"]\n'}, r"split\.index: names 'a', which is asked about"),
    ({"split": '[split]\nby = "leave-one-out"\nown_subject = "keep"\n'}, r"split\.own_subject: is 'keep'"),
    ({"end": '[relevance]\nby = "caption"\n'}, r"relevance: is no key"),
    ({"end": "[foreign]\n"}, r"foreign\.data: give one of data, path and simulate; here are none"),
    ({"end": '[foreign]\ncolumn = "kind"\n'}, r"foreign\.values: is missing"),
    ({"end": '[foreign]\ncolumn = "kind"\nvalues = []\n'}, r"foreign\.values: is empty; name at least one"),
    ({"end": '[foreign]\ncolumn = "kind"\nvalues = "a"\ndata = "b"\n'}, r"foreign\.data: is no key"),
    ({"end": '[foreign]\ndata = "b"\nget = "x"\nlimit = 0\n'}, r"foreign\.limit: is 0; give a whole number from 1"),
    ({"task": "classify", "end": '[foreign]\ndata = "b"\nget = "x"\n'}, r"foreign: is no key of a suite"),
    ({"task": "classify", "top": 'classes = ["a", "a"]'}, r"classes: names 'a' twice"),
    ({"top": 'classes = ["a", "b"]'}, r"classes: is no key"),
    ({"task": "retrieve"}, r"relevance\.by: is missing"),
    ({"task": "retrieve", "end": '[relevance]\nby = "labels"\n'}, r"relevance\.labels: is missing"),
    ({"task": "retrieve", "end": '[relevance]\nby = "caption"\ndirections = []\n'}, r"relevance\.directions: is empty"),
    ({"end": '[[literature]]\nsystem = "X"\n'}, r"literature 1\.metric: is missing"),
    ({"end": "[[literature]]\nvalue = 1\n"}, r"literature 1\.system: is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_what_is_wrong_is_one_line_that_names_the_file_and_the_key(tmp_path, change, message):
    with pytest.raises(InputError, match=rf"suite\.toml: {message}") as caught:
        load_suite(write(tmp_path, **change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe", "can't be read \\(not UTF-8\\)"),
        (b"name = ", "is not TOML"),
        (b"a = [" * 5_000, "is not TOML"),
        (b"", "task: is missing"),
        (b"#" * 1_000_001, "has more than 1,000,000 bytes: this is no suite"),
    ],
)
def test_files_that_are_no_suite(tmp_path, data, message):
    path = tmp_path / "x.toml"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"x\.toml: {message}") as caught:
        load_suite(path)
    assert "\n" not in str(caught.value)


def test_a_suite_that_is_not_there(tmp_path):
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(InputError, match=r"can't be read \("):
            load_suite(path)


@pytest.mark.parametrize("name", ["../x", "a b", "", ".hidden", "a/b"])
def test_a_name_that_can_name_no_folder(tmp_path, name):
    path = write(tmp_path)
    path.write_text(path.read_text().replace('"cells"', f'"{name}"', 1))
    with pytest.raises(InputError, match=r"suite\.toml: name: is"):
        load_suite(path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abk", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
BASE = tomllib.loads(HEAD.format(task="describe") + CORPUS + SPLIT)
KEYS = [*BASE, "doi", "measures", "systems", "baselines", "controls", "k", "seed", "group", "literature"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(KEYS), values)
def test_any_value_of_any_key_is_taken_or_named(tmp_path, key, value):
    path = write(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ragvlm.evaluation.tomltable.tomllib.loads", lambda text: {**BASE, key: value})
        try:
            load_suite(path)
        except InputError as error:
            assert f"suite.toml: {key}" in str(error)
            assert "\n" not in str(error)
