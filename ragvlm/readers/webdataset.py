"""WebDataset shards, as img2dataset writes them: tars of ``KEY.jpg`` beside ``KEY.txt`` and ``KEY.json``.

The convention of github.com/webdataset/webdataset: what has one key, all of a member's name before the first dot of its
last part, is one sample. A record's picture is a place in its shard (``ragvlm.formats.tar``); nothing is unpacked.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ragvlm.braces import expand_braces, has_braces
from ragvlm.errors import CorpusError, ImageError
from ragvlm.formats.tar import Member, members, read_member
from ragvlm.images import SUPPORTED_SUFFIXES
from ragvlm.locator import Locator
from ragvlm.readers.table import Table, records_of
from ragvlm.remote import MOST_FILE, ahead, fetch, is_url
from ragvlm.types import Record, Skipped

PICTURES = frozenset(suffix[1:] for suffix in SUPPORTED_SUFFIXES) | {"dcm"}
TEXTS = ("txt", "caption", "text", "cap")
MOST_TEXT = 1 << 24  # bytes of a member that holds text
_SAMPLE = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)
# EXIF tells the place and the camera, and often a person
_LEFT_OUT = frozenset({"exif"})


class WebDatasetReader:
    """A folder of ``.tar`` shards, one shard, a pattern such as ``{00000..00099}.tar``, or a ``.txt`` list of shards.

    The caption is the member ``.txt`` (or ``.caption``, ``.text``, ``.cap``), else that of ``.json``, whose other pairs
    are the sample's columns; ``.cls`` is its label. Ids are ``SHARD/KEY``.
    """

    name = "webdataset"
    layout = "a folder of WebDataset shards (.tar), a shard, a pattern such as {00000..00099}.tar, a .txt list of them"

    def matches(self, path: Path) -> bool:
        """Whether shards lie in the folder, or the name is a shard's, a pattern's or a list's."""
        if has_braces(path.name) and path.suffix == ".tar":
            return True
        try:
            if path.suffix == ".txt":
                with path.open(encoding="utf-8") as stream:
                    return next((line.strip() for line in stream if line.strip()), "").endswith(".tar")
            return path.suffix == ".tar" and path.is_file() if not path.is_dir() else bool(_in_folder(path))
        except (OSError, ValueError):
            return False

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """The records of all shards, in order; a broken member is skipped, and of a broken shard the rest of it."""
        root = path if path.is_dir() else path.parent
        shards = _shards(path)
        if not shards:
            raise CorpusError(f"{path}: holds no shards (.tar)")
        found = list(zip(shards, ahead(lambda name: list(_samples(root, name)), shards), strict=True))
        header = dict.fromkeys(key for _, rows in found for row in rows if not isinstance(row, Skipped) for key in row)
        for name, rows in found:
            yield from (row for row in rows if isinstance(row, Skipped))
            cells = enumerate((row for row in rows if not isinstance(row, Skipped)), start=1)
            if header:
                yield from records_of(Table(root / name, tuple(header), cells), columns)


def _shards(path: Path) -> list[str]:
    """The shards' paths, relative to the corpus. Raises CorpusError for a list or a pattern that can't be followed."""
    if path.is_dir():
        return _in_folder(path)
    if path.suffix == ".txt":
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise CorpusError(f"{path}: can't be read as a list of shards ({error})") from error
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if has_braces(str(path.parent)):
        raise CorpusError(f"{path}: braces may stand in the last part of a pattern alone")
    return expand_braces(path.name)


def _in_folder(path: Path) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(e.name for e in entries if e.name.endswith(".tar") and not e.name.startswith(".") and e.is_file())


def _samples(root: Path, shard: str) -> Iterator[dict[str, Any] | Skipped]:
    """The cells of each sample of one shard; Skipped for what of it can't be read."""
    samples: dict[str, dict[str, Any]] = {}
    broken: list[Skipped] = []
    try:
        if is_url(shard):
            shard = str(fetch(shard, MOST_FILE))
        with (root / shard).open("rb") as stream:
            try:
                for member in members(root / shard):
                    _take(samples, broken, stream, member, shard)
            except ImageError as error:
                broken.append(Skipped(shard, str(error)))
    except OSError as error:
        broken.append(Skipped(shard, error.strerror or str(error)))
    except CorpusError as error:  # tells the shard's URL itself
        broken.append(Skipped(*str(error).partition(": ")[::2]))
    yield from broken
    yield from samples.values()


def _take(samples: dict[str, dict[str, Any]], broken: list[Skipped], stream: Any, member: Member, shard: str) -> None:
    """Add what ``member`` says to the cells of its sample."""
    named = _SAMPLE.fullmatch(member.name)
    extension = named[2].lower() if named else ""
    if named is None or extension not in PICTURES | {*TEXTS, "json", "cls"}:
        return
    place = str(Locator(shard, {"member": member.name}))
    cells = samples.setdefault(named[1], {"id": f"{Path(shard).stem}/{named[1]}", "image": None})
    if extension in PICTURES:
        if cells["image"] is None:
            cells["image"] = place
        else:
            broken.append(Skipped(place, "is a second picture of its sample"))
        return
    try:
        cells.update(_said(extension, read_member(stream, member, MOST_TEXT), cells))
    except (ImageError, ValueError, RecursionError) as error:
        what = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        broken.append(Skipped(place, what))


def _said(extension: str, data: bytes, cells: Mapping[str, Any]) -> dict[str, Any]:
    """The cells in a member that holds text. Raises ValueError."""
    text = data.decode("utf-8-sig")
    if extension == "cls":
        return {"label": int(text) if text.strip().isdecimal() else text.strip()}
    if extension != "json":
        return {"caption": text}
    pairs = json.loads(text)
    if not isinstance(pairs, dict):
        raise ValueError(f"is {type(pairs).__name__}, not a JSON object")
    # what has a member of its own comes before what the JSON says of it; its id may replace ours
    own = {"image", *(name for name in ("caption", "label") if name in cells)}
    return {name: value for name, value in pairs.items() if name not in own | _LEFT_OUT}
