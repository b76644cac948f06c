"""One run of each task, made once for all tests of the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from evaltools import squares, suite_file, write_rows
from reporttools import HOSTILE, Mean, run


@pytest.fixture(scope="session")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with controls, a copy in the index that is kept, hostile captions and a published figure."""
    root = tmp_path_factory.mktemp("described")
    rows = squares(root / "corpus", organ=[f"organ {i % 2}" for i in range(16)])
    for row in rows[:4]:
        row["caption"] += f" {HOSTILE}"
    shutil.copy(root / "corpus" / "p05.png", root / "corpus" / "copy.png")
    write_rows(root / "corpus", [*rows, rows[5] | {"file_name": "copy.png", "id": "copy", "subject_id": "other"}])
    literature = '[[literature]]\nsystem = "Peer"\nmetric = "ROUGE-L"\nvalue = 0.7957\nsplit = "official test"\n'
    literature += 'source = "Somebody 2020, Table 2"\nurl = "javascript:alert(3)"\nnote = "trained on it"\n'
    suite = suite_file(
        root, "describe", literature, top='measures = ["BLEU-1", "ROUGE-L", "labels F1"]\ngroup = "organ"'
    )
    return run(suite, "run", ("consensus", "nearest"), controls=True, keep_leaks=True)


@pytest.fixture(scope="session")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("classified")
    squares(root / "corpus")
    suite = suite_file(root, "classify", top='label = "label"\nmeasures = ["accuracy", "macro F1", "ECE (15 bins)"]')
    return run(suite, "run", Mean())


@pytest.fixture(scope="session")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ranked")
    squares(root / "corpus")
    more = '[relevance]\nby = "labels"\nlabels = ["label"]'
    return run(suite_file(root, "retrieve", more, top='measures = ["nDCG@3", "Recall@1", "Recall@3"]'), "run", "image")


@pytest.fixture
def copied(described: Path, tmp_path: Path) -> Path:
    """The described run, to be changed."""
    shutil.copytree(described.parent, tmp_path / "root")
    return tmp_path / "root" / "run"


@pytest.fixture(params=["described", "classified", "ranked"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found
