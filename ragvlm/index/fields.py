"""Checks of values that were read from a manifest: a wrong one raises ValueError, which says in words what is wrong."""

from __future__ import annotations

import math
from typing import Any, TypeVar

T = TypeVar("T")


def get(table: dict[str, Any], name: str, kind: type[T]) -> T:
    """``table[name]``, of type ``kind``; a number is not below 0. Raises KeyError where it is absent."""
    value = table[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name!r} is not of type {kind.__name__}")
    if isinstance(value, int) and value < 0:
        raise ValueError(f"{name!r} is {value}")
    return value


def encoder_options(table: Any) -> dict[str, Any]:
    """What an encoder is loaded with: plain values, and none that would run or fetch another model's code."""
    # an index from elsewhere must not say yes to code for its reader
    if not isinstance(table, dict) or "trust_remote_code" in table or "model" in table:
        raise ValueError("the encoder's options are not such")
    if not all(isinstance(value, str | int | float | bool) for value in table.values()):
        raise ValueError("an option of the encoder is not a plain value")
    return table


def calibration(table: dict[str, Any]) -> dict[str, Any]:
    """What was measured on the corpus. The keys that ragvlm itself reads are checked, others are anybody's own."""
    scores = table.get("nonconformity", [])
    if not isinstance(scores, list) or not all(_finite(score) for score in scores):
        raise ValueError("'nonconformity' in the calibration is not a list of numbers")
    for name in ("image_similarity", "text_similarity"):
        scale = table.get(name)
        if scale is not None and not (isinstance(scale, dict) and all(_finite(scale.get(k)) for k in ("mean", "sd"))):
            raise ValueError(f"{name!r} in the calibration has no mean and sd that are numbers")
    evidence = table.get("evidence", {})
    if not isinstance(evidence, dict) or not _finite(evidence.get("threshold", 0.0)):
        raise ValueError("'evidence' in the calibration has no threshold that is a number")
    _fusion(table.get("fusion"))
    return table


def runs(table: Any) -> tuple[tuple[int, ...], ...]:
    """Where a segment's embeddings lie: five numbers a row group."""
    if not isinstance(table, list) or not all(isinstance(row, list) and len(row) == 5 for row in table):
        raise ValueError("'runs' of a segment is not a list of five numbers a row group")
    if not all(type(value) is int and value >= 0 for row in table for value in row):
        raise ValueError("'runs' of a segment holds something else than whole numbers")
    return tuple(tuple(row) for row in table)


def _fusion(table: Any) -> None:
    if table is None:
        return
    weights, scales = (table.get(name) if isinstance(table, dict) else None for name in ("weights", "scales"))
    if not isinstance(weights, dict) or not all(_finite(weight) and weight >= 0 for weight in weights.values()):
        raise ValueError("'fusion' in the calibration has no weights that are numbers from 0 on")
    if not isinstance(scales, dict) or not weights.keys() <= scales.keys():
        raise ValueError("'fusion' in the calibration lacks the scale of a weight")
    for scale in scales.values():
        if not isinstance(scale, dict) or not all(_finite(scale.get(k)) for k in ("mean", "sd")):
            raise ValueError("a scale of 'fusion' in the calibration has no mean and sd that are numbers")


def reason(error: Exception) -> str:
    """What a KeyError, TypeError or ValueError of a parser says."""
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
