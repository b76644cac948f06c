"""NIfTI-1 and NIfTI-2 volumes by nibabel, in the closest canonical orientation (RAS+), shown as radiologists do."""

from __future__ import annotations

import gzip
import io
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ragvlm.errors import ImageError, InputError, require
from ragvlm.formats import volumes, windows
from ragvlm.locator import Locator
from ragvlm.pixels import HIGH_PERCENTILE, LOW_PERCENTILE, array_to_rgb
from ragvlm.types import Record

if TYPE_CHECKING:
    from ragvlm.formats import Source

_GZIP = b"\x1f\x8b"
_HEADER = 540  # of NIfTI-2, the longer one
_SAMPLES = 1 << 18
KEYS = frozenset({"slice", "slices", "axis", "time", "window"})


def is_nifti(start: bytes) -> bool:
    """Whether a file that begins with ``start`` is a single-file NIfTI, gzipped or not."""
    if start[:2] == _GZIP:
        try:
            start = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, _HEADER)
        except zlib.error:
            return False
    return start[344:348] == b"n+1\0" or start[4:12] == b"n+2\0\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Volume:
    """An open file. ``turn[a]`` is the axis of the file that lies closest to the patient's axis a (0 right, 1 front,
    2 up), ``flip[a]`` whether it runs against it; ``zooms`` are millimetres a voxel along the patient's axes.
    """

    array: Any
    turn: tuple[int, int, int]
    flip: tuple[bool, bool, bool]
    zooms: tuple[float, float, float]
    times: int
    range: tuple[float, float]

    def count(self, axis: str) -> int:
        """How many slices there are along ``axis``."""
        return int(self.array.shape[self.turn[2 - volumes.AXES.index(axis)]])

    def plane(self, axis: str, position: int, time: int) -> NDArray[Any]:
        """Scaled values (H, W) or (H, W, 3: RGB) as they are shown: the patient's right at the left, up is up."""
        across = 2 - volumes.AXES.index(axis)
        cut: list[Any] = [slice(None)] * 3
        n = self.count(axis)
        cut[self.turn[across]] = n - 1 - position if self.flip[across] else position
        values = np.asarray(self.array[(*cut, *_at(self.array.shape, time))])
        if values.dtype.names:
            values = np.stack([values[name] for name in values.dtype.names[:3]], axis=-1)
        column, row = (a for a in range(3) if a != across)
        if self.turn[column] < self.turn[row]:
            values = np.swapaxes(values, 0, 1)
        # columns run to the patient's left (or back), rows downwards: against the canonical axes
        flips = [1 if self.flip[a] else -1 for a in (row, column)]
        return values[:: flips[0], :: flips[1]]


def _at(shape: tuple[int, ...], time: int) -> tuple[int, ...]:
    """The index of the ``time``-th volume behind the first three axes."""
    return tuple(int(i) for i in np.unravel_index(time, shape[3:])) if len(shape) > 3 else ()


