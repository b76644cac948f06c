"""Values of cells -> the types of a Record."""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Mapping
from typing import Any

from ragvlm.types import Label

MAX_TEXT = 1_000_000
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)


def text(value: Any) -> str | None:
    """Text without blanks around it; None for what is empty. Whole numbers become text, as ids often are.

    Raises ValueError for lists, objects and truth values, and as ``checked`` does.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return checked(value).strip() or None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"must be text, not {type(value).__name__}")


def checked(value: str) -> str:
    """``value``; ValueError where it holds a NUL or a half of a surrogate pair, which no file can keep.

    So it is for more than ``MAX_TEXT`` characters: no report is that long.
    """
    if len(value) > MAX_TEXT:
        raise ValueError(f"holds {len(value):,} characters, more than the bound of {MAX_TEXT:,}")
    if "\0" in value:
        raise ValueError("holds a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds characters that are not valid Unicode") from error
    return value


def labels(column: str, value: Any, *, typed: bool) -> dict[str, Label]:
    """The labels in one cell: {column: scalar}; of an object all its pairs; of a list {item: True}.

    Where cells have no types (CSV), text that looks like a number or a truth value becomes one.
    """
    value = jsonable(value)
    if value is None or value == "":
        return {}
    if isinstance(value, dict):
        pairs = {name: item for name, item in value.items() if item is not None}
        if any(isinstance(item, dict | list) for item in pairs.values()):
            raise ValueError("labels must be numbers, text or truth values, not lists or objects")
        return pairs
    if isinstance(value, list):
        return {name: True for item in value if (name := text(item))}
    return {column: value if typed or not isinstance(value, str) else _scalar(value)}


def _scalar(word: str) -> Label:
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    if not _NUMBER.fullmatch(word):
        return word
    number = float(word)
    return int(word) if re.fullmatch(r"-?\d+", word) else number if math.isfinite(number) else word


def jsonable(value: Any) -> Any:
    """``value`` made of JSON types alone: dates as ISO 8601, NaN and bytes as None.

    Raises ValueError for what has no counterpart in JSON.
    """
    if isinstance(value, Mapping):
        return {checked(str(name)): jsonable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return _json_scalar(value)


def _json_scalar(value: Any) -> Label | None:
    if isinstance(value, str):
        return checked(value)
    if value is None or isinstance(value, bytes):
        return None
    if isinstance(value, int):  # of any length, so before the floats
        return value
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if not isinstance(value, float | decimal.Decimal):
        raise ValueError(f"holds a value of type {type(value).__name__}")
    number = float(value)
    return number if math.isfinite(number) else None
