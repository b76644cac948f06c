"""The metadata and the regions of all rows of an index, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from ragvlm.modalities import regions
from ragvlm.modalities.metadata import MetadataSpace
from ragvlm.types import Float32

if TYPE_CHECKING:
    from ragvlm.index import Index

MODALITIES = ("image", "caption", "metadata", "regions")
_MADE: WeakKeyDictionary[Any, tuple[str, MetadataSpace, Float32]] = WeakKeyDictionary()


def metadata_of(index: Index) -> MetadataSpace:
    """The metadata of all rows."""
    return _spaces(index)[1]


def regions_of(index: Index) -> Float32:
    """The regions of all rows: float32 (n, DIM), NaN where a record has none."""
    return _spaces(index)[2]


def region_matrix(values: list[Any]) -> Float32:
    """Descriptors, or None, as float32 (n, DIM); NaN for None and for what another version wrote."""
    out = np.full((len(values), regions.DIM), np.nan, np.float32)
    for row, value in enumerate(values):
        if isinstance(value, list) and len(value) == regions.DIM:
            out[row] = value
    return out


def _spaces(index: Index) -> tuple[str, MetadataSpace, Float32]:
    known = _MADE.get(index)
    if known is None or known[0] != index.fingerprint:
        records = list(index.records)
        matrix = region_matrix([record.extra.get("regions") for record in records])
        known = _MADE[index] = (index.fingerprint, MetadataSpace(records), matrix)
    return known