class Nifti:
    """A volume; ``slice`` counts along ``axis`` from the left, the back or below; ``time`` along the fourth axis."""

    name = "nifti"
    options = frozenset({"slices", "axis", "window"})

    def __init__(self) -> None:
        self._lock = Lock()
        self._last: tuple[Any, Volume] | None = None

    def matches(self, start: bytes, path: Path | None) -> bool:
        """Whether it is NIfTI by its header."""
        return is_nifti(start)

    def open(self, source: Source) -> Image.Image:
        """A slice, the middle one where none is asked for. Raises ImageError."""
        place = source.place
        place.only(KEYS, "a NIfTI volume")
        volume = self._volume(source)
        axis = _axis(place)
        count, times = volume.count(axis), volume.times
        position, time = place.whole("slice", count // 2), place.whole("time", 0)
        if position >= count or time >= times:
            what = f"{axis} slice {position}" if position >= count else f"time {time}"
            raise ImageError(f"has {count} {axis} slices and {times} times: {what} does not exist (they count from 0)")
        return self._shown(volume, axis, volume.plane(axis, position, time), source)

    def expand(self, record: Record, path: Path, options: Mapping[str, Any]) -> Iterator[Record]:
        """The volume and its chosen slices. Raises InputError for an option's value, ImageError for a broken file."""
        axis = str(options.get("axis", volumes.AXES[0]))
        if axis not in volumes.AXES:
            raise InputError(f"axis {axis!r} is unknown: choose {', '.join(volumes.AXES)}")
        window = windows.check(options["window"]) if options.get("window") else None
        with path.open("rb") as stream:
            header = _header(_start(stream))
        turn, _, zooms = _orientation(header)
        count = int(header.get_data_shape()[turn[2 - volumes.AXES.index(axis)]])
        place = Locator(str(record.image)).but(axis=axis if axis != volumes.AXES[0] else None, window=window)
        extra = {"axis": axis, "voxel_mm": [round(zoom, 4) for zoom in zooms]}
        yield from volumes.records(
            record, count, options, whole=place, place_of=lambda n: place.but(slice=n), extra=extra
        )

    def stack(self, place: Locator) -> list[Locator]:
        """The places of the slices that a whole volume stands for."""
        with place.file.open("rb") as stream:
            header = _header(_start(stream))
        turn, _, _ = _orientation(header)
        count = int(header.get_data_shape()[turn[2 - volumes.AXES.index(_axis(place))]])
        chosen = volumes.choose(count, place.parts.get("slices", volumes.DEFAULT))
        return [place.but(slices=None, slice=n) for n in chosen]

    def _shown(self, volume: Volume, axis: str, values: NDArray[Any], source: Source) -> Image.Image:
        window = source.place.parts.get("window")
        if values.ndim == 2 and window is not None:
            values = windows.named(window)(values)
        elif values.ndim == 2:
            low, high = volume.range
            values = windows.Window((low + high) / 2, max(high - low, 1e-12), "LINEAR_EXACT")(values)
        picture = array_to_rgb(values)
        across = 2 - volumes.AXES.index(axis)
        wide, tall = (volume.zooms[a] for a in range(3) if a != across)
        unit = min(wide, tall)
        size = (max(1, round(picture.width * wide / unit)), max(1, round(picture.height * tall / unit)))
        if size == picture.size:
            return picture
        source.check(*size)
        return picture.resize(size, Image.Resampling.BILINEAR)  # voxels that are not square would squeeze the anatomy

    def _volume(self, source: Source) -> Volume:
        """The open file: the last one is kept, since slices of one volume are mostly asked for one after another."""
        stream = source.stream
        if stream is None:
            raise ImageError("is a folder, not a NIfTI volume")
        if not source.place.path:
            _checked(stream, source)
            return _read(stream)
        _checked(stream, source)  # before the lock: it may wait for those who wait for the lock
        status = os.fstat(stream.fileno())
        key = (source.place.path, status.st_mtime_ns, status.st_size, source.max_bytes)
        with self._lock:
            if self._last is None or self._last[0] != key:
                self._last = None
                self._last = (key, _read(stream))
            return self._last[1]


def _axis(place: Locator) -> str:
    axis = place.parts.get("axis", volumes.AXES[0])
    if axis not in volumes.AXES:
        raise ImageError(f"axis={axis}: choose {', '.join(volumes.AXES)}")
    return axis


def _start(stream: IO[bytes]) -> bytes:
    start = stream.read(2)
    stream.seek(0)
    if start != _GZIP:
        return stream.read(_HEADER)
    try:
        with gzip.open(stream) as unpacked:
            return unpacked.read(_HEADER)
    except (OSError, EOFError, zlib.error):
        raise ImageError("broken NIfTI: its gzip data can't be unpacked") from None


def _header(start: bytes) -> Any:
    """The header, checked. Raises ImageError."""
    require("nibabel", "medical")
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    kind = Nifti1Header if start[344:348] == b"n+1\0" else Nifti2Header
    try:
        header = kind(start[: kind.template_dtype.itemsize], check=False)
        shape, dtype = header.get_data_shape(), header.get_data_dtype()
    except Exception as error:
        raise ImageError(f"broken NIfTI: its header can't be read ({type(error).__name__})") from None
    if len(shape) < 3 or min(shape, default=0) < 1 or sorted(shape[:3])[1] < 2:
        raise ImageError(f"has the shape {tuple(int(n) for n in shape)}: not a volume")
    if dtype.kind not in "iufV" or (dtype.kind == "V" and (dtype.names or ())[:3] != ("R", "G", "B")):
        raise ImageError(f"has voxels of type {dtype}: not numbers or colours")
    return header


def _orientation(header: Any) -> tuple[tuple[int, int, int], tuple[bool, bool, bool], tuple[float, float, float]]:
    """Turn, flip and zooms of ``Volume``."""
    from nibabel.orientations import io_orientation

    affine = header.get_best_affine()
    if not np.isfinite(affine).all():
        affine = header.get_base_affine()
    found = io_orientation(affine)
    if np.isnan(found).any():  # a degenerate matrix says nothing
        found = np.array([[0, 1], [1, 1], [2, 1]])
    lengths = [float(zoom) if math.isfinite(zoom) and zoom > 0 else 1.0 for zoom in header.get_zooms()[:3]]
    by_patient = {int(axis): (own, way < 0, lengths[own]) for own, (axis, way) in enumerate(found)}
    turn, flip, zooms = zip(*(by_patient[a] for a in range(3)), strict=True)
    return turn, flip, zooms


def _checked(stream: IO[bytes], source: Source) -> None:
    """Hold what the header promises against the bounds."""
    stream.seek(0)
    header = _header(_start(stream))
    shape = header.get_data_shape()
    for a, b in ((0, 1), (0, 2), (1, 2)):
        source.check(int(shape[a]), int(shape[b]))
    size = _size(header)
    if int(header.get_data_offset()) < 0 or size > source.max_bytes:
        raise ImageError(f"holds {size:,} bytes of voxels, more than {source.max_bytes:,}: raise RAGVLM_MAX_PIXELS")


def _size(header: Any) -> int:
    """Bytes of the whole file, unpacked."""
    voxels = math.prod(int(n) for n in header.get_data_shape())
    return int(header.get_data_offset()) + voxels * int(header.get_data_dtype().itemsize)


def _read(stream: IO[bytes]) -> Volume:
    stream.seek(0)
    header = _header(_start(stream))
    size = _size(header)
    stream.seek(0)
    packed = stream.read(2) == _GZIP
    stream.seek(0)
    try:
        data = gzip.GzipFile(fileobj=stream).read(size) if packed else stream.read(size)
    except (OSError, EOFError, zlib.error):
        raise ImageError("broken NIfTI: its gzip data can't be unpacked") from None
    if len(data) < size:
        raise ImageError(f"broken NIfTI: {size:,} bytes are promised, {len(data):,} are there")
    from nibabel.arrayproxy import ArrayProxy

    array = ArrayProxy(io.BytesIO(data), header)
    turn, flip, zooms = _orientation(header)
    times = math.prod(int(n) for n in header.get_data_shape()[3:])
    return Volume(array, turn, flip, zooms, times, _range(array))


def _range(array: Any) -> tuple[float, float]:
    """The 0.1 and 99.9 percentiles of the first volume's finite values, of a grid of a quarter of a million: one scale
    for all slices, so that an empty one stays dark.
    """
    if array.dtype.names:
        return 0.0, 255.0
    step = max(1, math.ceil((math.prod(array.shape[:3]) / _SAMPLES) ** (1 / 3)))
    values = np.asarray(array[(slice(None, None, step),) * 3 + _at(array.shape, 0)], np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (LOW_PERCENTILE, HIGH_PERCENTILE), method="nearest"))
    return (low, high) if high > low else (float(values.min()), float(values.max()))
