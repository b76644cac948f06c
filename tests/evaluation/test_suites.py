"""The suites of eval/: each parses, gives its cases on data of its layout, and says where to get the data."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from pictures import draw
from publicsets import iu_xray, medmnist, path_vqa, pmc_vqa, quilt_vqa, r2gen, rocov2, slake, vqa_rad

from ragvlm.errors import CorpusError
from ragvlm.evaluation.cases import cases_of
from ragvlm.evaluation.data import absent, load_corpus, place
from ragvlm.evaluation.foreign import foreign_cases
from ragvlm.evaluation.split import parts_of, subject_of
from ragvlm.evaluation.suite import load_suite
from ragvlm.evaluation.tomltable import TomlTable
from ragvlm.labelsets import as_label_set

ROOT = Path(__file__).resolve().parents[2]
SUITES = {path.stem: path for path in sorted((ROOT / "eval").glob("*.toml"))}
MEDMNIST = {name: name for name in SUITES if name.endswith("mnist")}
SHARED = ("blood-cells", "blood-cells-foreign", "blood-cells-ground", "cell-assays",
          "cell-assays-classify", "cell-assays-retrieve", "vqa-rad")  # fmt: skip
CLASSES = {"pathmnist": 9, "dermamnist": 7, "octmnist": 4, "pneumoniamnist": 2, "breastmnist": 2, "retinamnist": 5}
BUILT = {
    "vqa-rad-official": vqa_rad, "slake": slake, "path-vqa": path_vqa, "quilt-vqa": quilt_vqa, "pmc-vqa": pmc_vqa,
    "rocov2": rocov2, "rocov2-image-text": rocov2, "iu-xray": iu_xray, "iu-xray-r2gen": r2gen,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("RAGVLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAGVLM_DATA", str(tmp_path / "data"))


def test_every_suite_is_tested_here():
    simulated = {name for name in SUITES if name.startswith("simulated")}
    assert set(SUITES) == {*simulated, *SHARED, *BUILT, *MEDMNIST}
    assert len(simulated) == 5


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_parses_and_is_listed(name):
    suite = load_suite(SUITES[name])
    assert suite.name == name
    assert f"`{name}`" in (ROOT / "eval" / "README.md").read_text(encoding="utf-8")
    if suite.label_set:
        as_label_set(suite.label_set)


@pytest.mark.parametrize("name", [name for name in SUITES if not name.startswith("simulated")])
def test_a_suite_without_its_data_is_skipped_with_one_line(name, monkeypatch):
    suite = load_suite(SUITES[name])
    line = absent(suite)
    assert line is not None
    assert line.startswith(f"suite '{name}' is skipped: {place(suite)} is not there; ")
    assert "\n" not in line
    with pytest.raises(CorpusError, match="is skipped"):
        load_corpus(suite)
    monkeypatch.delenv("RAGVLM_DATA")
    assert "$RAGVLM_DATA is not set" in str(absent(suite))


def cases_for(name: str):
    suite = load_suite(SUITES[name])
    assert absent(suite) is None
    corpus = load_corpus(suite)
    parts = parts_of(suite, corpus)
    return suite, corpus, parts, cases_of(suite, parts)


COUNTS = {
    "vqa-rad-official": (2, 3, 2), "slake": (1, 1, 1), "path-vqa": (1, 2, 1), "quilt-vqa": (3, 3, 3),
    "pmc-vqa": (1, 2, 1), "rocov2": (2, 2, 2), "rocov2-image-text": (2, 2, 4), "iu-xray": (1, 3, 1),
    "iu-xray-r2gen": (2, 3, 2),
}  # fmt: skip
"""Records asked about, records indexed, cases."""


@pytest.mark.parametrize("name", BUILT)
def test_a_public_suite_on_data_of_its_layout(name, tmp_path):
    BUILT[name](place(load_suite(SUITES[name])))
    suite, corpus, parts, cases = cases_for(name)
    if name != "iu-xray":  # of its three patients with a report, which one is asked about is a matter of hashes
        assert (len(parts.queries), len(parts.index), len(cases)) == COUNTS[name]
    assert all(case.query(corpus).image is not None for case in cases if case.pictured)
    assert all(case.references for case in cases)
    if suite.split.by == "subject":
        assert not {subject_of(r) for r in parts.queries} & {subject_of(r) for r in parts.index}


@pytest.mark.parametrize("name", MEDMNIST)
def test_medmnist(name):
    labels = 14 if name == "chestmnist" else 1
    classes = CLASSES.get(name, 11 if name.startswith("organ") else 8)
    medmnist(place(load_suite(SUITES[name])), classes=classes, labels=labels, n=(8, 2, 5))
    suite, corpus, parts, cases = cases_for(name)
    assert (len(parts.queries), len(parts.index), len(cases)) == (5, 8, 5)
    assert cases[0].query(corpus).image.size == (28, 28)
    wanted = [n % classes for n in range(10, 15)]
    known = sorted({r.labels["label"] for r in corpus}) if labels == 1 else ["false", "true"]
    assert {case.references for case in cases} <= set(known)
    if name == "retinamnist":
        assert [case.references for case in cases] == [str(n) for n in wanted]
        assert set(known) <= set(as_label_set(suite.label_set).ids)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("blood-cells", (75, 225, 75)),
        ("blood-cells-foreign", (75, 225, 75)),
        ("cell-assays", (38, 38, 38)),
        ("cell-assays-retrieve", (38, 38, 38)),
        ("vqa-rad", None),
    ],
)
def test_suites_on_real_data(name, counts, shared_data, monkeypatch):
    monkeypatch.setenv("RAGVLM_DATA", str(shared_data))
    suite, corpus, parts, cases = cases_for(name)
    if suite.foreign:
        other = load_corpus(suite, source=suite.foreign.source)
        strangers = foreign_cases(suite, other)
        assert len(strangers) == suite.foreign.limit
        assert not {case.cluster for case in strangers} & {case.cluster for case in cases}
    if name.startswith("blood-cells"):
        counted = next(record for record in corpus if record.id.endswith("BloodImage_00000.jpg"))
        assert counted.labels == {"wbc": 1, "rbc": 19, "platelets": 0}
    if counts:
        assert (len(parts.queries), len(parts.index), len(cases)) == counts
    else:
        assert len(parts.queries) + len(parts.index) == 313  # of 314 pictures one has no question
        assert sum(len(r.extra["questions"]) for r in (*parts.queries, *parts.index)) == 1797
        assert {case.group for case in cases} == {"OPEN", "CLOSED"}
    if suite.split.by == "subject":
        assert not {subject_of(r) for r in parts.queries} & {subject_of(r) for r in parts.index}


def test_a_simulated_suite_is_drawn_once(tmp_path):
    pytest.importorskip("skimage")
    text = SUITES["simulated-small"].read_text().replace("n = 80", "n = 8")
    path = tmp_path / "small.toml"
    path.write_text(text)
    suite = load_suite(path)
    seen: list[tuple[int, int]] = []
    corpus = load_corpus(suite, lambda done, of: seen.append((done, of)))
    assert seen[-1] == (8, 8)
    again = load_corpus(suite, lambda done, of: seen.append((done, of)))
    assert len(seen) == 8
    assert again.fingerprint == corpus.fingerprint
    cases = cases_of(suite, parts_of(suite, corpus))
    assert cases
    assert {case.group for case in cases} <= set(suite.corpus.simulate["kinds"])


def test_the_simulated_suites_share_their_pictures():
    places = {place(load_suite(SUITES[name])) for name in ("simulated", "simulated-retrieve", "simulated-classify")}
    assert len(places) == 1


def test_a_path_counts_from_the_suite(tmp_path):
    draw(tmp_path / "here" / "cells" / "a.png", tmp_path / "here" / "cells" / "b.png")
    rows = [{"file_name": f"{n}.png", "caption": n, "wbc": 1, "rbc": 2, "platelets": 0} for n in "ab"]
    (tmp_path / "here" / "cells" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = SUITES["blood-cells"].read_text().replace('data = "blood-cells"', 'path = "cells"')
    (tmp_path / "here" / "suite.toml").write_text(text)
    suite = load_suite(tmp_path / "here" / "suite.toml")
    assert len(load_corpus(suite)) == 2
    shutil.rmtree(tmp_path / "here" / "cells")
    assert f"{tmp_path / 'here' / 'cells'} is not there" in str(absent(suite))


def test_published_figures_say_where_they_come_from():
    rows = {name: load_suite(path).literature for name, path in SUITES.items()}
    assert {r.value for r in rows["slake"]} == {0.7957, 0.7577, 0.7166}
    assert {r.system: r.value for r in rows["vqa-rad-official"] if r.metric == "accuracy"}["MMQ"] == 0.67
    for row in (row for found in rows.values() for row in found):
        assert 0 <= row.value <= 1
        assert row.doi or row.url
        assert row.source
        assert row.split
    assert not rows["vqa-rad"]  # another split than that of the published figures


def test_the_documentation_lists_every_key(monkeypatch):
    text = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
    done, asked = TomlTable.done, set()
    monkeypatch.setattr(TomlTable, "done", lambda table: asked.update(table._asked) or done(table))
    for path in SUITES.values():
        load_suite(path)
    assert {"label_set", "own_subject", "limit", "directions", "kinds", "note"} <= asked
    assert [key for key in sorted(asked) if not re.search(rf"`\[*{key}\b", text)] == []


def test_the_examples_of_the_documentation_parse(tmp_path):
    blocks = re.findall(
        r"```toml\n(.*?)```", (ROOT / "docs" / "suites.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    (tmp_path / "suite.toml").write_text("\n".join(blocks), encoding="utf-8")
    suite = load_suite(tmp_path / "suite.toml")
    assert (suite.name, suite.literature[0].system) == ("my-cells", "MMQ")
