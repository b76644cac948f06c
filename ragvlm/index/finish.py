"""The last commit of whatever writes an index: stores and calibration brought in line, leftovers removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ragvlm.errors import InputError, StoreError
from ragvlm.index import fields
from ragvlm.index.derived import update_derived
from ragvlm.index.manifest import Manifest, read_manifest
from ragvlm.index.segments import to_json
from ragvlm.index.served import remove


def finish(
    root: Path, new: Manifest, *, derive: bool, calibrate: Callable[[Manifest], Mapping[str, Any]] | None = None
) -> Manifest:
    """Commit ``new``, with its stores made again where ``derive``, and measured by ``calibrate`` where given."""
    if derive:
        new = replace(new, derived=update_derived(root, new))
    if calibrate is not None:
        # what is committed can be opened, and so calibrated; complete comes last
        partial = replace(new, complete=False).committed(root)
        clean(root, partial)  # what was deleted goes at once, also where measuring fails
        found = _checked(calibrate(partial))
        new = replace(partial, complete=new.complete, calibration=found)
    new = new if new == read_manifest(root) else new.committed(root)
    clean(root, new)
    return new


def _checked(found: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return fields.calibration(json.loads(to_json(found)))
    except ValueError as error:
        raise InputError(f"calibrate: {error}") from error


@contextmanager
def tidied(root: Path) -> Iterator[None]:
    """A failure inside leaves no file that the manifest doesn't name."""
    try:
        yield
    except BaseException:
        with suppress(StoreError):
            clean(root, read_manifest(root))
        raise


def clean(root: Path, manifest: Manifest) -> None:
    """Remove what no manifest names any more; a file that a reader holds open lives on for that reader."""
    for path in leftovers(root, manifest):
        remove(path)


def regions_file(manifest: Manifest) -> str:
    """The name of the file that ``ragvlm.regions`` keeps beside the index while its segments are these."""
    return f"regions-{manifest.state}.safetensors"


def leftovers(root: Path, manifest: Manifest) -> list[Path]:
    """Files that a killed run left: of an index' own names, and not in ``manifest``."""
    # regions are gathered on demand from just these segments (ragvlm.regions); those of others must not stay
    listed = {*(item.file for item in manifest.files), regions_file(manifest)}
    patterns = ("segments/*.parquet", "segments/.*.tmp", "image-*", "text-*", "rows-*", "questions-*", "vanished-*")
    found = (path for pattern in (*patterns, "regions-*", ".*.tmp") for path in root.glob(pattern))
    return sorted(path for path in found if path.relative_to(root).as_posix() not in listed)
