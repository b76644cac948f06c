"""Suites and records made in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ragvlm.evaluation.suite import Source, Split, Suite
from ragvlm.types import Record

OFFICIAL = Split(by="official", queries=("test",), index=("train",))


def suite_of(task: str = "describe", split: Split | None = None, **more: Any) -> Suite:
    head = {"name": "x", "title": "x", "source": "x", "licence": "x"}
    return Suite(
        file=Path("x.toml"), task=task, corpus=Source(data="x", get="x"), split=split or Split(), **head, **more
    )


def records_of(subjects: list[str | None]) -> list[Record]:
    return [Record(str(i), f"{i}.png", f"picture {i}", subject_id=s) for i, s in enumerate(subjects)]


def asked(*splits: str | None) -> list[dict[str, str]]:
    return [
        {"qid": str(n), "question": f"q{n}?", "answer": f"a{n}"} | ({"split": s} if s else {})
        for n, s in enumerate(splits)
    ]
