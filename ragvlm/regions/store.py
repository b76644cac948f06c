"""The regions of an index as a file beside it: candidates of its pictures, what their boxes say of them, and how well
regions are found among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.errors import StoreError, require
from ragvlm.index.finish import regions_file
from ragvlm.paths import atomic_path
from ragvlm.regions.space import Space

if TYPE_CHECKING:
    from ragvlm.index import Index

VERSION = "1"  # of what is stored; another one is made again
_KNOWN = ("points", "labels", "fits", "moves", "weights", "rows")
_SPACE = ("mean", "spread", "axes")


@dataclass(frozen=True, slots=True)
class Regions:
    """``labels`` by number; ``record_ids`` of the pictures with boxes; ``known`` the stored candidates: points float32
    (m, dims), labels and rows int64 (m,) (rows: of ``record_ids``), fits float32 (m,) the IoU with the likest box,
    moves float32 (m, 4), weights float32 (m,). ``measured`` has, for each label, what ``ragvlm.regions.learn`` found;
    ``residuals`` float32 (records, labels): what the count of each picture's boxes has beyond the expected one."""

    labels: tuple[str, ...]
    record_ids: tuple[str, ...]
    known: Mapping[str, NDArray[Any]]
    space: Space
    measured: Mapping[str, Mapping[str, float]]
    residuals: NDArray[np.float32]

    def save(self, index: Index) -> None:
        """Write the file beside ``index``. Raises StoreError where it can't be written."""
        save_file = require("safetensors.numpy", "regions").save_file
        space = {name: getattr(self.space, name) for name in _SPACE}
        told = {
            "version": VERSION,
            "index": index.fingerprint,
            "labels": json.dumps(self.labels),
            "record_ids": json.dumps(self.record_ids),
            "measured": json.dumps(self.measured),
        }
        arrays = {name: np.ascontiguousarray(array) for name, array in {**self.known, **space}.items()}
        with atomic_path(index.path / regions_file(index.manifest)) as temporary:
            save_file(arrays | {"residuals": np.ascontiguousarray(self.residuals)}, temporary, metadata=told)

    @classmethod
    def load(cls, index: Index) -> Regions | None:
        """What was saved for just this state of ``index``; None where there is none. Raises StoreError: damaged."""
        path = Path(index.path) / regions_file(index.manifest)
        if not path.is_file():
            return None
        try:
            with require("safetensors", "regions").safe_open(str(path), framework="numpy") as held:
                told = held.metadata() or {}
                if told.get("version") != VERSION or told.get("index") != index.fingerprint:
                    return None
                arrays = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 - no mapping
            return cls(
                labels=tuple(json.loads(told["labels"])),
                record_ids=tuple(json.loads(told["record_ids"])),
                known={name: arrays[name] for name in _KNOWN},
                space=Space(*(arrays[name] for name in _SPACE)),
                measured=json.loads(told["measured"]),
                residuals=arrays["residuals"],
            )
        except Exception as error:  # safetensors has an error of its own
            raise StoreError(f"{path}: damaged ({error}); remove it, and it is made again") from error
