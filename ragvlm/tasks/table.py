"""A table of classified pictures, a row a picture, that goes on where it stopped."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

from ragvlm.errors import InputError, StoreError
from ragvlm.results import Classification
from ragvlm.types import Classifier

HEAD = ("image", "label", "probability", "prediction_set", "calibrated", "classifier", "settings")


class ClassificationTable:
    """CSV (UTF-8, RFC 4180) in ``path``: HEAD, then a column of probabilities for each label of ``classifier``.

    ``prediction_set`` holds labels joined by "|", and is empty where none was asked for. ``settings`` is a hash of all
    that the probabilities depend on beside the picture: rows of others don't belong into one table. ``done`` are the
    pictures that stand there already; a last row that was half written is dropped.

    Raises StoreError for a file that can't be read or written, InputError for one of another classifier.
    """

    def __init__(self, path: Path, classifier: Classifier) -> None:
        self.path = path
        head = [*HEAD, *classifier.labels]
        self._of = [classifier.name, settings_of(classifier)]
        try:
            text = path.read_bytes().decode() if path.exists() else ""
            whole = text[: text.rfind("\r\n") + 2] if "\r\n" in text else ""
            rows = list(csv.reader(io.StringIO(whole, newline="")))
            others = any(row[5:7] != self._of for row in rows[1:])
            if (text and not whole) or (rows and rows[0] != head) or others:
                raise InputError(f"{path}: is a table of another classifier or of other labels: give another --out")
            path.write_bytes((whole or _lines([head])).encode())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "is no table of ours"
            raise StoreError(f"{path}: {reason}; give an --out that can be read and written") from error
        self.done = {row[0] for row in rows[1:]}

    def append(self, found: Sequence[Classification]) -> None:
        """Write a row for each. Raises StoreError where the disk doesn't take it."""
        rows = [
            [
                one.query_id,
                one.top[0],
                f"{one.top[1]:.6f}",
                "" if one.prediction_set is None else "|".join(one.prediction_set),
                str(one.calibrated).lower(),
                *self._of,
                *(f"{p:.6f}" for p in one.probabilities),
            ]
            for one in found
        ]
        try:
            with self.path.open("ab") as stream:
                stream.write(_lines(rows).encode(errors="backslashreplace"))
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}; free some space, then run the same again") from error
        self.done |= {one.query_id for one in found}


def settings_of(classifier: Classifier) -> str:
    """12 hex digits of a hash over what the classifier says of itself."""
    names = ("provenance", "temperature", "threshold", "alpha", "rule")
    facts = {name: getattr(classifier, name, None) for name in names}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _lines(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
