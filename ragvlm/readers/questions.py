"""What corpora of questions share: one record a picture, its questions in ``extra["questions"]``.

A question is an object with ``qid``, ``question``, ``answer`` and ``answer_type`` ("OPEN" or "CLOSED"; where the corpus
doesn't say it, yes and no are closed), and where the corpus has them ``question_type``, ``choices``, ``split`` and
more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ragvlm.errors import CorpusError, InputError
from ragvlm.readers import values
from ragvlm.readers.jsonl import read_bytes
from ragvlm.types import Record, Skipped

OPEN, CLOSED = "OPEN", "CLOSED"


def question_of(cells: Mapping[str, Any], **fields: str) -> dict[str, Any]:
    """A question from ``cells``; ``fields`` says which cell holds which of its fields (at least question and answer).

    Absent and empty fields are left out. Raises ValueError where question or answer are empty or no text.
    """
    found: dict[str, Any] = {}
    for name, cell in fields.items():
        try:
            text = values.text(cells.get(cell))
        except ValueError as error:
            raise ValueError(f"{cell} {error}") from error
        if text is not None:
            found[name] = text
        elif name in ("question", "answer"):
            raise ValueError(f"{cell} is empty: every question needs a question and an answer")
    kind = str(found.get("answer_type", "")).upper()
    if kind not in (OPEN, CLOSED):
        kind = CLOSED if found["answer"].lower().rstrip(".") in ("yes", "no") else OPEN
    return {**found, "answer_type": kind}


def questions_of(record: Record) -> list[Mapping[str, Any]]:
    """The questions of a record: mappings with ``question`` and ``answer`` or ``answers``."""
    found = record.extra.get("questions")
    return [q for q in found if isinstance(q, Mapping) and q.get("question")] if isinstance(found, list) else []


def answer_of(question: Mapping[str, Any]) -> str:
    """The first right answer of a question, empty where it has none."""
    answers = question.get("answers") or [question.get("answer")]
    return "" if answers[0] is None else str(answers[0])


def gathered(rows: Iterable[tuple[Record, dict[str, Any]] | Skipped]) -> Iterator[Record | Skipped]:
    """Records with all questions of their id, in the order of their first mention; the first mention says the rest.

    What was skipped comes before them.
    """
    first: dict[str, Record] = {}
    questions: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if isinstance(row, Skipped):
            yield row
            continue
        record, question = row
        first.setdefault(record.id, record)
        questions.setdefault(record.id, []).append(question)
    for name, record in first.items():
        yield Record(
            **{field: getattr(record, field) for field in Record.__dataclass_fields__ if field != "extra"},
            extra={**record.extra, "questions": questions[name]},
        )


def json_rows(path: Path, *, inside: str | None = None) -> Iterator[tuple[str, Mapping[str, Any] | ValueError]]:
    """The objects of the list in a JSON file, or of the list ``inside`` its object, each with where it stands.

    In the place of one that is no object stands the ValueError. Raises CorpusError where there is no list.
    """
    value = read_json(path)
    if inside is not None:
        value = value.get(inside) if isinstance(value, dict) else None
    if not isinstance(value, list):
        raise CorpusError(f"{path}: holds no list of objects{f' called {inside!r}' if inside else ''}")
    for number, row in enumerate(value, start=1):
        where = f"{path}, {f'{inside} ' if inside else ''}row {number}"
        yield where, row if isinstance(row, dict) else ValueError(f"is {type(row).__name__}, not a JSON object")


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises CorpusError."""
    try:
        return json.loads(read_bytes(path).decode())
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: is not UTF-8: save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{path}: is not JSON ({error})") from error


def own_columns(path: Path, columns: Mapping[str, str], what: str) -> None:
    """Raise InputError where ``columns`` are asked for of a corpus whose columns are known."""
    if columns:
        raise InputError(f"{path}: {what} has columns of its own: leave out {', '.join(columns)}")


def first_folder(root: Path, names: Iterable[str]) -> str | None:
    """The first of ``names`` that is a folder in ``root``."""
    return next((name for name in names if os.path.isdir(root / name)), None)  # noqa: PTH112 (Path.is_dir may raise)


def is_file(path: Path) -> bool:
    """Whether ``path`` is a file; False for what can't be asked for, as a name with a NUL."""
    return os.path.isfile(path)  # noqa: PTH113 (Path.is_file may raise)
