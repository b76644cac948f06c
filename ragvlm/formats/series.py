"""DICOM series: the files of a folder, grouped and put in order by where they lie in the patient.

File names and instance numbers say little about order. Slices of one SeriesInstanceUID and one orientation are sorted
by the distance of ImagePositionPatient along the normal of ImageOrientationPatient (DICOM PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm import hidden
from ragvlm.errors import ImageError
from ragvlm.formats import dicompixels as pixels
from ragvlm.formats import dicomtags as tags

_log = logging.getLogger("ragvlm")
_SNIFFED = 8
_SAME_PLACE = 0.01  # millimetres between slices that are one
_GAP = 1.5  # times the usual distance


@dataclass(frozen=True, slots=True)
class Series:
    """Slices in order, towards the head, the back or the left: ``files`` relative to the folder that was scanned.

    ``key`` is a keyed hash of the SeriesInstanceUID. ``spacing`` is the usual distance of slices in millimetres;
    ``gaps`` counts places where slices are missing, ``duplicates`` files left out since another has their place.
    """

    key: str
    files: tuple[str, ...]
    header: Any = field(repr=False)
    spacing: float
    gaps: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Scan:
    """What a folder holds: volumes, files that are pictures of their own, those that can't be read, each with the
    reason, and the number of DICOM files that are no pictures (reports, plans, directories).
    """

    series: tuple[Series, ...]
    singles: tuple[str, ...]
    broken: tuple[tuple[str, str], ...]
    without_picture: int


@dataclass(frozen=True, slots=True)
class _Slice:
    file: str
    header: Any
    distance: float
    number: float


def sniff(folder: Path) -> bool:
    """Whether one of the first few files in ``folder`` or below is DICOM; never raises."""
    try:
        for looked, file in enumerate(_files(folder)):
            with (folder / file).open("rb") as stream:
                if tags.is_dicom(stream.read(132)):
                    return True
            if looked + 1 >= _SNIFFED:
                return False
    except (OSError, ValueError):
        pass
    return False


def scan(folder: Path) -> Scan:
    """What lies in ``folder`` and below; headers are read once, as long as no file changes."""
    stamps = []
    for file in _files(folder):
        status = (folder / file).stat()
        stamps.append((file, status.st_size, status.st_mtime_ns))
    return _scan(str(folder.absolute()), tuple(sorted(stamps)), hidden.digest(""))


def find(folder: Path, key: str | None) -> Series:
    """The series ``key`` in ``folder``, the only one where that is None. Raises ImageError."""
    found = scan(folder).series
    if key is None and len(found) == 1:
        return found[0]
    for series in found:
        if series.key == key:
            return series
    if not found:
        raise ImageError("holds no DICOM series")
    known = ", ".join(f"#series={series.key} ({len(series.files)} slices)" for series in found[:10])
    what = "several DICOM series: name one" if key is None else f"no DICOM series {key!r}: there are"
    raise ImageError(f"holds {what}, {known}")


def _files(folder: Path) -> Any:
    for place, subfolders, files in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            if not name.startswith(".") and path.is_file():
                yield path.relative_to(folder).as_posix()


@lru_cache(maxsize=8)
def _scan(folder: str, stamps: tuple[tuple[str, int, int], ...], key: str) -> Scan:
    """``scan``, anew where a file or the ``key`` of the hashes changed."""
    groups: dict[tuple[Any, ...], list[_Slice]] = defaultdict(list)
    singles: list[str] = []
    broken: list[tuple[str, str]] = []
    without = 0
    for file, _, _ in stamps:
        try:
            header = _header(Path(folder, file))
        except (OSError, ImageError) as error:
            broken.append((file, getattr(error, "strerror", None) or str(error)))
            continue
        if header is None:
            continue
        if not tags.number(header, "Rows"):
            without += 1
            continue
        group, slice_ = _placed(file, header)
        if slice_ is None:
            singles.append(file)
        else:
            groups[group].append(slice_)
    counts: dict[str, int] = defaultdict(int)
    series = []
    for (uid, *_), slices in sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1]), item[1][0].file)):
        counts[uid] += 1
        made = _series(uid, counts[uid], slices)
        if made is None:
            singles += [slice_.file for slice_ in slices]
        else:
            series.append(made)
    _tell(series, counts, without)
    return Scan(tuple(series), tuple(sorted(singles)), tuple(broken), without)


def _header(path: Path) -> Any:
    """The header of a file, None where it is no DICOM file. Raises OSError and ImageError."""
    with path.open("rb") as stream:
        return tags.read_header(stream) if tags.is_dicom(stream.read(132)) else None


def _placed(file: str, header: Any) -> tuple[tuple[Any, ...], _Slice | None]:
    """The group of a slice (series, orientation, size) and its place in it; None for what has no place in a volume."""
    uid = tags.text(header, "SeriesInstanceUID")
    position, orientation = (tags.numbers(header, f"Image{what}Patient") for what in ("Position", "Orientation"))
    if not uid or len(position) != 3 or len(orientation) != 6 or pixels.n_frames(header) > 1:
        return (), None
    normal = np.cross(orientation[:3], orientation[3:])
    if not 0.5 < np.linalg.norm(normal) < 1.5:
        return (), None
    # of two opposite normals the one along the patient's axes, which run to the left, the back and the head
    way = np.sign(normal[np.argmax(np.abs(normal))])
    number = tags.number(header, "InstanceNumber", 0.0) or 0.0
    group = (uid, tuple(round(cosine, 2) + 0.0 for cosine in orientation), pixels.size(header))
    return group, _Slice(file, header, float(way * normal @ np.array(position)), number)


def _series(uid: str, part: int, slices: Sequence[_Slice]) -> Series | None:
    """The slices in order, each place once; None where there is one place alone, as in a film of a beating heart."""
    ordered = sorted(slices, key=lambda s: (round(s.distance / _SAME_PLACE), s.number, s.file))
    kept = [ordered[0]]
    for slice_ in ordered[1:]:
        if slice_.distance - kept[-1].distance > _SAME_PLACE:
            kept.append(slice_)
    if len(kept) == 1:
        return None
    steps = np.diff([s.distance for s in kept])
    spacing = float(np.median(steps))
    return Series(
        key=hidden.digest(f"series {uid}") + (f".{part}" if part > 1 else ""),
        files=tuple(s.file for s in kept),
        header=kept[len(kept) // 2].header,
        spacing=round(spacing, 4),
        gaps=int((steps > _GAP * spacing).sum()),
        duplicates=len(slices) - len(kept),
    )


def _tell(series: Sequence[Series], parts: dict[str, int], without: int) -> None:
    for one in series:
        found = [f"{one.gaps} gaps"] * (one.gaps > 0) + [f"{one.duplicates} slices at a place that another has"] * (
            one.duplicates > 0
        )
        if found:
            _log.warning("series %s, %d slices: %s", one.key, len(one.files), " and ".join(found))
    split = sum(count > 1 for count in parts.values())
    if split:
        _log.warning("%d series hold pictures of several orientations or sizes, which are told apart", split)
    if without:
        _log.info("%d DICOM files are no pictures", without)
