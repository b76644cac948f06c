"""TREC's files: qrels (what is relevant) and runs (what was found), as trec_eval reads and orders them.

A line of qrels is ``query 0 document gain``, a line of a run ``query Q0 document rank score tag``, with white space
between. trec_eval ignores the rank: it orders by score, falling, and equal scores by document id, falling, byte by
byte. It keeps scores as 32-bit floats, so that two that differ less are equal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ragvlm.errors import InputError, one_line
from ragvlm.paths import atomic_path

Qrels: TypeAlias = dict[str, dict[str, int]]
Run: TypeAlias = dict[str, list[tuple[str, float]]]
MAX_GAIN = 10_000  # trec_eval keeps a counter for each gain up to the highest
TOO_HIGH = 2.0**128 - 2.0**103  # the least number that a 32-bit float rounds to infinity
_SPACE = re.compile(r"[ \t\r\f\v]+")  # what C's isspace takes: an id may hold other spaces


def trec_order(found: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """``found``, documents with their scores, in the order in which trec_eval ranks them; scores as 32-bit floats."""
    scores = np.asarray([score for _, score in found], dtype=np.float64).astype(np.float32)
    pairs = [(document, score) for (document, _), score in zip(found, scores.tolist(), strict=True)]
    if (scores[1:] < scores[:-1]).all():
        return pairs
    pairs.sort(key=lambda pair: pair[0].encode("utf-8", "surrogatepass"), reverse=True)
    return sorted(pairs, key=lambda pair: -pair[1])


def read_qrels(path: Path) -> Qrels:
    """Gains by query and document: 1 or more is relevant, 0 and less judged not relevant.

    Raises InputError naming the file and the line for a line that isn't ``query 0 document gain``, a gain that is no
    whole number or above MAX_GAIN, and a document judged twice for one query; also for a file that can't be read or
    holds nothing.
    """
    qrels: Qrels = {}
    for where, (query, _, document, gain) in _lines(path, "query 0 document gain"):
        if not re.fullmatch(r"[+-]?\d{1,9}", gain, flags=re.ASCII) or int(gain) > MAX_GAIN:
            raise InputError(f"{where}: gain {one_line(gain)!r}: give a whole number, at most {MAX_GAIN}")
        judged = qrels.setdefault(query, {})
        if document in judged:
            raise InputError(f"{where}: document {one_line(document)!r} of query {one_line(query)!r} was judged before")
        judged[document] = int(gain)
    return qrels


def read_run(path: Path) -> Run:
    """Documents with scores by query, in the order of ``trec_order``; ranks and tags are ignored, as by trec_eval.

    Raises InputError naming the file and the line for a line that isn't ``query Q0 document rank score tag``, a score
    that is no finite number, and a document found twice for one query; also for a file that can't be read or holds
    nothing.
    """
    run: dict[str, dict[str, float]] = {}
    for where, (query, _, document, _, score, _) in _lines(path, "query Q0 document rank score tag"):
        found = run.setdefault(query, {})
        if document in found:
            raise InputError(f"{where}: document {one_line(document)!r} of query {one_line(query)!r} was found before")
        found[document] = _score(score, where)
    return {query: trec_order(list(found.items())) for query, found in run.items()}


def write_qrels(path: Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Write ``qrels`` in the order given. Raises InputError, before anything is written, for an id that can't stand
    in such a file (empty, with a space, starting with "#"); StoreError where the file can't be written."""
    check_ids(qrels)
    check_ids(document for judged in qrels.values() for document in judged)
    lines = (f"{query} 0 {document} {int(gain)}" for query, of in qrels.items() for document, gain in of.items())
    _write(path, lines)


def write_run(path: Path, run: Mapping[str, Sequence[tuple[str, float]]], tag: str = "ragvlm") -> None:
    """Write ``run`` in the order of ``trec_order``, ranks from 1: trec_eval then gives the measures of ``retrieval``.

    A query without documents has no line; the qrels still count it. Raises InputError, before anything is written, for
    an id or a tag that can't stand in such a file (empty, with a space, starting with "#"), for a score that isn't
    finite in 32 bits, and for a document found twice; StoreError where the file can't be written.
    """
    check_ids([tag, *run])
    for query, found in run.items():
        check_ids(document for document, _ in found)
        check_found(found, f"query {one_line(query)!r}")
    lines = (
        f"{query} Q0 {document} {rank} {np.float32(score)!s} {tag}"
        for query, found in run.items()
        for rank, (document, score) in enumerate(trec_order(found), start=1)
    )
    _write(path, lines)


def check_ids(ids: Iterable[str]) -> None:
    """Raise InputError for the first id that a TREC file can't hold."""
    for name in ids:
        if not name or name.startswith("#") or any(c.isspace() or not c.isprintable() for c in name):
            shown = one_line(name)
            raise InputError(
                f"id {shown!r} can't stand in a TREC file: it is empty, starts with '#' or holds a space or an "
                "invisible character; rename it, for example with underscores"
            )


def check_found(found: Sequence[tuple[str, float]], where: str) -> None:
    """Raise InputError, naming ``where`` and the document, for a score that is no finite number in 32 bits and for a
    document found twice."""
    finite = np.abs(np.asarray([score for _, score in found], dtype=np.float64)) < TOO_HIGH
    if finite.all() and len({document for document, _ in found}) == len(found):
        return
    seen: set[str] = set()
    for document, score in found:
        if not abs(score) < TOO_HIGH:
            raise InputError(f"{where}: score {score} of document {one_line(document)!r}: give a finite number")
        if document in seen:
            raise InputError(f"{where}: document {one_line(document)!r} was found twice; keep its best score")
        seen.add(document)


def _score(text: str, where: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not abs(score) < TOO_HIGH:
        raise InputError(f"{where}: score {one_line(text)!r}: give a finite number")
    return score


def _lines(path: Path, form: str) -> Iterator[tuple[str, list[str]]]:
    """Where each line stands, and its fields; blank lines and comments (#) are passed over, as by trec_eval."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a TREC file with lines '{form}'") from error
    any_line = False
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        where = f"{path}, line {number}"
        try:
            line = raw.decode("utf-8").strip(" \t\r\f\v")
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: not UTF-8; save the file as UTF-8") from error
        if not line or line.startswith("#"):
            continue
        fields = _SPACE.split(line)
        if len(fields) != len(form.split()) or "\0" in line:
            raise InputError(f"{where}: {len(fields)} fields, not '{form}': {one_line(line)[:80]!r}")
        any_line = True
        yield where, fields
    if not any_line:
        raise InputError(f"{path}: holds nothing; give a TREC file with lines '{form}'")


def _write(path: Path, lines: Iterable[str]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(line + "\n" for line in lines)
